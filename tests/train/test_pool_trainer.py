"""Fine-tuning as the API asks for it, through the real pool and the real books: members in this process, no network."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tuning_world import chats, make_base, preferences, tasks

from commonweal.commands.tuning_trainer import PoolTrainer
from commonweal.core.blobs import Blobs
from commonweal.core.clock import ManualClock
from commonweal.core.database import Database
from commonweal.core.ids import JobId, MemberId
from commonweal.core.work import Task
from commonweal.ledger.accounts import AccountId, Balance, balance, open_account
from commonweal.ledger.audit import verify
from commonweal.ledger.holds import hold
from commonweal.ledger.journal import grant
from commonweal.pool import access, accounts, leases, registry, wire
from commonweal.pool.foreman import Foreman, ForemanOptions
from commonweal.pool.schema import jobs as pool_jobs
from commonweal.serve import catalogue, publishing
from commonweal.serve.tuning import jobs
from commonweal.serve.tuning.jobs import TuningJob
from commonweal.serve.tuning.loop import Tuner
from commonweal.serve.tuning.recipe import Recipe
from commonweal.train.executor import TrainExecutor
from commonweal.train.job import job_factory
from commonweal.train.local import LocalIO
from commonweal.train.spec import KIND

PURSE = 100 * 10**6
_requests = itertools.count()


@pytest.fixture(scope="module")
def base_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_base(tmp_path_factory.mktemp("base"), steps=5)


class World:
    """A pool with two members, an account with credits, a served base model, and the loop that moves jobs."""

    def __init__(self, database: Database, blobs: Blobs, base: Path) -> None:
        self.database, self.blobs, self.clock = database, blobs, ManualClock(1e6)
        factories = {KIND: job_factory(blobs)}
        self.trainer = PoolTrainer(database=database, blobs=blobs, clock=self.clock, factories=factories)
        self.foreman = Foreman(database, factories, ForemanOptions(present_seconds=1e9))
        self.executors: dict[MemberId, TrainExecutor] = {}
        with database.transaction() as connection:
            accounts.open_operator(connection, 10**12, 0.0)
            open_account(connection, AccountId("ann"), "user")
            grant(connection, key="purse", account=AccountId("ann"), microcredits=PURSE, memo="", now=0.0)
            joiner = access.Caller(role="join", owner="join:first")
            for name in ("one", "two"):
                body = wire.Register(
                    name=name, client_version="0.1.0", roles=["train"], request_id=f"member-{name}"
                )
                member = MemberId(access.register(connection, body, joiner, 1e6).member)
                accounts.open_member(connection, member)
                self.executors[member] = TrainExecutor(None, threads=1)
        self.publish(base)

    def publish(self, folder: Path) -> None:
        files = {file.name: self.blobs.put(file.read_bytes()) for file in folder.iterdir()}
        files = {name: blob for name, blob in files.items() if publishing.wanted(name)}
        model = publishing.examined(
            self.blobs, name="tiny", owner="operator", files=files, find_base=self.find, now=1.0
        )
        with self.database.transaction() as connection:
            catalogue.publish(connection, model)

    def find(self, name: str) -> catalogue.ServedModel:
        with self.database.transaction() as connection:
            return catalogue.find(connection, name, "ann")

    def enter(self, data: bytes, **recipe: Any) -> str:
        made = Recipe(
            **{"model": "tiny", "training_file": "file_x", "training": self.blobs.put(data), "seed": 1}
            | recipe
        )
        with self.database.transaction() as connection:
            return jobs.enter(connection, made, "ann", {}, self.clock.now()).id

    def tuner(self) -> Tuner:
        return Tuner(self.database, self.blobs, self.trainer, self.clock)

    def job(self, job: str) -> TuningJob:
        with self.database.transaction() as connection:
            return jobs.find(connection, job, "ann")

    def pool_job(self) -> wire.JobView:
        with self.database.transaction() as connection:
            (found,) = registry.list_jobs(connection, status=None, limit=10)
        return found

    def purse(self) -> Balance:
        with self.database.transaction() as connection:
            return balance(connection, AccountId("ann"))

    def earned(self) -> int:
        with self.database.transaction() as connection:
            return sum(
                balance(connection, accounts.member_account(member)).total for member in self.executors
            )

    def round(self) -> None:
        """One round of what runs: planned, computed by both members, folded."""
        for job in self.foreman.running():
            self.foreman.step(job, self.clock.now())
            for member in self.executors:
                self._compute(member)
            self.foreman.step(job, self.clock.now())

    def _compute(self, member: MemberId) -> None:
        ask = wire.LeaseRequest(
            roles=["train"],
            kinds=["train_round"],
            wait=0,
            free_memory=2**40,
            request_id=f"lease-{next(_requests):08}",
        )
        with self.database.transaction() as connection:
            lease = leases.lease(connection, member, ask, ttl=1e6, now=self.clock.now())
        if lease is None:
            return
        task = Task(
            job=JobId(lease.job),
            unit_key=lease.unit_key,
            kind=lease.kind,
            payload=lease.payload,
            amount=lease.amount,
            seconds=1e6,
        )
        outcome = self.executors[member].run(task, LocalIO(self.blobs))
        self.clock.sleep(outcome.seconds)
        body = wire.Submit(
            fence=lease.fence,
            amount_done=outcome.amount_done,
            seconds=outcome.seconds,
            report=outcome.report,
            blobs={name: self.blobs.put(data) for name, data in outcome.blobs.items()},
        )
        with self.database.transaction() as connection:
            leases.submit(connection, member, lease.unit, body, now=self.clock.now())

    def close(self) -> None:
        for executor in self.executors.values():
            executor.close()


@pytest.fixture
def world(database: Database, blobs: Blobs, base_folder: Path) -> Iterator[World]:
    made = World(database, blobs, base_folder)
    yield made
    made.close()


@pytest.mark.slow
@pytest.mark.parametrize("method", ["supervised", "dpo"])
def test_a_job_is_trained_paid_and_served(world: World, method: str) -> None:
    data = (chats if method == "supervised" else preferences)(tasks(1, 24))
    job = world.enter(data, method=method, epochs=2, batch_size=4, suffix="digits")
    tuner = world.tuner()
    tuner.drive(job)
    held = world.purse().held
    assert held == world.job(job).recipe.budget == world.pool_job().budget
    for _ in range(30):
        world.round()
        tuner.drive(job)
        if world.job(job).stage == "over":
            break
    done, there = world.job(job), world.pool_job()
    assert (done.status, done.error) == ("succeeded", None)
    assert there.status == "done"
    assert done.spent == there.spent == PURSE - world.purse().available > 0
    assert done.trained_tokens == there.state["totals"]["tokens"] > 0
    assert (world.purse().held, world.earned()) == (0, done.spent)
    model = world.find(str(done.model))
    assert (model.kind, model.base, model.public) == ("adapter", "tiny", False)
    assert "adapter_model.safetensors" in model.files
    assert model.name == f"ft:tiny:digits:{job[-8:]}"
    with world.database.transaction() as connection:
        assert verify(connection).ok
        told = jobs.events(connection, job, "ann", after=None, limit=100).rows
        points = jobs.checkpoints(connection, job, "ann", after=None, limit=10).rows
    metrics = [event.data for event in told if event.type == "metrics"]
    assert all(one["train_loss"] > 0 and one["microcredits"] > 0 for one in metrics)
    assert points[0].model == done.model
    assert tuner.waiting() == []


@pytest.mark.slow
def test_a_cancelled_job_is_billed_for_completed_rounds_only(world: World) -> None:
    job = world.enter(chats(tasks(1, 40)), epochs=5, batch_size=2)
    tuner = world.tuner()
    tuner.drive(job)
    for _ in range(2):
        world.round()
        tuner.drive(job)
    with world.database.transaction() as connection:
        paid = [
            one.record["paid"]
            for one in registry.list_rounds(connection, world.pool_job().id, after=-1, limit=9)
        ]
    for running in world.foreman.running():  # a third round is planned and half computed
        world.foreman.step(running, world.clock.now())
    world._compute(next(iter(world.executors)))
    with world.database.transaction() as connection:
        jobs.cancel(connection, job, "ann", world.clock.now())
    tuner.drive(job)
    world.round()
    done = world.job(job)
    assert (done.status, done.stage, world.pool_job().status) == ("cancelled", "over", "cancelled")
    assert len(paid) == 2
    assert done.spent == sum(paid) == world.earned() > 0
    assert world.purse() == Balance(available=PURSE - sum(paid), held=0, escrow=0)
    assert done.result_file is not None
    with world.database.transaction() as connection:
        assert verify(connection).ok


@pytest.mark.slow
def test_what_was_fine_tuned_is_fine_tuned_further(world: World) -> None:
    tuner = world.tuner()
    first = world.enter(chats(tasks(1, 12)), epochs=1, batch_size=4)
    for _ in range(12):
        tuner.drive(first)
        world.round()
    named = str(world.job(first).model)
    second = world.enter(chats(tasks(2, 12)), model=named, epochs=1, batch_size=4)
    for _ in range(12):
        tuner.drive(second)
        world.round()
    done = world.job(second)
    assert done.status == "succeeded", done.error
    model = world.find(str(done.model))
    assert (model.base, model.lineage["parent"]) == ("tiny", named)
    assert model.identity != world.find(named).identity


def test_submitting_twice_is_submitting_once(world: World) -> None:
    job = world.enter(chats(tasks(1, 12)), epochs=1, batch_size=4)
    tuner = world.tuner()
    tuner.step(job)
    with world.database.transaction() as connection:
        row = jobs.find(connection, job, "ann")
    work = tuner._stages._work(row)
    world.trainer.submit(work)
    world.trainer.submit(work)
    assert world.purse().held == world.pool_job().budget
    for to in ("pause", "pause", "resume", "resume", "cancel", "cancel", "pause", "resume"):
        world.trainer.steer(job, "ann", to)  # type: ignore[arg-type]
    assert world.pool_job().status == "cancelled"
    assert world.purse().available == PURSE
    world.trainer.steer("ftjob_unknown0000000", "ann", "cancel")
    assert world.trainer.look(job, "bob", after=-1) is None


def test_a_bad_file_is_told_with_line_and_field(world: World) -> None:
    lines = chats(tasks(1, 12)).splitlines()
    lines[4] = b'{"messages": [{"role": "robot", "content": "x"}]}'
    lines[6] = b"{"
    job = world.enter(b"\n".join(lines))
    world.tuner().drive(job)
    done = world.job(job)
    assert done.status == "failed"
    assert done.error is not None
    assert (done.error["code"], done.error["param"]) == ("unrecognized_role", "training_file")
    assert "line 5: messages[0].role" in done.error["message"]
    with world.database.transaction() as connection:
        told = [event.message for event in jobs.events(connection, job, "ann", after=None, limit=9).rows]
    assert any(message.startswith("line 7: not JSON") for message in told)
    bad = world.enter(chats(tasks(1, 12)), validation_file="file_y", validation=world.blobs.put(b"\xff"))
    world.tuner().drive(bad)
    error = world.job(bad).error
    assert error is not None
    assert (error["code"], error["param"]) == ("not_utf8", "validation_file")


@pytest.mark.parametrize(
    ("purse", "budget", "code"), [(True, 1, "budget_too_small"), (False, None, "insufficient_quota")]
)
def test_what_cannot_be_paid_is_not_begun(world: World, purse: bool, budget: int | None, code: str) -> None:
    if not purse:
        with world.database.transaction() as connection:
            hold(connection, key="x", account=AccountId("ann"), microcredits=PURSE, now=1.0)
    job = world.enter(chats(tasks(1, 12)), budget=budget)
    world.tuner().drive(job)
    error = world.job(job).error
    assert error is not None
    assert error["code"] == code
    with world.database.transaction() as connection:
        assert connection.execute(pool_jobs.select()).first() is None


def test_an_estimate_and_a_preview_read_the_file(world: World) -> None:
    job = world.enter(chats(tasks(1, 20)), epochs=3)
    with world.database.transaction() as connection:
        row = jobs.find(connection, job, "ann")
    work = world.tuner()._stages._work(row)
    checked = world.trainer.check(work)
    assert checked.trained_tokens >= checked.tokens * 3
    assert checked.seconds is None
    assert checked.microcredits < checked.budget
    shown = world.trainer.preview(work)
    assert shown["examples"] == 20
    assert shown["shown"][0]["sequences"]
    longer = world.trainer.check(replace(work, recipe=replace(work.recipe, epochs=6)))
    assert longer.microcredits > checked.microcredits
