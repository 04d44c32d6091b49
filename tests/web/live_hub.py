"""A whole hub with a site, models and their records, and a machine that serves them by a mock engine."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

import hub_records
from commonweal.app import HubSettings, build, first_start
from commonweal.core.blobs import open_blobs
from commonweal.core.clock import SystemClock
from commonweal.core.database import Database
from commonweal.serve.worker.engine import MockEngine
from commonweal.serve.worker.member import ServeSettings, ServingMember
from served_app import serving


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveHub:
    """``root`` ends with a slash; ``key`` is the operator's; ``promoted`` the improved version of the base model."""

    root: str
    key: str
    join: str
    promoted: str

    def client(self, key: str = "") -> httpx.Client:
        return httpx.Client(
            base_url=self.root, headers={"Authorization": f"Bearer {key or self.key}"}, timeout=20
        )


@contextmanager
def live_hub(database: Database, folder: Path, runs: Path | None) -> Iterator[LiveHub]:
    blobs = open_blobs(str(folder / "store"))
    promoted = hub_records.fill(database, blobs)
    settings = HubSettings(folder=folder, tick_seconds=0.1, runs=runs)
    keys = first_start(database, settings, SystemClock())
    assert keys is not None
    with serving(build(database, blobs, {}, settings)) as url:
        yield LiveHub(root=f"{url}/", key=keys.admin, join=keys.join, promoted=promoted)


@contextmanager
def machine(hub: LiveHub, folder: Path) -> Iterator[None]:
    """A machine of the hub that serves, from when the hub knows it."""
    body = {
        "name": "pc",
        "client_version": "0.1.0",
        "roles": ["serve"],
        "request_id": "register-the-machine",
    }
    with hub.client(hub.join) as client:
        reply = client.post("pool/v1/members", json=body)
        assert reply.status_code == 201, reply.text
        key = str(reply.json()["key"])
    settings = ServeSettings(url=hub.root.rstrip("/"), key=key, folder=folder, memory=2**30, grace=1.0)
    store = open_blobs(str(folder.parent / "store"))
    there = threading.Event()
    told = lambda event: there.set() if event.what == "connected" else None  # noqa: E731
    member = ServingMember(settings, MockEngine(length=6), store.get, told=told)
    member.start()
    try:
        assert there.wait(20)
        yield
    finally:
        member.stop()
