"""The hub is killed at every point of a fine-tuning job's life, and each time what is left leads to the same end."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pytest
import sqlalchemy as sa
from job_api import add_model

from commonweal.core.blobs import Blobs
from commonweal.core.clock import ManualClock
from commonweal.core.database import Database
from commonweal.serve import catalogue
from commonweal.serve.files import shelf
from commonweal.serve.tuning import jobs
from commonweal.serve.tuning.loop import Tuner
from commonweal.serve.tuning.recipe import Recipe
from commonweal.serve.tuning.schema import tuning_checkpoints, tuning_events
from tuning_fakes import Deaths, Killed, MortalDatabase, MortalTrainer


@dataclass(frozen=True)
class End:
    """What is left of a job when it is over; ids and times aside."""

    status: str
    tokens: int | None
    spent: int
    events: tuple[str, ...]
    checkpoints: tuple[int, ...]
    models: tuple[str, ...]
    files: tuple[str, ...]


class Life:
    """A job that is moved by processes that die, one after the other."""

    def __init__(self, database: Database, blobs: Blobs, owner: str) -> None:
        self.database, self.blobs, self.owner = database, blobs, owner
        self.clock = ManualClock(1e6)
        self.trainer = MortalTrainer(blobs)
        self.trainer.deaths = Deaths(at=0)
        recipe = Recipe(model="tiny", training_file="file_x", training=blobs.put(b"one\ntwo\nthree\n"))
        with database.transaction() as connection:
            self.job = jobs.enter(connection, recipe, owner, {}, 1.0).id

    def live(self, at: int, *, cancel_after: int | None = None, pause_after: int | None = None) -> bool:
        """Move the job to its end, with one death at point ``at``; False once there is no such point."""
        deaths = self.trainer.deaths = Deaths(at=at)
        mortal = MortalDatabase(self.database.engine, self.database.url, deaths)
        for turn in range(40):
            if turn == cancel_after:
                with self.database.transaction() as connection:
                    jobs.cancel(connection, self.job, self.owner, 2.0)
            if turn == pause_after:
                with self.database.transaction() as connection:
                    jobs.pause(connection, self.job, self.owner, 2.0)
                    jobs.resume(connection, self.job, self.owner, 3.0)
            try:
                Tuner(mortal, self.blobs, self.trainer, self.clock).step(self.job)
            except Killed:
                continue  # the next process begins anew
            if turn > 12 and not Tuner(self.database, self.blobs, self.trainer, self.clock).waiting():
                break
            if turn > 4:
                self.trainer.fold()
            self.clock.sleep(1)
        return deaths.passed >= at

    def end(self) -> End:
        with self.database.transaction() as connection:
            job = jobs.find(connection, self.job, self.owner)
            assert job.stage == "over"
            told = connection.execute(
                sa.select(tuning_events.c.message)
                .where(tuning_events.c.job == self.job)
                .order_by(tuning_events.c.number)
            ).scalars()
            points = connection.execute(
                sa.select(tuning_checkpoints.c.step).where(tuning_checkpoints.c.job == self.job)
            ).scalars()
            return End(
                status=job.status,
                tokens=job.trained_tokens,
                spent=job.spent,
                events=tuple(self._plain(line) for line in told),
                checkpoints=tuple(sorted(points)),
                models=tuple(
                    self._plain(model.name)
                    for model in catalogue.every(connection, self.owner)
                    if model.owner == self.owner
                ),
                files=tuple(file.filename for file in shelf.every(connection, self.owner, 1.0).found),
            )

    def _plain(self, text: str) -> str:
        return text.replace(self.job, "JOB").replace(self.job[-8:], "JOB")


def _in_any_order(end: End) -> End:
    """A death moves the rest of a life relative to its owner's wishes."""
    return replace(end, events=tuple(sorted(end.events)))


@pytest.mark.slow
@pytest.mark.parametrize("wish", [{}, {"cancel_after": 9}, {"cancel_after": 1}, {"pause_after": 8}])
def test_a_death_at_any_point_changes_nothing(database: Database, blobs: Blobs, wish: dict[str, Any]) -> None:
    add_model(database, blobs)
    calm = Life(database, blobs, "calm")
    calm.live(at=0, **wish)
    wanted = calm.end()
    assert wanted.status == ("cancelled" if "cancel_after" in wish else "succeeded")
    if not wish:
        assert wanted.checkpoints == (2, 4)
        assert wanted.tokens == 400
        assert len(wanted.events) == len(set(wanted.events))
    at = 1
    while at < 200:
        life = Life(database, blobs, f"killed-{at}")
        if not life.live(at=at, **wish):
            break
        ended = life.end()
        if "cancel_after" in wish:
            assert ended.status == "cancelled"
            assert (
                life.trainer.pool.get(life.job) is None or life.trainer.pool[life.job].status == "cancelled"
            )
            there = life.trainer.pool.get(life.job)
            assert (ended.tokens or 0) == (100 * there.rounds if there else 0)
        else:
            assert _in_any_order(ended) == _in_any_order(wanted), f"killed at point {at}"
            assert list(life.trainer.pool) == [life.job]
        at += 7 if wish else 2
    assert at > 15


def test_two_processes_never_step_one_job(database: Database, blobs: Blobs) -> None:
    add_model(database, blobs)
    life = Life(database, blobs, "one")
    with database.exclusive(f"tuning {life.job}") as mine:
        assert mine
        assert Tuner(database, blobs, life.trainer, life.clock).step(life.job) is False
        assert life.trainer.calls == []


def test_what_was_found_out_about_an_older_version_is_dropped(database: Database, blobs: Blobs) -> None:
    """The owner cancels while the file is being checked, and while the job is being submitted."""
    add_model(database, blobs)
    life = Life(database, blobs, "one")
    tuner = Tuner(database, blobs, life.trainer, life.clock)
    check = life.trainer.check

    def slow(work: Any) -> Any:
        found = check(work)
        with database.transaction() as connection:
            jobs.pause(connection, life.job, "one", 2.0)
        return found

    life.trainer.__class__ = type("Slow", (MortalTrainer,), {"check": lambda self, work: slow(work)})
    tuner.drive(life.job)
    with database.transaction() as connection:
        job = jobs.find(connection, life.job, "one")
        assert (job.status, job.stage) == ("paused", "check")
        jobs.resume(connection, life.job, "one", 3.0)
    life.trainer.__class__ = MortalTrainer
    submit = life.trainer.submit

    def overtaken(work: Any) -> None:
        submit(work)
        with database.transaction() as connection:
            jobs.cancel(connection, life.job, "one", 4.0)

    life.trainer.__class__ = type("Slow", (MortalTrainer,), {"submit": lambda self, work: overtaken(work)})
    tuner.drive(life.job)
    life.trainer.__class__ = MortalTrainer
    tuner.drive(life.job)
    assert life.trainer.pool[life.job].status == "cancelled"
    assert life.end().status == "cancelled"
