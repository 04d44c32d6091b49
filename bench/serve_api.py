"""The API alone: requests a second of one hub process with a mock engine, and what a request and an event cost it.

    python bench/serve_api.py --out bench/data/serve_api.json [--quick]

A process of its own serves ``/v1`` with its embedded database; its desk is the mock engine, so that nothing but the API
is measured: HTTP, key, limits, validation, repeats and the answer's encoding. Clients are plain kept-alive sockets of
this process. Processor time is that of the serving process with all its threads; wall time says little on a machine
that does something else besides. A request is also measured against the smallest application that uvicorn serves.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import socket
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import uvicorn
from fastapi import FastAPI
from machine import Record, quantile
from processes import Processes, processes

from commonweal.core.blobs import open_blobs
from commonweal.core.clock import SystemClock
from commonweal.core.database import connect, start_embedded
from commonweal.core.streaming import Event
from commonweal.models.engine.mock import MockEngine, MockOptions
from commonweal.serve.api import chat, completions, embeddings, models, responses
from commonweal.serve.api.context import Account, Serve, ServeOptions
from commonweal.serve.api.errors import refuse_the_rest
from commonweal.serve.catalogue import ServedModel, publish
from commonweal.serve.desk import Ask

KEY = "bench"
BODY: dict[str, Any] = {
    "model": "mock",
    "messages": [
        {"role": "system", "content": "You are brief."},
        {"role": "user", "content": "What is the capital of France, and since when? Answer in one sentence."},
    ],
    "max_tokens": 16,
    "temperature": 0.7,
}
GOAL_REQUESTS = 1000.0


@dataclass(frozen=True, slots=True)
class MockDesk:
    """Nobody pays, nobody waits."""

    engine: MockEngine

    def stream(self, ask: Ask) -> AsyncIterator[Event]:
        return self.engine.stream(ask.request)


async def smallest(scope: Any, receive: Any, send: Any) -> None:
    """An application that reads a body and answers as many bytes as a chat's answer has."""
    if scope["type"] != "http":
        return
    while (await receive()).get("more_body"):
        pass
    headers = [(b"content-type", b"application/json"), (b"content-length", b"600")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"x" * 600})


def application(folder: Path) -> FastAPI:
    database = connect(start_embedded(folder / "postgres"))
    model = ServedModel(
        name="mock", kind="full", owner="operator", files={}, identity="0" * 64, parameters=1, window=4096,
        price_in=1, price_out=1, created=0.0,
    )  # fmt: skip
    with database.transaction() as connection:
        publish(connection, model)
    app = FastAPI()
    app.state.serve = Serve(
        desk=MockDesk(MockEngine(MockOptions())),
        database=database,
        blobs=open_blobs(str(folder / "store")),
        clock=SystemClock(),
        identify=lambda secret: Account(name=secret),
        options=ServeOptions(requests_per_minute=10**8, tokens_per_minute=10**10),
    )
    for module in (chat, completions, embeddings, models, responses):
        app.include_router(module.router)
    refuse_the_rest(app)
    return app


