"""Two hub processes on one database and one store: one pool."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from pool_hub import RunningHub, TestMember

from commonweal.app import HubSettings, first_start
from commonweal.core.clock import SystemClock
from commonweal.core.database import Database
from commonweal.pool.schema import rounds, units

MEMBERS = 32


class HubProcess:
    """A hub that can be killed."""

    def __init__(self, database_url: str, folder: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        here = Path(__file__).with_name("hub_process.py")
        store = folder / "store"
        self.process = subprocess.Popen(
            [sys.executable, here, database_url, str(store), str(folder), str(self.port)],
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(here.parent), *sys.path])},
        )

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def wait_until_ready(self, seconds: float = 60) -> None:
        end = time.monotonic() + seconds
        while True:
            try:
                httpx.get(f"{self.url}/pool/v1/hello").raise_for_status()
                return
            except httpx.HTTPError:
                assert time.monotonic() < end
                assert self.process.poll() is None
                time.sleep(0.1)

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(10)


@pytest.fixture
def two_hubs(
    database: Database, database_url: str, tmp_path: Path
) -> Iterator[tuple[RunningHub, RunningHub, Callable[[], None]]]:
    keys = first_start(database, HubSettings(folder=tmp_path), SystemClock())
    assert keys is not None
    first, second = HubProcess(database_url, tmp_path), HubProcess(database_url, tmp_path)
    try:
        for each in (first, second):
            each.wait_until_ready()
        a = RunningHub(first.url, keys, lambda: None)
        yield a, replace(a, url=second.url), first.kill
    finally:
        first.kill()
        second.kill()


def at(hub: RunningHub, member: TestMember) -> TestMember:
    """The same member, talking to another hub."""
    return TestMember(hub.client(member.client.headers["Authorization"].removeprefix("Bearer ")), member.id)


def count_waiting(hub: RunningHub, number: int) -> None:
    end = time.monotonic() + 20
    while sum(m["free_memory"] > 0 for m in hub.admin.get("/members").json()) < number:
        assert time.monotonic() < end
        time.sleep(0.05)


def test_two_hubs_are_one_pool_and_one_of_them_may_die(two_hubs: Any, database: Database) -> None:
    a, b, kill_a = two_hubs
    _wakes_across(a, b)
    _leases_once(a, b, database)
    _goes_on_without(a, b, kill_a)
    assert b.admin.post("/credits/verify").json()["ok"]


def _wakes_across(a: RunningHub, b: RunningHub) -> None:
    """A member that waits at one hub is woken by a job submitted at the other."""
    member = a.member("sleeper")
    got: list[Any] = []
    thread = threading.Thread(target=lambda: got.append(member.lease(wait=20)))
    thread.start()
    count_waiting(a, 1)
    started = time.monotonic()
    job = b.submit_job(units=1, rounds=1)
    thread.join(15)
    assert got, "not woken"
    assert got[0] is not None
    assert time.monotonic() - started < 10, "it was woken, it did not find the job at the end of its wait"
    assert member.submit(got[0]).status_code == 200
    b.wait_for(job)


def _leases_once(a: RunningHub, b: RunningHub, database: Database) -> None:
    """Many members at both hubs, more units than members: every unit is done exactly once."""
    hubs = [a, b]
    crowd = [hubs[i % 2].member(f"crowd-{i}") for i in range(MEMBERS)]
    job = a.submit_job(units=120, rounds=2, ungrouped=True, price=10, target=30, quorum=120)
    done: list[str] = []

    def work(member: TestMember) -> None:
        while (lease := member.lease(wait=2)) is not None:
            assert member.submit(lease).json() == {"duplicate": False}
            done.append(lease["unit_key"])

    threads = [threading.Thread(target=work, args=(member,)) for member in crowd]
    for thread in threads:
        thread.start()
    view = b.wait_for(job, seconds=60)
    for thread in threads:
        thread.join(30)
    assert view["state"] == {"round": 2, "total": 240}
    assert view["spent"] == 2400
    assert Counter(done) == {f"r{r:04}-{i:04}": 1 for r in range(2) for i in range(120)}
    with database.transaction() as connection:
        fences = connection.execute(sa.select(units.c.fence).where(units.c.job == job)).scalars().all()
        folded = connection.execute(sa.select(rounds.c.number).where(rounds.c.job == job)).scalars().all()
    assert set(fences) == {1}
    assert sorted(folded) == [0, 1]


def _goes_on_without(a: RunningHub, b: RunningHub, kill_a: Callable[[], None]) -> None:
    """A lease taken at the hub that dies is handed in at the other."""
    member = a.member("survivor")
    job = a.submit_job(units=1, rounds=3, price=7, target=30)
    lease = member.lease()
    assert lease is not None
    kill_a()
    moved = at(b, member)
    assert moved.heartbeat(lease)["leases"][0]["valid"]
    assert moved.submit(lease, count=5).status_code == 200
    for _ in range(2):
        lease = moved.lease(wait=20)
        assert lease is not None
        assert moved.submit(lease, count=5).status_code == 200
    view = b.wait_for(job)
    assert (view["state"]["total"], view["spent"]) == (15, 21)
