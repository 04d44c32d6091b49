"""What hub and router add between an app and an engine: delays, asks a second, two processes, a killed worker.

    python bench/serve_hub.py --out bench/data/serve_hub.json [--quick]

This process is a hub (its desk, router, books and gateway, with the embedded database); the workers are processes of
their own with an engine that computes nothing and writes into each token when it was made, so a token's delay is read
off the clock that both share: encoding, the worker's connection, counting, and the way to who asked. Asks come from
within the hub's event loop; the API in front of it is measured by ``serve_api.py``. Processor time is that of the hub
with those who ask. For the second part the worker is connected to another hub process on the same database.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import uvicorn
from fastapi import FastAPI
from machine import Record, quantile

from commonweal.core.completion import Request, Token
from commonweal.core.database import Database, connect, start_embedded
from commonweal.core.errors import CommonwealError
from commonweal.core.hashing import content_hash
from commonweal.core.streaming import Ended, Event, Piece, Usage
from commonweal.ledger import audit
from commonweal.ledger.accounts import AccountId, open_account
from commonweal.ledger.journal import grant
from commonweal.serve.billing.books import BookOptions
from commonweal.serve.catalogue import ServedModel, publish
from commonweal.serve.desk import Ask
from commonweal.serve.gateway import door
from commonweal.serve.gateway.frames import ModelSpec
from commonweal.serve.router.worker import Lender
from commonweal.serve.serving import Serving, ServingOptions
from commonweal.serve.worker.engine import ModelFiles
from commonweal.serve.worker.member import ServeSettings, ServingMember

MODEL = "mock"
SPEC = ModelSpec(
    name=MODEL,
    identity=content_hash(b"mock"),
    kind="full",
    files={},
    quantization="none",
    parameters=1_000_000,
    window=4096,
)
GOAL_ASKS = 1000.0
_numbers = itertools.count()


class Stamping:
    """Writes when each token was made. The prompt says how: seconds before the first one, and between two."""

    async def stream(self, request: Request) -> AsyncIterator[Event]:
        wait, gap = (float(word) for word in (request.prompt or "0 0").split()[:2])
        for place in range(request.max_tokens):
            if seconds := gap if place else wait:
                await asyncio.sleep(seconds)
            token = Token(text="x", id=place, logprob=-0.5)
            yield Piece(text=f"{time.time():.6f}", tokens=(token,))
        yield Ended(finish="length")
        yield Usage(prompt_tokens=2, completion_tokens=request.max_tokens)

    async def load(self, model: ModelFiles) -> int:
        return 0

    async def unload(self, identity: str) -> None:
        pass


def identify(key: str) -> Lender:
    return Lender(member=key, account=f"member:{key}", owner=f"member:{key}", accepted=1000)


def prepare(database: Database) -> None:
    model = ServedModel(
        name=MODEL,
        kind="full",
        owner="operator",
        files={},
        identity=SPEC.identity,
        parameters=SPEC.parameters,
        window=SPEC.window,
        price_in=100,
        price_out=300,
        created=0.0,
    )
    with database.transaction() as connection:
        publish(connection, model)
        for number in range(20):
            name = AccountId(f"user-{number}")
            open_account(connection, name, "user")
            grant(connection, key=f"grant-{number}", account=name, microcredits=10**13, now=1.0)


@contextlib.asynccontextmanager
async def hub(url: str) -> AsyncIterator[tuple[Serving, int]]:
    """A hub process' serving half, and the port that members connect to."""
    database = connect(url)
    serving = Serving.make(
        database, identify=identify, options=ServingOptions(audits=None, books=BookOptions())
    )
    app = FastAPI()
    app.include_router(door.router)
    app.state.gateway = serving.gateway
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    server = uvicorn.Server(
        uvicorn.Config(app, log_level="error", lifespan="off", ws_per_message_deflate=False)
    )
    server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign]
    async with serving.running():
        task = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            yield serving, int(listener.getsockname()[1])
        finally:
            server.should_exit = server.force_exit = True
            await task
            listener.close()
    database.close()


async def serve_other(url: str) -> None:
    """A second hub process, until it is ended."""
    async with hub(url) as (_, port):
        print(port, flush=True)
        await asyncio.Event().wait()


async def work(port: int, name: str, slots: int) -> None:
    """A worker process, until it is ended."""
    settings = ServeSettings(
        url=f"http://127.0.0.1:{port}",
        key=name,
        folder=Path(tempfile.gettempdir()),
        memory=10**9,
        slots=slots,
        loads=False,
        served=(SPEC,),
    )
    await ServingMember(settings, Stamping(), lambda blob: b"").run(asyncio.Event())


