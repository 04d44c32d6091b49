"""Asks: every instance, perturbation and trial of one run, so many at once, each finished one kept at that moment.

Owns the order of things for a sample (adapter, completer, adapter, annotators, metrics, log) and the reasons to stop.
Knows no folder (a finished sample goes to ``keep``), no display and no network.

Invariants: a sample that fails is a sample with a Failure and stops no other; nothing is begun after a reason to stop;
what was in flight when a limit was reached is finished, as it is paid for; what was in flight when the run fails, or
when ctrl-c comes, is dropped, and only that.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol

from commonweal.core.completion import Completer, Completion, CompletionFailed
from commonweal.core.errors import CommonwealError, StorageFull
from commonweal.evals.adaptation import Adaptation
from commonweal.evals.adapters.adapter import Adapter
from commonweal.evals.budget import Limits, Spent, is_hopeless, too_many_failures, used_up
from commonweal.evals.instance import Instance
from commonweal.evals.metrics.metric import Annotator
from commonweal.evals.progress import Coverage
from commonweal.evals.sample import Answer, Ask, Failure, Sample
from commonweal.evals.sample_record import Asked, sample_line

log = logging.getLogger(__name__)

Status = Literal["done", "failed", "budget", "not_measured"]

MOST_TURNS = 64
"""How often an adapter may ask again about one sample."""

GRACE = 30.0
"""Seconds that what is in flight gets to finish when the time is up."""

_TURN = 32
"""Samples after which the event loop gets its turn, where a model answers without ever waiting."""


class Scorer(Protocol):
    """Takes samples and gives each one's numbers (:class:`commonweal.evals.metrics.aggregate.Table`)."""

    def add(self, sample: Sample) -> Mapping[str, float]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """A sample to be: an instance, perturbed or not, in one train trial."""

    instance: Instance
    trial: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """What a run is made with. ``examples`` are those of each trial."""

    adaptation: Adaptation
    adapter: Adapter
    completer: Completer
    examples: Sequence[Sequence[Instance]]
    annotators: Sequence[Annotator]
    table: Scorer
    keep: Callable[[bytes], None]
    concurrency: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """When to stop. ``spent`` counts for all runs of an evaluation, ``failure_rate`` for this one."""

    limits: Limits
    failure_rate: float
    spent: Spent
    began: float
    now: Callable[[], float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    status: Status
    reason: str = ""


class Runner:
    """One asking of a run's samples. ``coverage`` and ``spent`` move while it goes on."""

    def __init__(self, means: Means, rules: Rules, coverage: Coverage, spent: Spent) -> None:
        self._means, self._rules = means, rules
        self._coverage, self._spent = coverage, spent
        self._in_flight = 0
        self._finished = 0
        self._outcome: Outcome | None = None
        self._stopped: asyncio.Future[None]

    async def run(self, items: Iterator[Item]) -> Outcome:
        """Ask all ``items``. Raises StorageFull where a sample cannot be kept, and what ``items`` raises."""
        self._stopped = asyncio.get_running_loop().create_future()
        workers = [asyncio.create_task(self._work(items)) for _ in range(max(1, self._means.concurrency))]
        together = asyncio.gather(*workers)
        try:
            await self._watch(together)
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(together, *workers, return_exceptions=True)
        return self._outcome or self._judged()

    async def _watch(self, workers: asyncio.Future[list[None]]) -> None:
        """Wait for all workers, but not for those that hang behind a failure or past the time."""
        either: set[asyncio.Future[Any]] = {workers, self._stopped}
        await asyncio.wait(either, timeout=self._patience(), return_when=asyncio.FIRST_COMPLETED)
        if workers.done():
            workers.result()
        else:
            self._may_go_on()

    def _patience(self) -> float | None:
        seconds = self._rules.limits.seconds
        return None if seconds is None else max(0.0, seconds - self._seconds()) + GRACE

    def _seconds(self) -> float:
        return self._rules.now() - self._rules.began

    async def _work(self, items: Iterator[Item]) -> None:
        while self._may_go_on():
            item = next(items, None)
            if item is None:
                return
            self._in_flight += 1
            try:
                await self._one(item)
            finally:
                self._in_flight -= 1
            self._finished += 1
            if self._finished % _TURN == 0:
                await asyncio.sleep(0)

    def _may_go_on(self) -> bool:
        if self._outcome is None:
            reason = used_up(self._rules.limits, self._rules.spent, self._in_flight, self._seconds())
            if reason:
                self._outcome = Outcome(status="budget", reason=reason)
        return self._outcome is None

    async def _one(self, item: Item) -> None:
        sample, asked = await self._sample(item)
        try:
            numbers = self._means.table.add(sample)
        except Exception as error:
            numbers, sample = {}, replace(sample, failure=_defect(error, item))
        self._means.keep(sample_line(sample, asked, numbers))
        self._count(sample.failure)

    def _count(self, failure: Failure | None) -> None:
        coverage = self._coverage
        self._spent.samples += 1
        if self._rules.spent is not self._spent:
            self._rules.spent.samples += 1
        if failure is None:
            coverage.scored += 1
            return
        coverage.failed += 1
        coverage.failures[failure.kind] += 1
        if failure.kind == "not_authorized":
            self._fail(Outcome(status="failed", reason=failure.message))
        elif is_hopeless(coverage.failed, coverage.finished, self._rules.failure_rate):
            self._fail(self._judged(failure.message))

    def _fail(self, outcome: Outcome) -> None:
        self._outcome = self._outcome or outcome
        if not self._stopped.done():
            self._stopped.set_result(None)

    def _judged(self, message: str = "") -> Outcome:
        """What a run is that has finished, or that failed too often to go on."""
        coverage = self._coverage
        if coverage.failed and not coverage.scored and set(coverage.failures) == {"unsupported"}:
            return Outcome(status="not_measured", reason=message or "the model cannot be asked so")
        often = too_many_failures(coverage.failed, coverage.finished, self._rules.failure_rate)
        if often or (coverage.failed and not coverage.scored):
            kinds = ", ".join(f"{n} {kind}" for kind, n in coverage.failures.most_common())
            told = f"; the last one: {message}" if message else ""
            return Outcome(
                status="failed",
                reason=f"{coverage.failed} of {coverage.finished} samples failed ({kinds}){told}",
            )
        return Outcome(status="done")

    async def _sample(self, item: Item) -> tuple[Sample, list[Asked]]:
        asked: list[Asked] = []
        answers: list[Answer] = []
        try:
            await self._converse(item, answers, asked)
            sample = self._means.adapter.sample(item.instance, item.trial, tuple(answers))
            if self._means.annotators:
                sample = await self._annotated(sample)
        except CompletionFailed as error:
            failure = Failure(kind=error.kind, message=error.message, attempts=error.attempts)
            return self._failed(item, answers, failure), asked
        except StorageFull:
            raise
        except Exception as error:
            return self._failed(item, answers, _defect(error, item)), asked
        return sample, asked

    async def _converse(self, item: Item, answers: list[Answer], asked: list[Asked]) -> None:
        examples = self._means.examples[item.trial]
        for _ in range(MOST_TURNS):
            asks = self._means.adapter.asks(item.instance, examples, answers)
            if not asks:
                return
            try:
                if len(asks) == 1:
                    await self._ask(asks[0], answers, asked)
                else:
                    await self._ask_together(asks, answers, asked)
            except CompletionFailed:
                if not asks[0].beside:
                    raise
                return  # the answer itself is there
        raise RuntimeError(f"the adapter asked {MOST_TURNS} times about one sample")

    async def _ask(self, ask: Ask, answers: list[Answer], asked: list[Asked]) -> None:
        try:
            completion = await self._means.completer.complete(ask.request)
        except CompletionFailed as error:
            asked.append(Asked(ask=ask, failure=_failure(error)))
            raise
        self._answered(ask, completion, answers, asked)

    async def _ask_together(self, asks: Sequence[Ask], answers: list[Answer], asked: list[Asked]) -> None:
        """All at once; every answer is kept, and then the first failure counts."""
        complete = self._means.completer.complete
        outcomes = await asyncio.gather(*(complete(ask.request) for ask in asks), return_exceptions=True)
        failed: BaseException | None = None
        for ask, outcome in zip(asks, outcomes, strict=True):
            if isinstance(outcome, Completion):
                self._answered(ask, outcome, answers, asked)
                continue
            failed = failed or outcome
            if isinstance(outcome, CompletionFailed):
                asked.append(Asked(ask=ask, failure=_failure(outcome)))
        if failed is not None:
            raise failed

    def _answered(self, ask: Ask, completion: Completion, answers: list[Answer], asked: list[Asked]) -> None:
        self._spent.add(completion)
        if self._rules.spent is not self._spent:
            self._rules.spent.add(completion)
        answers.append(Answer(ask=ask, completion=completion))
        asked.append(Asked(ask=ask, completion=completion))

    async def _annotated(self, sample: Sample) -> Sample:
        found = dict(sample.annotations)
        for annotator in self._means.annotators:
            found[annotator.name] = await annotator.annotate(replace(sample, annotations=found))
        return replace(sample, annotations=found)

    def _failed(self, item: Item, answers: Sequence[Answer], failure: Failure) -> Sample:
        return Sample(
            instance=item.instance,
            adaptation=self._means.adaptation,
            trial=item.trial,
            answers=tuple(answers),
            failure=failure,
        )


def _failure(error: CompletionFailed) -> Failure:
    return Failure(kind=error.kind, message=error.message, attempts=error.attempts)


def _defect(error: Exception, item: Item) -> Failure:
    """What should not happen, kept with its sample: a defect of an adapter or a metric stops no other sample."""
    told = error.message if isinstance(error, CommonwealError) else f"{type(error).__name__}: {error}"
    log.warning("sample.error id=%s trial=%d error=%s", item.instance.id, item.trial, told)
    log.info("sample.error", exc_info=error)
    return Failure(kind="error", message=told)
