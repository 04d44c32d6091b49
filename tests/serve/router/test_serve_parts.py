"""The small parts of serving: what waits is bounded, what is loaded is accounted for, the live view is plain data."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import orjson
import pytest
from serving_hub import STORE, exact, member, prepare, running_hub, served

from commonweal.core.database import Database
from commonweal.core.errors import CorruptBlob, Refused, UserError
from commonweal.core.hashing import BlobHash, content_hash
from commonweal.core.streaming import Piece
from commonweal.serve.gateway.frames import Done, Events, Failure, Leave, ModelSpec, Speed, decode_member
from commonweal.serve.live import gather
from commonweal.serve.router.inbox import LARGEST, TOO_SLOW, Inbox
from commonweal.serve.worker.engine import MockEngine
from commonweal.serve.worker.files import fetch
from commonweal.serve.worker.loading import Loading
from commonweal.serve.worker.outbox import MOST, Outbox
from commonweal.serve.worker.shelf import Shelf


def spec(name: str, *, base: ModelSpec | None = None, files: dict[str, BlobHash] | None = None) -> ModelSpec:
    return ModelSpec(
        name=name,
        identity=content_hash(name.encode()),
        kind="adapter" if base else "full",
        files=files if files is not None else {"config.json": STORE.put(b"{}")},
        quantization="none",
        parameters=100,
        window=10,
        base=base,
    )


def test_who_reads_too_slowly_is_cut_off() -> None:
    async def main() -> None:
        inbox = Inbox(0.0)
        assert inbox.say([Piece(text="a")], 10, 0.0)
        assert not inbox.say([Piece(text="b")], LARGEST, 0.0)
        assert inbox.ended
        inbox.say([Piece(text="c")], 10, 0.0)
        said = await inbox.take()
        assert said[0] == Piece(text="a")
        assert isinstance(said[-1], Failure)
        assert said[-1].kind == TOO_SLOW
        assert len(said) == 2

    asyncio.run(main())


def test_a_reader_that_keeps_up_is_never_cut_off() -> None:
    async def main() -> None:
        inbox = Inbox(0.0)
        for _ in range(10):
            assert inbox.say([Piece(text="a")], LARGEST - 1, 0.0)
            assert len(await inbox.take()) == 1
        inbox.say([Done()], 5, 1.0)
        assert await inbox.take() == [Done()]

    asyncio.run(main())


class Slow:
    """A connection that takes nothing until it is told to."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.open = asyncio.Event()

    async def send(self, data: bytes) -> None:
        await self.open.wait()
        self.sent.append(data)


def test_a_hub_that_reads_slowly_stops_the_engine_and_not_the_memory() -> None:
    async def main() -> None:
        wire = Slow()
        outbox = Outbox(wire.send, linger=0.0)
        sender = asyncio.create_task(outbox.run())
        made = 0

        async def produce() -> None:
            nonlocal made
            for _ in range(3 * MOST):
                await outbox.add(1, Piece(text="x"))
                made += 1

        producing = asyncio.create_task(produce())
        for _ in range(50):
            await asyncio.sleep(0)
        assert made <= 2 * MOST + 1
        assert not producing.done()
        wire.open.set()
        await producing
        await outbox.emptied()
        heard = [decode_member(data) for data in wire.sent]
        count = sum(len(said) for frame in heard if isinstance(frame, Events) for _, said in frame.asks)
        assert count == 3 * MOST
        sender.cancel()

    asyncio.run(main())


def test_what_waits_goes_in_one_frame_and_a_lone_token_at_once() -> None:
    async def main() -> None:
        wire = Slow()
        wire.open.set()
        outbox = Outbox(wire.send, linger=0.0)
        sender = asyncio.create_task(outbox.run())
        await outbox.add(1, Piece(text="lone"))
        await outbox.emptied()
        assert len(wire.sent) == 1
        for number in range(32):
            await outbox.add(number, Piece(text="together"))
        outbox.drop(5)
        outbox.put(Leave())
        await outbox.emptied()
        assert len(wire.sent) == 3
        last = decode_member(wire.sent[2])
        assert isinstance(last, Events)
        assert sorted(number for number, _ in last.asks) == [n for n in range(32) if n != 5]
        sender.cancel()

    asyncio.run(main())


