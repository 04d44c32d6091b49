"""Guards by the scenarios of `evals`: evaluated in a thread of their own, asked in the hub's loop."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest

from commonweal.app.improving import EvalGuards
from commonweal.core.completion import Completion, CompletionFailed, Request
from commonweal.core.errors import InsufficientCredits, UserError
from commonweal.evals.completers.mock import MockCompleter
from commonweal.serve.community.gate import GateRules, decide
from commonweal.serve.community.guarding import Guarding

MOCK = MockCompleter()


def offline() -> str:
    """A scenario that needs nothing."""
    return next(one.name for one in EvalGuards(Path("unused")).known() if one.offline)


def guarding(*names: str, instances: int = 12) -> Guarding:
    return Guarding(id="imp_1", names=names, instances=instances, current="old", candidate="new", window=4096)


def test_what_needs_no_data_is_listed_first_and_what_needs_a_judge_not_at_all(tmp_path: Path) -> None:
    known = EvalGuards(tmp_path).known()
    order = [one.offline for one in known]
    assert order == sorted(order, reverse=True)
    assert 5 < sum(order) < len(order)
    names = {one.name for one in known}
    assert "boolq" in names
    assert "mt_bench" not in names


def test_names_are_as_results_have_them_and_unknown_ones_are_told(tmp_path: Path) -> None:
    guards = EvalGuards(tmp_path)
    assert guards.named(()) == ()
    assert guards.named(["gsm8k", "mmlu:subject=anatomy"]) == ("gsm", "mmlu:subject=anatomy")
    for name in ("bolq", "../secret.toml", "/etc/passwd.yaml"):
        with pytest.raises(UserError, match="unknown scenario"):
            guards.named([name])
    assert guards.named(["boolq", "boolq"]) == ("boolq",)


def test_both_are_asked_in_the_hubs_loop_and_compared(tmp_path: Path) -> None:
    here, asked = set[int](), list[str]()
    guard = offline()

    async def ask(request: Request) -> Completion:
        here.add(threading.get_ident())
        asked.append(request.model)
        return await MOCK.complete(request)

    async def compared() -> None:
        said: list[str] = []
        (found,) = await EvalGuards(tmp_path).compare(guarding(guard), ask, said.append)
        assert (found.name, found.change is not None) == (guard, True)
        assert found.change is not None
        assert (found.change.n, found.change.mean) == (12, 0.0)
        decision = decide([], [found], GateRules(guards=(guard,)))
        assert [finding.outcome for finding in decision.findings] == ["same"]
        assert said == []
        assert here == {threading.get_ident()}
        assert set(asked) == {"old", "new"}
        before = len(asked)
        assert await EvalGuards(tmp_path).compare(guarding(guard), ask, said.append) == [found]
        assert len(asked) - before == 6, "only the probes of both: the runs are there"

    asyncio.run(compared())


def test_where_nothing_can_be_paid_it_ends_with_that_error(tmp_path: Path) -> None:
    asked = 0

    async def ask(request: Request) -> Completion:
        nonlocal asked
        asked += 1
        if asked > 5:
            raise InsufficientCredits("no credits left")
        return await MOCK.complete(request)

    with pytest.raises(InsufficientCredits, match="no credits left"):
        asyncio.run(_compare(tmp_path, ask))
    assert asked < 20


def test_a_model_that_cannot_score_is_asked_otherwise_and_one_that_is_lost_is_told(tmp_path: Path) -> None:
    async def no_scores(request: Request) -> Completion:
        if request.kind == "score":
            raise CompletionFailed("unsupported", "the server does not score a given text")
        return await MOCK.complete(request)

    asyncio.run(_compare(tmp_path / "a", no_scores))

    async def lost(request: Request) -> Completion:
        raise CompletionFailed("unreachable", "the worker is gone")

    with pytest.raises(CompletionFailed, match="the worker is gone"):
        asyncio.run(_compare(tmp_path / "b", lost))


def test_what_is_cancelled_asks_no_more(tmp_path: Path) -> None:
    open_now, came = 0, asyncio.Event()

    async def ask(request: Request) -> Completion:
        nonlocal open_now
        open_now += 1
        came.set()
        try:
            await asyncio.sleep(60)
            raise AssertionError("it was cancelled")
        finally:
            open_now -= 1

    async def cancelled() -> None:
        task = asyncio.create_task(_compare(tmp_path, ask))
        await came.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert open_now == 0

    asyncio.run(cancelled())


async def _compare(folder: Path, ask: object) -> None:
    await EvalGuards(folder).compare(guarding(offline()), ask, lambda line: None)  # type: ignore[arg-type]
