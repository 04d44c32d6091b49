"""A whole hub under load: the API, the books, the router and a member's connection together, with a mock engine.

    python bench/serve_whole.py --out bench/data/serve_whole.json [--quick]

The hub is what ``commonweal hub`` builds, in a process of its own with its embedded database; one member is a second
process whose engine computes nothing. Clients are plain kept-alive sockets of this process. Processor time is the hub
process's with all its threads, the database's not counted; the member's stands beside it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import socket
import struct
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from machine import Record
from processes import Processes, processes
from serve_api import BODY, GOAL_REQUESTS, measure

from commonweal.app import HubSettings, build, first_start
from commonweal.core.blobs import open_blobs
from commonweal.core.clock import SystemClock
from commonweal.core.database import connect, start_embedded
from commonweal.serve.api.context import ServeOptions
from commonweal.serve.worker.engine import MockEngine
from commonweal.serve.worker.member import ServeSettings, ServingMember

LIMITS = ServeOptions(requests_per_minute=10**8, tokens_per_minute=10**10)


def serve(folder: Path) -> None:
    """The hub, with a model, a user who can pay, and a member's key, told on its first line."""
    folder.mkdir(parents=True, exist_ok=True)
    database, blobs = connect(start_embedded(folder / "postgres")), open_blobs(str(folder / "store"))
    settings = HubSettings(folder=folder, serve=LIMITS)
    keys = first_start(database, settings, SystemClock())
    assert keys is not None
    header = json.dumps({"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}).encode()
    files = {
        "config.json": blobs.put(b'{"max_position_embeddings": 4096}'),
        "model.safetensors": blobs.put(struct.pack("<Q", len(header)) + header + bytes(8)),
    }
    listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
    port = listener.getsockname()[1]
    app = build(database, blobs, {}, settings)
    config = uvicorn.Config(app, log_level="warning", access_log=False, ws_per_message_deflate=False)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=_prepared, args=(port, keys.admin, keys.join, files), daemon=True)
    thread.start()
    server.run(sockets=[listener])


def _prepared(port: int, admin: str, join: str, files: dict[str, str]) -> None:
    url = f"http://127.0.0.1:{port}"
    with httpx.Client(base_url=url, headers={"Authorization": f"Bearer {admin}"}, timeout=60) as client:
        client.post("/serve/v1/models", json={"name": "mock", "files": files}).raise_for_status()
        user = (
            client.post("/pool/v1/keys", json={"role": "user", "label": "ada"})
            .raise_for_status()
            .json()["key"]
        )
        grant = {"account": "user:ada", "microcredits": 10**12, "request_id": "grant-ada"}
        client.post("/pool/v1/credits/grant", json=grant).raise_for_status()
    body = {"name": "pc", "client_version": "0.1.0", "roles": ["serve"], "request_id": "register-pc"}
    with httpx.Client(base_url=url, headers={"Authorization": f"Bearer {join}"}, timeout=60) as client:
        member = client.post("/pool/v1/members", json=body).raise_for_status().json()["key"]
    print(f"serving on port {port} user {user} member {member} ", flush=True)


def lend(port: int, key: str, folder: Path) -> None:
    """The member: sixteen tokens an answer, at once."""
    blobs = open_blobs(str(folder / "hub" / "store"))
    settings = ServeSettings(
        url=f"http://127.0.0.1:{port}", key=key, folder=folder / "member", memory=2**30, slots=512
    )
    member = ServingMember(
        settings, MockEngine(length=16), blobs.get, told=lambda told: print(told.what, flush=True)
    )
    member.start()
    threading.Event().wait()


async def measure_all(port: int, pid: int, key: str, quick: bool) -> list[dict[str, Any]]:
    many = 2_000 if quick else 10_000
    await measure(port, pid, BODY, 8, 300, key=key)
    rows = []
    for connections in (1, 32, 256):
        rows.append(
            await measure(port, pid, BODY, connections, many // (4 if connections == 1 else 1), key=key)
        )
        print(json.dumps(rows[-1]), flush=True)
    return rows


def _run(running: Processes, *arguments: str, name: str) -> Any:
    return running.run([sys.executable, __file__, *arguments], name)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("bench/data/serve_whole.json"))
    parser.add_argument("--quick", action="store_true", help="fewer requests")
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--lend", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        serve(arguments.serve)
        return
    if arguments.lend:
        port, key, folder = arguments.lend
        lend(int(port), key, Path(folder))
        return
    record = Record("a whole hub with a mock engine", {"quick": arguments.quick, "goal": GOAL_REQUESTS})
    name = f"commonweal-bench-serve-whole-{os.getpid()}"
    with tempfile.TemporaryDirectory(prefix=f"{name}-") as folder, processes(Path(folder), name) as running:
        hub = _run(running, "--serve", str(Path(folder) / "hub"), name="hub")
        said = hub.says(r"serving on port (\d+ user \S+ member \S+) ").split()
        port, user, member = int(said[0]), said[2], said[4]
        _run(running, "--lend", str(port), member, folder, name="member").says(r"(connected)")
        rows = asyncio.run(measure_all(port, hub.process.pid, user, arguments.quick))
    record.save(arguments.out, {"rows": rows})


if __name__ == "__main__":
    main()
