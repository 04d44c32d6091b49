"""Guards of improvements, evaluated in the hub: the scenarios and metrics of ``evals``, asked through the hub's desk.

An evaluation reads files and reckons between its requests, so it has a thread and an event loop of its own; its
requests go back to the loop in which the hub serves. Its runs stand below ``folder``, where one that was begun goes on.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from commonweal.core.completion import (
    Abilities,
    Completion,
    CompletionFailed,
    FailureKind,
    Message,
    Request,
)
from commonweal.core.errors import CommonwealError, Conflict, Overloaded, Unavailable, UserError
from commonweal.evals import assembling
from commonweal.evals.budget import Spent
from commonweal.evals.evaluation import Evaluation, evaluate
from commonweal.evals.loading.loader import DataLoader
from commonweal.evals.metrics import definitions
from commonweal.evals.metrics.metric import Tools
from commonweal.evals.metrics.registry import DEFINITIONS
from commonweal.evals.plan import Wishes
from commonweal.evals.summary.comparison import Compared, compare
from commonweal.evals.summary.runs import SavedRun, find_runs
from commonweal.serve.community.gate import Change, Measured, Scenario
from commonweal.serve.community.guarding import AskModel, Guarding, Known

T = TypeVar("T")

_CONCURRENCY = 8
_UNABLE: frozenset[FailureKind] = frozenset({"unsupported", "bad_request"})


@dataclass(frozen=True, slots=True)
class EvalGuards:
    """Guards by the scenarios of ``evals``; see :class:`~commonweal.serve.community.guarding.Guards`."""

    folder: Path

    def known(self) -> Sequence[Known]:
        from commonweal.evals.scenarios.registry import SCENARIOS, SUITES  # all scenarios: when somebody asks

        offline = {name.partition(":")[0] for name in SUITES["offline"]}
        found = [
            Known(
                name=one.name,
                title=one.title,
                about=one.description,
                metric=one.main_metric,
                offline=one.name in offline,
            )
            for one in SCENARIOS.values()
            if not {"judge", "images"} & set(one.needs)
        ]
        return sorted(found, key=lambda known: (not known.offline, known.name))

    def named(self, names: Sequence[str]) -> tuple[str, ...]:
        if not names:
            return ()
        runs = assembling.planned(Wishes(model="", scenarios=tuple(names)), "", Abilities(images=False))
        for run in runs:
            if run.reason:
                raise UserError(f"guards: '{run.named}' cannot be measured here: {run.reason}")
        return tuple(run.spec.name for run in runs)

    async def compare(
        self, guarding: Guarding, ask: AskModel, say: Callable[[str], None]
    ) -> Sequence[Scenario]:
        hub = asyncio.get_running_loop()

        async def both() -> list[Scenario]:
            folder = self.folder / guarding.id
            before = await self._evaluated(guarding, guarding.current, folder / "current", hub, ask)
            after = await self._evaluated(guarding, guarding.candidate, folder / "candidate", hub, ask)
            for entry in (*before.entries, *after.entries):
                if entry.reason:
                    say(f"{entry.name}: {entry.reason}")
            left, right = _runs(before), _runs(after)
            shared = {run.name for run in left} & {run.name for run in right}
            return [_scenario(one) for one in compare(left, right)] if shared else []

        return await _in_a_thread(both)

    async def _evaluated(
        self, guarding: Guarding, model: str, folder: Path, hub: asyncio.AbstractEventLoop, ask: AskModel
    ) -> Evaluation:
        """What could be measured of one model. Raises what ``ask`` raises where nothing can be asked at all."""
        completer = await _Hub.probed(hub, ask, model, guarding.window)
        wishes = Wishes(
            model=model, scenarios=guarding.names, max_instances=guarding.instances, confidence="none"
        )
        spent = Spent()
        bench = assembling.bench(
            completer,
            DataLoader(None, self.folder / "data", wishes.seed),
            endpoint=model,
            tools=Tools(),
            spent=spent,
            began=time.monotonic(),
        )
        try:
            runs = assembling.planned(wishes, model, completer.abilities)
            done = await evaluate(runs, folder, wishes, model, bench, command="")
        except Conflict as error:  # a process that lost its lock is still at it
            raise Unavailable(error.message, hint=error.hint) from error
        if completer.ended is not None:
            raise completer.ended
        return done


@dataclass(slots=True, kw_only=True)
class _Hub:
    """A completer in one event loop that asks in another. ``ended`` is why no more can be asked: no credits, nobody who
    serves the model."""

    hub: asyncio.AbstractEventLoop
    ask: AskModel
    abilities: Abilities
    ended: CommonwealError | None = field(default=None)

    @classmethod
    async def probed(cls, hub: asyncio.AbstractEventLoop, ask: AskModel, model: str, window: int) -> _Hub:
        """Find out what the model can be asked, by three small requests."""
        known = Abilities(images=False, tools=False, window=window, concurrency=_CONCURRENCY)
        made = cls(hub=hub, ask=ask, abilities=known)
        sky = Request(model=model, prompt="The sky is", max_tokens=1, logprobs=0)
        hello = Request(model=model, messages=(Message(role="user", content="Hello"),), max_tokens=1)
        score = await made._can(replace(sky, kind="score", continuation=" blue", max_tokens=0))
        made.abilities = replace(
            known,
            score=score,
            logprobs=score or None,
            complete=await made._can(sky),
            chat=await made._can(hello),
        )
        return made

    async def complete(self, request: Request) -> Completion:
        if self.ended is not None:
            raise CompletionFailed("not_authorized", self.ended.message)
        try:
            return await self._asked(request)
        except CompletionFailed as error:
            if error.kind == "unreachable":
                self.ended = error
            raise
        except CommonwealError as error:
            self.ended = error
            kind: FailureKind = (
                "unreachable" if isinstance(error, Unavailable | Overloaded) else "not_authorized"
            )
            raise CompletionFailed(kind, error.message, hint=error.hint) from error

    async def close(self) -> None:
        pass

    async def _asked(self, request: Request) -> Completion:
        async def there() -> Completion:
            return await self.ask(request)

        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(there(), self.hub))

    async def _can(self, request: Request) -> bool:
        try:
            await self._asked(request)
        except CompletionFailed as error:
            if error.kind in _UNABLE:
                return False
            raise
        return True


async def _in_a_thread(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """``work`` in an event loop of its own; cancelled with this task, and over when this is."""
    made: list[tuple[asyncio.AbstractEventLoop, asyncio.Task[Any]]] = []

    async def noted() -> T:
        task = asyncio.current_task()
        assert task is not None
        made.append((asyncio.get_running_loop(), task))
        return await work()

    thread = asyncio.ensure_future(asyncio.to_thread(asyncio.run, noted()))
    try:
        return await asyncio.shield(thread)
    except asyncio.CancelledError:
        for loop, task in made:
            loop.call_soon_threadsafe(task.cancel)
        await asyncio.gather(thread, return_exceptions=True)
        raise


def _runs(done: Evaluation) -> list[SavedRun]:
    measured = any(entry.measured for entry in done.entries)
    return find_runs([done.folder]) if measured else []


def _scenario(one: Compared) -> Scenario:
    """A paired comparison as the gate wants it."""
    measured = partial(_measured, n=one.shared)
    change = None
    if one.difference is not None:
        change = Change(
            mean=one.difference.mean, low=one.difference.low, high=one.difference.high, n=one.shared
        )
    known = definitions.find(one.metric, DEFINITIONS)
    return Scenario(
        name=one.name,
        metric=one.metric,
        current=measured(one.a),
        candidate=measured(one.b),
        change=change,
        higher_is_better=known is None or known.higher_is_better,
    )


def _measured(value: float | None, n: int) -> Measured | None:
    return None if value is None else Measured(value=value, low=value, high=value, n=n)