def serve(folder: Path, loop: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
    app: Any = smallest if folder.name == "smallest" else application(folder)
    print(f"serving on port {listener.getsockname()[1]} ", flush=True)
    config = uvicorn.Config(app, log_level="warning", access_log=False, loop=loop)  # type: ignore[arg-type]
    uvicorn.Server(config).run(sockets=[listener])


class Line(asyncio.Protocol):
    """One kept-alive connection that asks, waits for the whole answer, and asks again."""

    def __init__(self, request: bytes, left: int) -> None:
        self._request = request
        self._left = left
        self._buffer = bytearray()
        self._asked = 0.0
        self.seconds: list[float] = []
        self.first: list[float] = []
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._ask()

    def _ask(self) -> None:
        self._asked = time.perf_counter()
        self._buffer.clear()
        self._waiting = True
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if self._waiting and b"\r\n\r\n" in self._buffer:
            self._waiting = False
            self.first.append(time.perf_counter() - self._asked)
        if not _complete(self._buffer):
            return
        if not self._buffer.startswith(b"HTTP/1.1 200"):
            self.done.set_exception(RuntimeError(bytes(self._buffer[:500]).decode()))
            return
        self.seconds.append(time.perf_counter() - self._asked)
        self._left -= 1
        if self._left:
            self._ask()
        else:
            self._transport.close()
            self.done.set_result(None)


def _complete(buffer: bytearray) -> bool:
    """Whether a whole answer is there, of a told length or in chunks."""
    end = buffer.find(b"\r\n\r\n")
    if end < 0:
        return False
    at = buffer.find(b"content-length: ", 0, end)
    if at < 0:
        return buffer.endswith(b"\r\n0\r\n\r\n")
    return len(buffer) - end - 4 >= int(buffer[at + 16 : buffer.find(b"\r", at)])


async def measure(
    port: int, pid: int, body: dict[str, Any], lines: int, requests: int, *, key: str = KEY
) -> dict[str, Any]:
    """Ask ``requests`` times over ``lines`` connections."""
    content = json.dumps(body).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n"
    head += f"x-stainless-retry-count: 0\r\nContent-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
    made = [Line(head.encode() + content, max(1, requests // lines)) for _ in range(lines)]
    before, began = _cpu(pid), time.perf_counter()
    loop = asyncio.get_running_loop()
    for line in made:
        await loop.create_connection(lambda line=line: line, "127.0.0.1", port)  # type: ignore[misc]
    await asyncio.gather(*(line.done for line in made))
    wall, cpu = time.perf_counter() - began, _cpu(pid) - before
    seconds = [second for line in made for second in line.seconds]
    first = [second for line in made for second in line.first]
    return {
        "stream": bool(body.get("stream")),
        "tokens": body["max_tokens"],
        "connections": lines,
        "requests": len(seconds),
        "requests_a_second": len(seconds) / wall,
        "requests_a_cpu_second": len(seconds) / cpu,
        "cpu_ms_a_request": 1e3 * cpu / len(seconds),
        "p50_ms": 1e3 * quantile(seconds, 0.5),
        "p99_ms": 1e3 * quantile(seconds, 0.99),
        "first_p50_ms": 1e3 * quantile(first, 0.5),
        "first_p99_ms": 1e3 * quantile(first, 0.99),
        "memory_mib": psutil.Process(pid).memory_info().rss / 2**20,
    }


def _cpu(pid: int) -> float:
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


async def measure_all(port: int, pid: int, quick: bool) -> list[dict[str, Any]]:
    many = 3_000 if quick else 20_000
    await measure(port, pid, BODY, 8, 500)
    rows = []
    for connections in (1, 32, 256):
        rows.append(await measure(port, pid, BODY, connections, many // (4 if connections == 1 else 1)))
        print(json.dumps(rows[-1]), flush=True)
    for connections in (1, 32, 256):
        stream = BODY | {"stream": True, "max_tokens": 128}
        rows.append(await measure(port, pid, stream, connections, max(connections, many // 10)))
        rows[-1]["cpu_us_a_token"] = 1e3 * rows[-1]["cpu_ms_a_request"] / 128
        print(json.dumps(rows[-1]), flush=True)
    return rows


def started(running: Processes, name: str, loop: str) -> tuple[int, int]:
    """Port and process id."""
    folder = running.folder / name
    process = running.run([sys.executable, __file__, "--serve", str(folder), "--loop", loop], name)
    return int(process.says(r"serving on port (\d+) ")), process.process.pid


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("bench/data/serve_api.json"))
    parser.add_argument("--quick", action="store_true", help="fewer requests")
    parser.add_argument("--loop", default="auto", help="uvicorn's event loop: auto, asyncio or uvloop")
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        serve(arguments.serve, arguments.loop)
        return
    record = Record(
        "the API with a mock engine",
        {"quick": arguments.quick, "loop": arguments.loop, "goal": GOAL_REQUESTS},
    )
    name = f"commonweal-bench-serve-api-{os.getpid()}"
    with tempfile.TemporaryDirectory(prefix=f"{name}-") as folder, processes(Path(folder), name) as running:
        port, pid = started(running, "smallest", arguments.loop)
        floor = asyncio.run(measure(port, pid, BODY, 32, 3_000 if arguments.quick else 20_000))
        print(json.dumps(floor), flush=True)
        port, pid = started(running, "api", arguments.loop)
        rows = asyncio.run(measure_all(port, pid, arguments.quick))
    record.save(arguments.out, {"floor": floor, "rows": rows})


if __name__ == "__main__":
    main()
