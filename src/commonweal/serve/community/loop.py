"""The loop that makes next versions of feedback, in any hub process, each improvement in one of them at a time.

Every stage writes what it found out together with the state that follows; the fine-tuning job is entered in the
transaction that notes its id. So a process may be killed at any point: another repeats one stage, finds the data set
and the job again, and trains nothing twice. While machines train, nothing is held: it looks again at the next tick.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import sqlalchemy as sa

from commonweal.core.blobs import Blobs
from commonweal.core.clock import Clock
from commonweal.core.completion import Choice
from commonweal.core.database import Database
from commonweal.core.errors import CommonwealError, Conflict, Refused, UserError
from commonweal.serve import catalogue
from commonweal.serve.community import datasets, improvements
from commonweal.serve.community.building import BuildOptions
from commonweal.serve.community.datasets import DataSet
from commonweal.serve.community.gate import Decision, Scenario, decide
from commonweal.serve.community.guarding import Guarding
from commonweal.serve.community.heldout import Question, compared, requests
from commonweal.serve.community.improvements import OPEN, Improvement
from commonweal.serve.community.improving import (
    SUFFIX,
    TooLittleFeedback,
    described,
    enough,
    held_out_side,
    training_side,
    values,
)
from commonweal.serve.community.parts import Community
from commonweal.serve.community.patience import Asker, Patience, passing
from commonweal.serve.desk import Desk
from commonweal.serve.exclusive import exclusive
from commonweal.serve.files import shelf
from commonweal.serve.tending import tend
from commonweal.serve.tuning import jobs
from commonweal.serve.tuning.jobs import TuningJob
from commonweal.serve.tuning.recipe import Recipe

log = logging.getLogger(__name__)

MOST_TROUBLE = 8
"""Failures in a row of something that may be better the next time."""
MOST_SURPRISES = 3
"""Failures in a row that nobody foresaw."""
_LONGEST_PAUSE = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ImprovingOptions:
    """``at_once``: improvements that one process works on at a time. ``tick_seconds``: how often it looks for new ones,
    and whether one was cancelled."""

    at_once: int = 2
    tick_seconds: float = 1.0
    patience: Patience = field(default_factory=Patience)


class Improver:
    """Moves improvements. ``run`` is a task's whole work; ``drive`` is one improvement's, as far as it goes now."""

    def __init__(
        self,
        database: Database,
        blobs: Blobs,
        desk: Desk,
        clock: Clock,
        community: Community,
        options: ImprovingOptions | None = None,
    ) -> None:
        self._database, self._blobs, self._desk, self._clock = database, blobs, desk, clock
        self._community = community
        self._options = options or ImprovingOptions()
        self._places = asyncio.Semaphore(self._options.at_once)

    async def run(self) -> None:
        """Work until cancelled."""
        await tend("improvement", self.waiting, self._drive_in_turn, every=self._options.tick_seconds)

    def waiting(self) -> list[str]:
        """Those that something may have to be done for."""
        with self._database.transaction() as connection:
            return improvements.under_way(connection, self._clock.now())

    async def _drive_in_turn(self, improvement: str) -> None:
        async with self._places:
            await self.drive(improvement)

    async def drive(self, improvement: str) -> None:
        """Take one as far as it goes now, unless another process is at it."""
        async with exclusive(self._database, f"improvement {improvement}") as mine:
            while mine:
                found = await asyncio.to_thread(self._look, improvement)
                if found.state not in OPEN or found.not_before > self._clock.now():
                    return
                try:
                    if not await self._step(found):
                        return
                except Exception as error:
                    await asyncio.to_thread(self._failed, found, error)
                    return

    def _look(self, improvement: str) -> Improvement:
        with self._database.transaction() as connection:
            return improvements.find(connection, improvement)

    async def _step(self, found: Improvement) -> bool:
        """Do the next thing; True if there may be more to do at once."""
        match found.state:
            case "queued":
                return await asyncio.to_thread(self._move, found, "building")
            case "building":
                return await asyncio.to_thread(self._build, found)
            case "training":
                return await asyncio.to_thread(self._train, found)
            case "scoring":
                return await self._watched(found, self._score)
            case _:
                return await self._watched(found, self._guard)

    def _move(self, found: Improvement, to: improvements.State, *said: str, **values: Any) -> bool:
        with self._database.transaction() as connection:
            return improvements.moved(connection, found, to, self._clock.now(), *said, **values)

    def _build(self, found: Improvement) -> bool:
        try:
            dataset = datasets.make(
                self._database,
                self._blobs,
                BuildOptions(),
                self._community.scrubber,
                by=found.account,
                now=self._clock.now(),
            )
        except UserError as error:
            raise TooLittleFeedback(error.message, hint=error.hint) from error
        training_side(dataset)
        enough(self._held_out(dataset), found.options.rules())
        feedback = len(dataset.manifest["feedback"])
        return self._move(found, "training", described(dataset), dataset=dataset.id, feedback=feedback)

    def _held_out(self, dataset: DataSet) -> list[Question]:
        return held_out_side(dataset, partial(datasets.read, self._blobs))

    def _train(self, found: Improvement) -> bool:
        if found.job is None:
            self._order(found)
            return False
        with self._database.transaction() as connection:
            job = jobs.find(connection, found.job, found.account)
            if job.status == "succeeded":
                said = f"trained {job.model} from {found.model}"
                now = self._clock.now()
                return improvements.moved(connection, found, "scoring", now, said, candidate=job.model)
            if job.status in ("failed", "cancelled"):
                raise _untrained(job)
            told = jobs.events(connection, job.id, found.account, after=None, limit=1).rows
            detail = told[0].message if told else job.status
            if detail != found.detail:
                improvements.changed(connection, found, detail=detail)
        return False

    def _order(self, found: Improvement) -> None:
        """Enter the fine-tuning job: with its file and the note of its id, or not at all."""
        assert found.dataset is not None
        now = self._clock.now()
        with self._database.transaction() as connection:
            dataset = datasets.find(connection, found.dataset)
            name, method = training_side(dataset)
            blob = dataset.files[name]
            file = shelf.new_file(
                owner=found.account,
                filename=name,
                purpose="fine-tune",
                size=self._blobs.size(blob),
                blob=blob,
                now=now,
            )
            shelf.add(connection, file, most=None)
            recipe = Recipe(
                model=found.model,
                training_file=file.id,
                training=blob,
                method=method,
                epochs=found.options.epochs,
                suffix=SUFFIX,
                seed=secrets.randbelow(2**31),
            )
            metadata = {"improvement": found.id, "dataset": dataset.id}
            job = jobs.enter(connection, recipe, found.account, metadata, now)
            told = f"fine-tuning job {job.id} learns from {name}"
            if not improvements.said(connection, found, told, now=now, job=job.id):
                raise Conflict(f"{found.id} was cancelled")  # and the job with it: nothing is committed

    async def _watched(
        self, found: Improvement, stage: Callable[[Improvement, Asker], Awaitable[bool]]
    ) -> bool:
        """A stage that asks models, until it is done or the improvement was cancelled."""
        asker = Asker(desk=self._desk, account=found.account, patience=self._options.patience)
        working: asyncio.Task[bool] = asyncio.ensure_future(stage(found, asker))
        told = 0
        try:
            while not working.done():
                await asyncio.wait([working], timeout=self._options.tick_seconds)
                if asker.answered != told:
                    told = asker.answered
                    await asyncio.to_thread(self._tell, found, f"{told} answers")
                # Any other change of state is the stage's own: it is about to end.
                if (await asyncio.to_thread(self._look, found.id)).state == "cancelled":
                    break
        finally:
            if not working.done():
                working.cancel()
                await asyncio.gather(working, return_exceptions=True)
        return not working.cancelled() and working.result()

    def _tell(self, found: Improvement, detail: str) -> None:
        with self._database.transaction() as connection:
            improvements.changed(connection, found, detail=detail)

    async def _score(self, found: Improvement, asker: Asker) -> bool:
        """Both versions on the held-out side."""
        assert found.dataset is not None
        assert found.candidate is not None
        dataset = await asyncio.to_thread(self._dataset, found.dataset)
        held_out = await asyncio.to_thread(self._held_out, dataset)
        before = values(held_out, await _answers(asker, held_out, found.current))
        after = values(held_out, await _answers(asker, held_out, found.candidate))
        measured = [improvements.scenario_json(one) for one in compared(before, after)]
        said = f"measured both on {len(held_out)} held-out lines"
        return await asyncio.to_thread(partial(self._move, found, "guarding", said, held_out=measured))

    def _dataset(self, dataset: str) -> DataSet:
        with self._database.transaction() as connection:
            return datasets.find(connection, dataset)

    async def _guard(self, found: Improvement, asker: Asker) -> bool:
        """Both versions on the guards, and the decision."""
        assert found.candidate is not None
        assert found.held_out is not None
        held_out = [improvements.scenario_from(one) for one in found.held_out]
        guards: Sequence[Scenario] = ()
        said: list[str] = []
        if found.options.guards:
            guarding = await asyncio.to_thread(self._guarding, found, found.candidate)
            guards = await self._community.guards.compare(guarding, asker, said.append)
        decision = decide(held_out, guards, found.options.rules())
        return await asyncio.to_thread(self._decide, found, decision, held_out, guards, said)

    def _guarding(self, found: Improvement, candidate: str) -> Guarding:
        with self._database.transaction() as connection:
            models = [catalogue.find(connection, name, found.account) for name in (found.current, candidate)]
        return Guarding(
            id=found.id,
            names=found.options.guards,
            instances=found.options.instances,
            current=found.current,
            candidate=candidate,
            window=min(model.window for model in models),
        )

    def _decide(
        self,
        found: Improvement,
        decision: Decision,
        held_out: Sequence[Scenario],
        guards: Sequence[Scenario],
        said: Sequence[str],
    ) -> bool:
        """Write the decision down and, in the same transaction, let the candidate take the model's place."""
        told = improvements.decision_json(decision, held_out, guards)
        to: improvements.State = "promoted" if decision.verdict == "promote" else "refused"
        now = self._clock.now()
        with self._database.transaction() as connection:
            lines = (*said, decision.reason)
            if improvements.moved(connection, found, to, now, *lines, decision=told) and to == "promoted":
                self._promote(connection, found, told, now)
        return False

    def _promote(
        self, connection: sa.Connection, found: Improvement, told: Mapping[str, Any], now: float
    ) -> None:
        assert found.candidate is not None
        latest = catalogue.find(connection, found.model + catalogue.LATEST, found.account)
        if latest.name != found.current:
            raise Conflict(
                f"{found.model}:latest has become {latest.name} meanwhile, and the candidate was compared with"
                f" {found.current}",
                hint="begin again",
            )
        if latest.public:
            catalogue.open_to_all(connection, found.candidate, found.account)
        record = {"improvement": found.id, "dataset": found.dataset, "feedback": found.feedback, "gate": told}
        catalogue.promote(connection, found.model, found.candidate, found.account, record, now)

    def _failed(self, found: Improvement, error: Exception) -> None:
        """Try again later, or let it fail."""
        now = self._clock.now()
        foreseen = isinstance(error, CommonwealError)
        again = found.trouble < (MOST_TROUBLE if passing(error) else 0 if foreseen else MOST_SURPRISES)
        log.log(
            logging.WARNING if foreseen else logging.ERROR,
            "improvement.trouble id=%s state=%s again=%s error=%s",
            found.id,
            found.state,
            again,
            error,
            exc_info=None if foreseen else error,
        )
        told = _told(error)
        with self._database.transaction() as connection:
            if again:
                pause = min(_LONGEST_PAUSE, 2.0**found.trouble)
                improvements.said(
                    connection,
                    found,
                    f"waits: {told['message']}",
                    now=now,
                    trouble=found.trouble + 1,
                    not_before=now + pause,
                )
            else:
                fresh = improvements.locked(connection, found.id)
                if fresh.state == found.state:
                    improvements.moved(connection, fresh, "failed", now, told["message"] or "", error=told)


async def _answers(asker: Asker, held_out: Sequence[Question], model: str) -> list[list[Choice]]:
    """Each question's answers, scored by ``model``."""

    async def one(question: Question) -> list[Choice]:
        return [(await asker(request)).choices[0] for request in requests(question, model)]

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(question)) for question in held_out]
    except ExceptionGroup as failed:  # the first error ended the others
        raise failed.exceptions[0] from None
    return [task.result() for task in tasks]


def _untrained(job: TuningJob) -> Refused:
    why = (job.error or {}).get("message") or "nobody says why"
    if job.status == "cancelled":
        why = "it was cancelled"
    return Refused(f"fine-tuning came to nothing: {why}", hint=f"see job {job.id}")


def _told(error: Exception) -> dict[str, str | None]:
    """An error as the operator sees it."""
    if not isinstance(error, CommonwealError):
        return {
            "code": "internal_error",
            "message": "The hub made a mistake; its log says which.",
            "hint": None,
        }
    return {"code": error.code, "message": error.message[:2000].replace("\0", ""), "hint": error.hint}