def test_the_shelf_knows_what_is_free_and_what_is_in_use() -> None:
    shelf, base = Shelf(1000), spec("base")
    adapter = spec("adapter", base=base)
    shelf.begin(base, 600)
    with pytest.raises(Refused, match="400 are free"):
        shelf.begin(adapter, 500)
    shelf.put(base, 600, 1.0)
    shelf.put(adapter, 100, 2.0)
    assert shelf.free() == 300
    with pytest.raises(Refused, match="in use"):
        shelf.take(base.identity)
    assert shelf.least_used() == adapter.identity
    shelf.asked(adapter.identity)
    assert shelf.least_used() is None
    with pytest.raises(Refused, match="in use"):
        shelf.take(adapter.identity)
    shelf.answered(adapter.identity, 5.0, Speed(tokens=10.0, first=0.1))
    state = shelf.state(9.0)
    assert state.speeds == {adapter.identity: Speed(tokens=10.0, first=0.1)}
    assert state.held[adapter.identity].idle == 4.0
    shelf.take(adapter.identity)
    shelf.take(base.identity)
    assert shelf.free() == 1000


def test_files_are_verified_plain_and_fetched_once(tmp_path: Path) -> None:
    asked: list[BlobHash] = []

    def get(blob: BlobHash) -> bytes:
        asked.append(blob)
        return STORE.get(blob)

    good = spec("good", files={"model.safetensors": STORE.put(b"w"), "config.json": STORE.put(b"{}")})
    files = fetch(good, tmp_path, get)
    assert (files.folder / "model.safetensors").read_bytes() == b"w"
    fetch(good, tmp_path, get)
    assert len(asked) == 2
    with pytest.raises(CorruptBlob):
        fetch(spec("bad", files={"config.json": content_hash(b"else")}), tmp_path, lambda _: b"not that")
    for name in ("model.bin", "code.py", "model.pt", ".json"):
        with pytest.raises(UserError, match="not a kind of file"):
            fetch(spec(f"bad {name}", files={name: STORE.put(b"")}), tmp_path, get)
    assert not list(tmp_path.rglob("*.part"))


def test_a_load_that_breaks_is_told_and_frees_its_memory(tmp_path: Path) -> None:
    class Broken(MockEngine):
        async def load(self, model: object) -> int:
            raise RuntimeError("a library fell over")

    async def main() -> None:
        shelf, told = Shelf(10_000), list[object]()
        loading = Loading(Broken(), shelf, tmp_path, STORE.get, time.monotonic)
        await loading.load(spec("m"), told.append)
        assert "fell over" in repr(told)
        assert shelf.free() == 10_000

    asyncio.run(main())


def test_the_live_view_is_plain_data(database: Database, tmp_path: Path) -> None:
    prepare(database)

    async def main() -> None:
        async with running_hub(database) as hub, member(hub, tmp_path, served(), name="mem_a"):
            await hub.text(hub.ask())
            seen = gather(hub.serving, time.time())
            assert orjson.loads(orjson.dumps(seen)) == seen
            (worker,), (model,) = seen["workers"], seen["models"]
            assert (worker["member"], worker["models"], worker["running"]) == ("mem_a", ["tiny"], 0)
            assert (model["names"], model["workers"], model["waiting"]) == (["tiny"], 1, 0)
            assert model["tokens_per_second"] > 0
            assert (seen["answered"], seen["open"], seen["waiting"]) == (1, 0, 0)

    asyncio.run(main())
    exact(database, start={"alice": 10**12})


def test_a_member_runs_in_a_thread_of_its_own(database: Database, tmp_path: Path) -> None:
    """As beside the training agent: started and stopped from a thread without an event loop."""
    prepare(database)

    async def main() -> None:
        async with running_hub(database) as hub, member(hub, tmp_path, name="mem_a") as inner:
            serving = inner.serving
            inner.leave.set()
            await inner.task
            await asyncio.to_thread(serving.start)
            await hub.until(lambda: hub.workers() == 1)
            assert serving.alive
            assert await hub.text(hub.ask())
            await asyncio.to_thread(serving.stop)
            assert not serving.alive
            assert inner.engine.models == {}
            await hub.until(lambda: hub.workers() == 0)

    asyncio.run(main())
