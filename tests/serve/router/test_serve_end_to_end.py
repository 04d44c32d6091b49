"""From ``Desk.stream`` over a real WebSocket to a member's engine and back, and the money."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import aclosing, suppress
from pathlib import Path
from typing import Any, cast

import pytest
from serving_hub import MODEL, RICH, Hub, credit, exact, member, prepare, rows, running_hub, served

from commonweal.core.completion import CompletionFailed
from commonweal.core.database import Database
from commonweal.core.errors import InsufficientCredits, NotAuthorized, NotFound, Overloaded, Unavailable
from commonweal.core.streaming import Ended, Piece, Usage, Vector
from commonweal.serve.catalogue import identity_of
from commonweal.serve.router.failures import WorkerLost
from commonweal.serve.router.worker import RouterOptions
from commonweal.serve.worker.engine import MockEngine

COST = -(-(3 * 1000 + 16 * 3000) // 1000)
"""Of an ask with three words and sixteen tokens of answer."""

Test = Callable[[Hub], Awaitable[None]]


def run(database: Database, test: Test, **options: Any) -> None:
    async def main() -> None:
        async with running_hub(database, **options) as hub:
            await test(hub)

    asyncio.run(main())


async def first_event(hub: Hub, prompt: str, **changes: Any) -> tuple[Any, Any]:
    """An ask under way: its iterator and its first event."""
    events = cast(Any, hub.serving.counter.stream(hub.ask(prompt, **changes)))
    return events, await anext(events)


def test_an_ask_is_answered_and_paid(database: Database, tmp_path: Path) -> None:
    prepare(database)

    async def test(hub: Hub) -> None:
        async with member(hub, tmp_path, served(), name="mem_a"):
            events = await hub.events(hub.ask("one two three", id="ask-1"))
            assert [type(event) for event in events] == [Piece] * 16 + [Ended, Usage]
            assert events[-1] == Usage(prompt_tokens=3, completion_tokens=16)

    run(database, test)
    exact(database, start={"alice": RICH})
    (row,) = rows(database)
    assert (row.ask, row.account, row.member, row.outcome) == ("ask-1", "alice", "mem_a", "done")
    assert (row.prompt_tokens, row.completion_tokens, row.microcredits) == (3, 16, COST)
    assert credit(database, "member:mem_a") == COST - COST // 10
    assert credit(database, "hub") == COST // 10


def test_scores_and_embeddings_come_back(database: Database, tmp_path: Path) -> None:
    prepare(database)

    async def test(hub: Hub) -> None:
        async with member(hub, tmp_path, served()):
            scored = await hub.events(hub.ask("one two", kind="score", ids=(5, 6), logprobs=1))
            assert isinstance(scored[0], Piece)
            assert [token.id for token in scored[0].tokens] == [5, 6]
            assert scored[-1] == Usage(prompt_tokens=4, completion_tokens=0)
            vector = await hub.events(hub.ask("one two", kind="embed"))
            assert isinstance(vector[0], Vector)
            assert len(vector[0].values) == 8

    run(database, test)
    assert [row.microcredits for row in rows(database)] == [4, 2]
    exact(database, start={"alice": RICH})


def test_an_unknown_model_is_not_found(database: Database) -> None:
    prepare(database)

    async def test(hub: Hub) -> None:
        with pytest.raises(NotFound, match="does not exist") as caught:
            await hub.events(hub.ask(model="tinny"))
        assert "tiny" in (caught.value.hint or "")
        with pytest.raises(Unavailable, match="nobody serves"):
            await hub.events(hub.ask())

    run(database, test)
    exact(database, start={"alice": RICH})


def test_who_cannot_pay_is_told_at_once(database: Database, tmp_path: Path) -> None:
    prepare(database, credits={"alice": 10, "bob": RICH})

    async def test(hub: Hub) -> None:
        async with member(hub, tmp_path, served()) as only:
            for account in ("alice", "nobody-ever"):
                with pytest.raises(InsufficientCredits):
                    await hub.events(hub.ask(account=account))
            assert only.engine.asked == []
            assert await hub.text(hub.ask(account="bob"))

    run(database, test)
    exact(database, start={"alice": 10, "bob": RICH})


def test_ones_own_worker_serves_for_nothing(database: Database, tmp_path: Path) -> None:
    prepare(database, credits={"alice": 0, "bob": RICH})

    async def test(hub: Hub) -> None:
        async with (
            member(hub, tmp_path, served(), name="mem_mine", owner="alice") as mine,
            member(hub, tmp_path, served(), name="mem_other") as other,
        ):
            for _ in range(3):
                assert await hub.text(hub.ask(account="alice"))
            assert (len(mine.engine.asked), len(other.engine.asked)) == (3, 0)
            assert await hub.text(hub.ask(account="bob"))

    run(database, test)
    exact(database, start={"alice": 0, "bob": RICH})
    assert [(row.account, row.own) for row in rows(database)] == [("alice", True)] * 3 + [("bob", False)]


def test_a_request_can_demand_trusted_workers(database: Database, tmp_path: Path) -> None:
    prepare(database)

    async def test(hub: Hub) -> None:
        async with member(hub, tmp_path, served(), name="mem_stranger") as stranger:
            with pytest.raises(Unavailable, match="no trusted worker"):
                await hub.events(hub.ask(trusted=True))
            async with member(hub, tmp_path, served(), name="mem_trusted", trusted=True) as trusted:
                assert await hub.text(hub.ask(trusted=True))
                assert (len(stranger.engine.asked), len(trusted.engine.asked)) == (0, 1)

    run(database, test, router=RouterOptions())


def test_a_worker_lost_before_its_answer_began_is_replaced(database: Database, tmp_path: Path) -> None:
    prepare(database)

    async def test(hub: Hub) -> None:
        async with member(hub, tmp_path, served(), name="mem_a") as a:
            task = asyncio.create_task(hub.text(hub.ask("wait:1")))
            await hub.until(lambda: bool(a.engine.asked))
            async with member(hub, tmp_path, served(), name="mem_b") as b:
                b.engine.gate("wait:1").set()
                began = time.monotonic()
                await a.kill()
                assert await task
                assert time.monotonic() - began < 1.0
                assert len(b.engine.asked) == 1

    run(database, test)
    assert [row.member for row in rows(database)] == ["mem_b"]
    exact(database, start={"alice": RICH})


def test_a_worker_that_falls_silent_is_not_waited_for(database: Database, tmp_path: Path) -> None:
    prepare(database)

    async def test(hub: Hub) -> None:
        async with member(hub, tmp_path, served(), name="mem_a") as a:
            task = asyncio.create_task(hub.text(hub.ask("wait:1")))
            await hub.until(lambda: bool(a.engine.asked))
            (silent,) = hub.serving.dispatcher.workers.values()
            async with member(hub, tmp_path, served(), name="mem_b") as b:
                b.engine.gate("wait:1").set()
                for open_ask in hub.serving.dispatcher._open.values():
                    open_ask.inbox.heard -= 10
                hub.serving.dispatcher.tick()
                assert not b.engine.asked, "it is alive: its first token may take long"
                silent.heard -= 10
                hub.serving.dispatcher.tick()
                assert await asyncio.wait_for(task, 2)
                await hub.until(lambda: a.engine.cancelled == 1)

    run(database, test)
    assert [row.member for row in rows(database)] == ["mem_b"]
    exact(database, start={"alice": RICH})


def test_a_worker_lost_in_mid_answer_is_an_error_with_a_code(database: Database, tmp_path: Path) -> None:
    prepare(database)

    async def test(hub: Hub) -> None:
        engine = MockEngine(length=1000, delay=0.02)
        async with member(hub, tmp_path, served(), engine=engine) as only:
            events, first = await first_event(hub, "one", max_tokens=1000)
            assert isinstance(first, Piece)
            await only.kill()
            with pytest.raises(WorkerLost) as caught:
                async for _ in events:
                    pass
            assert (caught.value.code, caught.value.kind) == ("worker_lost", "unreachable")

    run(database, test)
    (row,) = rows(database)
    assert (row.outcome, row.microcredits) == ("lost", 0)
    exact(database, start={"alice": RICH})


def test_a_caller_who_goes_stops_the_work_and_pays_for_what_was_made(
    database: Database, tmp_path: Path
) -> None:
    prepare(database)

    async def test(hub: Hub) -> None:
        engine = MockEngine(length=4000, delay=0.005)
        async with member(hub, tmp_path, served(), engine=engine) as only:
            events, _ = await first_event(hub, "one two", max_tokens=4000)
            await events.aclose()
            await hub.until(lambda: only.engine.cancelled == 1)
            assert not hub.serving.counter.open

    run(database, test)
    (row,) = rows(database)
    assert row.outcome == "cancelled"
    assert 1 <= row.completion_tokens < 4000
    assert row.microcredits > 0
    exact(database, start={"alice": RICH})


def test_a_caller_who_goes_while_waiting_leaves_nothing_behind(database: Database, tmp_path: Path) -> None:
    prepare(database)

    async def test(hub: Hub) -> None:
        async with member(hub, tmp_path, served(), slots=1) as only:
            first = asyncio.create_task(hub.text(hub.ask("wait:1")))
            await hub.until(lambda: bool(only.engine.asked))
            second = asyncio.create_task(hub.text(hub.ask("second")))
            await hub.until(lambda: len(hub.serving.dispatcher.queue) == 1)
            second.cancel()
            with suppress(asyncio.CancelledError):
                await second
            assert len(hub.serving.dispatcher.queue) == 0
            only.engine.gate("wait:1").set()
            assert await first
            assert await hub.text(hub.ask("third"))

    run(database, test)
    exact(database, start={"alice": RICH})


def test_a_failure_of_the_request_is_the_callers(database: Database, tmp_path: Path) -> None:
    prepare(database)

    async def test(hub: Hub) -> None:
        async with member(hub, tmp_path, served()) as only:
            with pytest.raises(CompletionFailed) as caught:
                await hub.events(hub.ask("fail please"))
            assert caught.value.kind == "too_long"
            with pytest.raises(CompletionFailed, match="cannot be sent"):
                await hub.events(hub.ask("half a pair: \ud800"))
            assert len(only.engine.asked) == 1
            assert await hub.text(hub.ask("still here"))

    run(database, test)
    exact(database, start={"alice": RICH})


def test_a_model_that_nobody_serves_is_loaded_where_it_fits(database: Database, tmp_path: Path) -> None:
    other = served("other")
    prepare(database, served(), other)

    async def test(hub: Hub) -> None:
        small = member(hub, tmp_path, name="mem_small", memory=10)
        large = member(hub, tmp_path, name="mem_large", memory=10**6)
        async with small as a, large as b:
            assert await hub.text(hub.ask())
            assert await hub.text(hub.ask(model="other"))
            assert (len(a.engine.models), len(b.engine.models)) == (0, 2)
            folder = b.engine.models[other.identity].folder
            assert (folder / "model.safetensors").read_bytes() == b"weights"

    run(database, test)


def test_the_base_of_an_adapter_is_loaded_with_it(database: Database, tmp_path: Path) -> None:
    base = served()
    files = {"adapter.safetensors": base.files["model.safetensors"]}
    adapter = served(
        "tuned", kind="adapter", base=MODEL, files=files, identity=identity_of(files, base=base.identity)
    )
    prepare(database, base, adapter)

    async def test(hub: Hub) -> None:
        async with member(hub, tmp_path) as only:
            assert await hub.text(hub.ask(model="tuned"))
            assert list(only.engine.models) == [base.identity, adapter.identity]
            loaded = only.engine.models[adapter.identity]
            assert loaded.base is not None
            assert loaded.base.identity == base.identity
            assert await hub.text(hub.ask())
            assert len(only.engine.models) == 2

    run(database, test)


def test_a_model_in_the_way_is_unloaded_when_it_was_not_asked_for(database: Database, tmp_path: Path) -> None:
    models = [served(name, parameters=100) for name in ("a", "b")]
    prepare(database, *models)

    async def test(hub: Hub) -> None:
        async with member(hub, tmp_path, memory=600, engine=MockEngine(size=500)) as only:
            assert await hub.text(hub.ask(model="a"))
            assert await hub.text(hub.ask(model="b"))
            assert list(only.engine.models) == [models[1].identity]

    run(database, test, router=RouterOptions(keep=0.0))


def test_files_that_are_no_data_are_not_loaded(database: Database, tmp_path: Path) -> None:
    files = {"model.pkl": served().files["config.json"]}
    prepare(database, served(files=files, identity=identity_of(files, base=None)))

    async def test(hub: Hub) -> None:
        async with member(hub, tmp_path) as only:
            task = asyncio.create_task(hub.events(hub.ask()))
            worker = next(iter(hub.serving.dispatcher.workers.values()))
            await hub.until(lambda: bool(worker.failed))
            task.cancel()
            assert only.engine.models == {}
            assert not list(tmp_path.rglob("*.pkl"))

    run(database, test)


def test_a_member_that_leaves_hands_back_what_it_has_not_begun(database: Database, tmp_path: Path) -> None:
    prepare(database)

    async def test(hub: Hub) -> None:
        async with member(hub, tmp_path, served(), name="mem_a", slots=1) as a:
            begun = asyncio.create_task(hub.text(hub.ask("wait:begun")))
            await hub.until(lambda: len(a.engine.asked) == 1)
            worker = next(iter(hub.serving.dispatcher.workers.values()))
            worker.slots = 3  # the hub thinks that it may give more than the member begins at once
            waiting = asyncio.create_task(hub.text(hub.ask("second")))
            await hub.until(lambda: worker.running == 2)
            async with member(hub, tmp_path, served(), name="mem_b"):
                a.leave.set()
                assert await waiting
                assert not begun.done()
                a.engine.gate("wait:begun").set()
                assert await begun
                await a.task
            assert {row.member for row in rows(database)} <= {"mem_a", "mem_b"}

    run(database, test)
    by_ask = {row.member: row.outcome for row in rows(database)}
    assert by_ask == {"mem_a": "done", "mem_b": "done"}
    exact(database, start={"alice": RICH})


def test_a_member_outlives_its_hub(database: Database, tmp_path: Path) -> None:
    """The connection is broken by the hub; the member is back, with its models loaded."""
    prepare(database)

    async def test(hub: Hub) -> None:
        async with member(hub, tmp_path) as only:
            assert await hub.text(hub.ask())
            dispatcher = hub.serving.dispatcher
            (before,) = dispatcher.workers
            dispatcher.part(before, "a test")
            await hub.until(lambda: hub.workers() == 1)
            assert before not in dispatcher.workers
            assert await hub.text(hub.ask())
            assert len(only.engine.models) == 1

    run(database, test)


def test_a_member_without_a_valid_key_is_told_and_stops(database: Database, tmp_path: Path) -> None:
    prepare(database)

    async def test(hub: Hub) -> None:
        async with member(hub, tmp_path, served(), wait=False, name="mem_x") as only:
            hub.lenders.clear()
            with pytest.raises(NotAuthorized, match="not known here"):
                await asyncio.wait_for(asyncio.shield(only.task), 5)

    run(database, test)


def test_overload_is_refused_with_a_time_to_come_again(database: Database, tmp_path: Path) -> None:
    prepare(database)

    async def test(hub: Hub) -> None:
        async with member(hub, tmp_path, served(), slots=1) as only:
            tasks = [asyncio.create_task(hub.text(hub.ask("wait:all"))) for _ in range(12)]
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION, timeout=5)
            refused = [task.exception() for task in done]
            assert refused
            assert all(isinstance(error, Overloaded) and error.retry_after >= 1 for error in refused)
            only.engine.gate("wait:all").set()
            answers = await asyncio.gather(*tasks, return_exceptions=True)
            assert any(isinstance(answer, str) for answer in answers)

    run(database, test, router=RouterOptions(patience=3.0))
    exact(database, start={"alice": RICH})


def test_many_streams_share_frames(database: Database, tmp_path: Path) -> None:
    prepare(database)

    async def test(hub: Hub) -> None:
        async with member(hub, tmp_path, served(), slots=64, engine=MockEngine(delay=0.001)):
            answers = await asyncio.gather(*(hub.text(hub.ask(f"ask {i}")) for i in range(64)))
            assert len(set(answers)) == 64

    run(database, test)
    exact(database, start={"alice": RICH})


def test_an_answer_can_be_left_in_the_middle(database: Database, tmp_path: Path) -> None:
    """A caller that breaks out of its loop, and closes."""
    prepare(database)

    async def test(hub: Hub) -> None:
        async with member(hub, tmp_path, served(), engine=MockEngine(length=500, delay=0.001)):
            async with aclosing(cast(Any, hub.serving.counter.stream(hub.ask(max_tokens=500)))) as events:
                async for event in events:
                    assert isinstance(event, Piece)
                    break
            assert await hub.text(hub.ask())

    run(database, test)
    exact(database, start={"alice": RICH})