def started(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, __file__, *arguments], stdout=subprocess.PIPE, text=True)


async def workers(serving: Serving, count: int) -> None:
    async with asyncio.timeout(60):
        while len(serving.dispatcher.workers) != count:  # noqa: ASYNC110
            await asyncio.sleep(0.02)


@dataclass(slots=True)
class Delays:
    """Seconds: from the ask to the first token at who asked; from a token's making to its arrival there."""

    first: list[float] = field(default_factory=list)
    token: list[float] = field(default_factory=list)


def asked(prompt: str, tokens: int) -> Ask:
    number = next(_numbers)
    request = Request(model=MODEL, prompt=prompt, max_tokens=tokens, temperature=1.0)
    return Ask(id=f"ask-{os.getpid()}-{number}", account=f"user-{number % 20}", request=request)


async def listen(serving: Serving, ask: Ask, delays: Delays) -> None:
    began, first = time.time(), True
    async for event in serving.counter.stream(ask):
        if isinstance(event, Piece):
            now = time.time()
            delays.token.append(now - float(event.text))
            if first:
                delays.first.append(now - began)
                first = False


async def measure_streams(serving: Serving, streams: int, tokens: int, gap: float) -> dict[str, Any]:
    """Streams side by side, each with a token every ``gap`` seconds."""
    delays, cpu, wall = Delays(), time.process_time(), time.perf_counter()

    async def one(number: int) -> None:
        await asyncio.sleep(gap * number / streams)
        await listen(serving, asked(f"0 {gap}", tokens), delays)

    await asyncio.gather(*(one(number) for number in range(streams)))
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    made = len(delays.token)
    return {
        "streams": streams,
        "tokens_per_second": made / wall,
        "first_p50_ms": 1e3 * quantile(delays.first, 0.5),
        "first_p99_ms": 1e3 * quantile(delays.first, 0.99),
        "token_p50_ms": 1e3 * quantile(delays.token, 0.5),
        "token_p99_ms": 1e3 * quantile(delays.token, 0.99),
        "cpu_us_per_token": 1e6 * cpu / made,
        "cores": cpu / wall,
        "memory_mib": psutil.Process().memory_info().rss / 2**20,
    }


async def measure_asks(serving: Serving, at_once: int, tokens: int, seconds: float) -> dict[str, Any]:
    """Short answers, as many as go through: each asker asks again as soon as it is answered."""
    cpu, wall, done = time.process_time(), time.perf_counter(), 0
    end, took = time.perf_counter() + seconds, list[float]()

    async def one() -> None:
        nonlocal done
        while time.perf_counter() < end:
            began = time.perf_counter()
            async for _ in serving.counter.stream(asked("0 0", tokens)):
                pass
            took.append(time.perf_counter() - began)
            done += 1

    await asyncio.gather(*(one() for _ in range(at_once)))
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    return {
        "at_once": at_once,
        "tokens": tokens,
        "asks_per_second": done / wall,
        "goal_asks_per_second": GOAL_ASKS,
        "asks_per_core_second": done / cpu,
        "cpu_us_per_ask": 1e6 * cpu / done,
        "p50_ms": 1e3 * quantile(took, 0.5),
        "p99_ms": 1e3 * quantile(took, 0.99),
        "cores": cpu / wall,
    }


async def measure_kill(serving: Serving, victim: subprocess.Popen[str], streams: int) -> dict[str, Any]:
    """Half of the streams have begun, the others wait for their first token, when one of two workers is killed."""
    begun, waiting = streams // 2, streams - streams // 2
    firsts: dict[int, float] = {}
    outcomes: dict[int, str] = {}

    async def one(number: int) -> None:
        prompt = "0 0.05" if number < begun else "1.0 0.05"
        try:
            async for event in serving.counter.stream(asked(prompt, 60)):
                if isinstance(event, Piece):
                    firsts.setdefault(number, time.time())
            outcomes[number] = "answered"
        except CommonwealError as error:
            outcomes[number] = error.code

    tasks = [asyncio.create_task(one(number)) for number in range(streams)]
    await asyncio.sleep(0.5)
    there = {each.lender.member: each for each in serving.dispatcher.workers.values()}
    on_victim = there["victim"].running
    victim.send_signal(signal.SIGKILL)
    killed = time.time()
    while len(serving.dispatcher.workers) > 1:  # noqa: ASYNC110
        await asyncio.sleep(0.001)
    noticed = time.time() - killed
    while serving.dispatcher.workers[there["other"].id].running < streams - _lost(outcomes):
        if time.time() - killed > 10:
            break
        await asyncio.sleep(0.001)
    seated = time.time() - killed
    await asyncio.gather(*tasks)
    after = [firsts[n] - killed for n in range(begun, streams) if n in firsts]
    return {
        "streams": streams,
        "on_the_killed_worker": on_victim,
        "not_begun": waiting,
        "not_begun_lost": sum(outcomes[n] != "answered" for n in range(begun, streams)),
        "begun_lost": sum(outcomes[n] != "answered" for n in range(begun)),
        "codes": sorted(set(outcomes.values())),
        "noticed_ms": 1e3 * noticed,
        "all_seated_again_ms": 1e3 * seated,
        "last_first_token_ms": 1e3 * max(after),
        "engine_first_token_ms": 1000.0,
    }


