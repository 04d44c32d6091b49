"""A whole hub with a site, models and their records, and a machine that can serve them by a mock engine."""

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
    """``root`` ends with a slash; ``key`` is the operator's; ``promoted`` the improved version of the base model;
    ``member`` a machine that was registered."""

    root: str
    key: str
    promoted: str
    member: str
    member_key: str


@contextmanager
def live_hub(database: Database, folder: Path, runs: Path | None) -> Iterator[LiveHub]:
    blobs = open_blobs(str(folder / "store"))
    promoted = hub_records.fill(database, blobs)
    settings = HubSettings(folder=folder, tick_seconds=0.1, runs=runs)
    keys = first_start(database, settings, SystemClock())
    assert keys is not None
    with serving(build(database, blobs, {}, settings)) as url:
        made = _registered(url, keys.join)
        yield LiveHub(
            root=f"{url}/",
            key=keys.admin,
            promoted=promoted,
            member=str(made["member"]),
            member_key=str(made["key"]),
        )


def _registered(url: str, key: str) -> dict[str, object]:
    body = {"name": "pc", "client_version": "0.1.0", "roles": ["serve"], "request_id": "the-machine"}
    reply = httpx.post(
        f"{url}/pool/v1/members", json=body, headers={"Authorization": f"Bearer {key}"}, timeout=20
    )
    assert reply.status_code == 201, reply.text
    return dict(reply.json())


@contextmanager
def machine(hub: LiveHub, folder: Path) -> Iterator[None]:
    """The hub's machine serves, from when the hub knows it."""
    settings = ServeSettings(
        url=hub.root.rstrip("/"), key=hub.member_key, folder=folder, memory=2**30, grace=1.0
    )
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
