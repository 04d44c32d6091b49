"""Hub processes on one database see the same workers; an ask at one is served by a worker of another."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any, cast

import pytest
from serving_hub import RICH, Hub, exact, lender, member, prepare, rows, running_hub, served

from commonweal.core.completion import CompletionFailed
from commonweal.core.database import Database
from commonweal.core.streaming import Piece
from commonweal.serve.bus import Bus, Handler, LocalBus, PostgresBus
from commonweal.serve.router.failures import WorkerLost
from commonweal.serve.worker.engine import MockEngine

Buses = Callable[[], Bus]


@pytest.fixture(params=["in this process", "over PostgreSQL"])
def buses(request: pytest.FixtureRequest, database: Database) -> Buses:
    room: dict[str, Handler] = {}
    if request.param == "in this process":
        return lambda: LocalBus(room)
    return lambda: PostgresBus(database.dsn())


async def two(stack: AsyncExitStack, database: Database, buses: Buses) -> tuple[Hub, Hub]:
    known: dict[str, Any] = {}
    a, b = [
        await stack.enter_async_context(running_hub(database, bus=buses(), lenders=known)) for _ in range(2)
    ]
    await a.until(lambda: a.serving.peers.others == 1 and b.serving.peers.others == 1)
    return a, b


def test_an_ask_at_one_is_served_by_a_worker_of_the_other(
    database: Database, tmp_path: Path, buses: Buses
) -> None:
    prepare(database)

    async def main() -> None:
        async with AsyncExitStack() as stack:
            a, b = await two(stack, database, buses)
            engine = MockEngine()
            await stack.enter_async_context(member(b, tmp_path, served(), name="mem_b", engine=engine))
            await a.until(lambda: a.workers() == 1)
            here, there = await b.text(b.ask("same")), await a.text(a.ask("same"))
            assert here == there != ""
            long = "many words " * 5000  # more than a notification carries
            assert await a.text(a.ask(long)) == await b.text(b.ask(long))
            answers = await asyncio.gather(*(a.text(a.ask(f"ask {i}")) for i in range(40)))
            assert len(set(answers)) == 40
            await a.until(lambda: all(not w.running for w in a.serving.dispatcher.workers.values()))

    asyncio.run(main())
    assert {row.member for row in rows(database)} == {"mem_b"}
    exact(database, start={"alice": RICH})


def test_a_cancel_reaches_the_other(database: Database, tmp_path: Path, buses: Buses) -> None:
    prepare(database)

    async def main() -> None:
        async with AsyncExitStack() as stack:
            a, b = await two(stack, database, buses)
            engine = MockEngine(length=2000, delay=0.005)
            await stack.enter_async_context(member(b, tmp_path, served(), engine=engine))
            await a.until(lambda: a.workers() == 1)
            events = cast(Any, a.serving.counter.stream(a.ask(max_tokens=2000)))
            assert isinstance(await anext(events), Piece)
            await events.aclose()
            await a.until(lambda: engine.cancelled == 1)

    asyncio.run(main())
    exact(database, start={"alice": RICH})


def test_failures_come_back_as_they_were(database: Database, tmp_path: Path, buses: Buses) -> None:
    prepare(database)

    async def main() -> None:
        async with AsyncExitStack() as stack:
            a, b = await two(stack, database, buses)
            only = await stack.enter_async_context(
                member(b, tmp_path, served(), engine=MockEngine(length=2000, delay=0.005))
            )
            await a.until(lambda: a.workers() == 1)
            with pytest.raises(CompletionFailed) as caught:
                await a.text(a.ask("fail please"))
            assert caught.value.kind == "too_long"
            events = cast(Any, a.serving.counter.stream(a.ask(max_tokens=2000)))
            await anext(events)
            await only.kill()
            with pytest.raises(WorkerLost):
                async for _ in events:
                    pass

    asyncio.run(main())
    exact(database, start={"alice": RICH})


def test_a_lost_worker_of_the_other_is_replaced(database: Database, tmp_path: Path, buses: Buses) -> None:
    prepare(database)

    async def main() -> None:
        async with AsyncExitStack() as stack:
            a, b = await two(stack, database, buses)
            remote = await stack.enter_async_context(member(b, tmp_path, served(), name="mem_b"))
            await a.until(lambda: a.workers() == 1)
            task = asyncio.create_task(a.text(a.ask("wait:1")))
            await a.until(lambda: bool(remote.engine.asked))
            local = await stack.enter_async_context(member(a, tmp_path, served(), name="mem_a"))
            local.engine.gate("wait:1").set()
            began = time.monotonic()
            await remote.kill()
            assert await task
            assert time.monotonic() - began < 1.0

    asyncio.run(main())
    assert [row.member for row in rows(database)] == ["mem_a"]


def test_a_model_is_loaded_on_a_worker_of_the_other(database: Database, tmp_path: Path, buses: Buses) -> None:
    prepare(database)

    async def main() -> None:
        async with AsyncExitStack() as stack:
            a, b = await two(stack, database, buses)
            remote = await stack.enter_async_context(member(b, tmp_path))
            await a.until(lambda: a.workers() == 1)
            assert await a.text(a.ask())
            assert len(remote.engine.models) == 1

    asyncio.run(main())


def test_the_workers_of_a_process_that_went_are_gone(
    database: Database, tmp_path: Path, buses: Buses
) -> None:
    prepare(database)

    async def main() -> None:
        async with AsyncExitStack() as stack:
            a, b = await two(stack, database, buses)
            await stack.enter_async_context(member(b, tmp_path, served()))
            await a.until(lambda: a.workers() == 1)
            task = asyncio.create_task(a.text(a.ask("wait:1")))
            await a.until(lambda: any(w.running for w in b.serving.dispatcher.workers.values()))
            local = await stack.enter_async_context(member(a, tmp_path, served(), name="mem_a"))
            local.engine.gate("wait:1").set()
            silent(b)
            assert await asyncio.wait_for(task, 5)
            assert a.workers() == 1

    asyncio.run(main())
    exact(database, start={"alice": RICH})


def silent(hub: Hub) -> None:
    """As a process that was killed: it says nothing any more, and hears nothing."""
    peers = cast(Any, hub.serving.peers)
    peers._beating.cancel()
    peers.tell = lambda *_, **__: None


def test_an_account_is_served_first_by_its_own_workers_at_another_process(
    database: Database, tmp_path: Path, buses: Buses
) -> None:
    prepare(database, credits={"alice": 0})

    async def main() -> None:
        async with AsyncExitStack() as stack:
            a, b = await two(stack, database, buses)
            await stack.enter_async_context(member(a, tmp_path, served(), name="mem_a"))
            await stack.enter_async_context(member(b, tmp_path, served(), name="mem_own", owner="alice"))
            await a.until(lambda: a.workers() == 2)
            assert await a.text(a.ask())

    asyncio.run(main())
    assert [(row.member, row.own) for row in rows(database)] == [("mem_own", True)]


def test_lenders_keep_their_fields_on_the_way(database: Database, tmp_path: Path) -> None:
    prepare(database)
    room: dict[str, Handler] = {}

    async def main() -> None:
        async with AsyncExitStack() as stack:
            a, b = await two(stack, database, lambda: LocalBus(room))
            await stack.enter_async_context(member(b, tmp_path, served(), name="mem_b", reputation=0.75))
            await a.until(lambda: a.workers() == 1)
            (worker,) = a.serving.dispatcher.workers.values()
            assert worker.lender == lender("mem_b", reputation=0.75)
            assert worker.hub == b.serving.hub
            with suppress(TimeoutError):
                await asyncio.wait_for(a.text(a.ask()), 5)

    asyncio.run(main())