def _lost(outcomes: dict[int, str]) -> int:
    return sum(code == "worker_lost" for code in outcomes.values())


async def measure(url: str, quick: bool) -> dict[str, Any]:
    streams: Sequence[int] = (1, 32) if quick else (1, 32, 256)
    tokens, seconds = (40, 2.0) if quick else (150, 6.0)
    found: dict[str, Any] = {"streams": [], "asks": [], "streams_over_two": [], "asks_over_two": []}
    running: list[subprocess.Popen[str]] = []
    async with hub(url) as (serving, port):
        try:
            found["memory_mib_at_start"] = psutil.Process().memory_info().rss / 2**20
            running.append(started("--work", str(port), "near", "512"))
            await workers(serving, 1)
            await measure_asks(serving, 8, 4, 0.5)  # opens connections, fills caches
            for count in streams:
                found["streams"].append(await measure_streams(serving, count, tokens, 0.02))
                print(json.dumps(found["streams"][-1]), flush=True)
            for at_once in (1, 64):
                found["asks"].append(await measure_asks(serving, at_once, 8, seconds))
                print(json.dumps(found["asks"][-1]), flush=True)
            _end(running.pop())
            await workers(serving, 0)
            other = started("--other", url)
            running.append(other)
            assert other.stdout is not None
            away = int(await asyncio.to_thread(other.stdout.readline))
            running.append(started("--work", str(away), "far", "512"))
            await workers(serving, 1)
            await measure_asks(serving, 8, 4, 0.5)
            for count in streams:
                found["streams_over_two"].append(await measure_streams(serving, count, tokens, 0.02))
                print(json.dumps(found["streams_over_two"][-1]), flush=True)
            for at_once in (1, 64):
                found["asks_over_two"].append(await measure_asks(serving, at_once, 8, seconds))
                print(json.dumps(found["asks_over_two"][-1]), flush=True)
            for process in (running.pop(), running.pop()):
                _end(process)
            await workers(serving, 0)
            found["killed"] = []
            for _ in range(1 if quick else 3):
                victim, rest = (started("--work", str(port), name, "32") for name in ("victim", "other"))
                running += [victim, rest]
                await workers(serving, 2)
                found["killed"].append(await measure_kill(serving, victim, 32))
                print(json.dumps(found["killed"][-1]), flush=True)
                _end(rest)
                await workers(serving, 0)
        finally:
            for process in running:
                _end(process)
    return found


def _end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait(10)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("bench/data/serve_hub.json"))
    parser.add_argument("--quick", action="store_true", help="small sizes, less than a minute")
    parser.add_argument("--work", nargs=3, metavar=("PORT", "NAME", "SLOTS"), help=argparse.SUPPRESS)
    parser.add_argument("--other", metavar="URL", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.work:
        port, name, slots = arguments.work
        asyncio.run(work(int(port), name, int(slots)))
        return
    if arguments.other:
        asyncio.run(serve_other(arguments.other))
        return
    record = Record("what hub and router add", {"quick": arguments.quick, "goal_asks": GOAL_ASKS})
    with tempfile.TemporaryDirectory(prefix="commonweal-bench-serve-hub-") as folder:
        url = start_embedded(Path(folder) / "postgres")
        database = connect(url)
        prepare(database)
        found = asyncio.run(measure(url, arguments.quick))
        with database.transaction() as connection:
            checked = audit.verify(connection)
        database.close()
    record.save(arguments.out, {**found, "books_ok": checked.ok, "journals": checked.journals})


if __name__ == "__main__":
    main()
