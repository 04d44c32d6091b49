"""The agent against a real hub: what the fake one cannot promise."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

from commonweal.core.clock import SystemClock
from commonweal.core.hashing import content_hash
from commonweal.core.work import Outcome, Task, WorkIO
from commonweal.pool.wire import UploadRequest
from commonweal.pool.worker import events
from commonweal.pool.worker.agent import Agent
from commonweal.pool.worker.cache import Cache
from commonweal.pool.worker.client import HubClient
from commonweal.pool.worker.download import Downloads
from commonweal.pool.worker.limits import parse_rate
from commonweal.pool.worker.options import AgentOptions, Tempo
from commonweal.pool.worker.patience import Retry
from commonweal.pool.worker.store import Store
from commonweal.pool.worker.throttle import Meter, TokenBucket
from commonweal.pool.worker.upload import Uploads

DATA = Random(0).randbytes(6_000_000)  # more than one chunk


class Counts:
    """Counts one, with a large proof."""

    def __init__(self, begun: threading.Event) -> None:
        self.begun, self.hold = begun, threading.Event()
        self.hold.set()

    def run(self, task: Task, io: WorkIO) -> Outcome:
        self.begun.set()
        while not (self.hold.is_set() or io.stop.wait(0.01)):
            pass
        return Outcome(report={"count": 1}, blobs={"proof": DATA}, amount_done=task.amount, seconds=0.1)

    def close(self) -> None: ...


class Machine:
    """An agent in its own thread, with real clocks."""

    def __init__(self, folder: Path, hub: Any) -> None:
        self.folder, self.hub = folder, hub
        self.begun = threading.Event()
        self.executor = Counts(self.begun)
        self.events: list[events.Event] = []
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        client = HubClient(self.hub.url, version="0.1.0")
        options = AgentOptions(device="cpu", max_load=None, on_battery=True)
        with Store(self.folder, 10**8) as store:
            agent = Agent(
                client,
                {"count": lambda: self.executor},
                options,
                store,
                SystemClock(),
                self.events.append,
                tempo=Tempo(tick=0.01, grace=2.0),
            )
            agent.join(token=self.hub.keys.join, name="pc", platform={"cores": 2}, stop=self.stop)
            agent.run(self.stop)
        client.close()

    def end(self) -> None:
        self.stop.set()
        self.thread.join(10)
        assert not self.thread.is_alive()

    def saw(self, kind: type[events.Event]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]


@pytest.fixture
def machine(tmp_path: Path, hub: Any) -> Iterator[Machine]:
    machine = Machine(tmp_path / "member", hub)
    machine.thread.start()
    yield machine
    machine.stop.set()
    machine.executor.hold.set()


def until(condition: Callable[[], object], seconds: float = 15) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_job_is_done_and_paid(machine: Machine, hub: Any, tmp_path: Path) -> None:
    job = hub.submit_job(rounds=3, units=1, price=7)
    view = hub.wait_for(job)
    assert view["state"] == {"round": 3, "total": 3}
    machine.end()
    (row,) = hub.admin.get("/members").json()
    assert (row["earned"], row["state"], row["platform"]) == (21, "left", {"cores": 2})
    assert row["free_memory"] > 0
    assert len(machine.saw(events.Submitted)) == 3
    client = HubClient(hub.url, version="0.1.0", key=hub.keys.admin)
    retry, stop = Retry(SystemClock(), Random(0)), threading.Event()
    cache, name = Cache(tmp_path / "cache", 10**8), content_hash(DATA)
    downloads = Downloads(client, cache, retry, Meter(SystemClock()))
    with cache.continuing(name, 0) as file:
        file.write(DATA[:1_234_567])
    assert downloads.get(name, stop) == DATA
    client.close()


def test_an_upload_to_a_hub_takes_as_long_as_the_limit_says(hub: Any) -> None:
    """100 kbit are 12,500 bytes a second, of which a quarter goes at once."""
    clock, rate, data = SystemClock(), parse_rate("100kbit"), DATA[:25_000]
    client = HubClient(hub.url, version="0.1.0", key=hub.keys.admin)
    meter = Meter(clock)
    uploads = Uploads(client, Retry(clock, Random(0)), meter, TokenBucket(rate, clock))
    began = time.monotonic()
    name = uploads.put(data, threading.Event())
    assert time.monotonic() - began >= (len(data) - rate / 4) / rate - 0.01
    assert meter.take().up_bytes == len(data)
    assert client.request_upload(UploadRequest(hash=name, size=len(data))).complete
    client.close()


def test_ctrl_c_frees_the_unit_at_once(machine: Machine, hub: Any) -> None:
    machine.executor.hold.clear()
    hub.submit_job(rounds=1, units=1)
    assert machine.begun.wait(15)
    machine.end()
    assert machine.saw(events.Released)
    assert hub.member("other").lease(wait=2) is not None  # long before the lease would have run out


def test_a_hub_that_ends_during_a_long_poll_is_waited_for(machine: Machine, hub: Any) -> None:
    until(lambda: machine.saw(events.Joined))
    hub.stop()
    until(lambda: machine.saw(events.Waiting))
    assert machine.thread.is_alive()
    machine.end()
    assert machine.events[-1] == events.Left(told=False)


def test_who_left_while_waiting_is_lent_nothing(machine: Machine, hub: Any) -> None:
    until(lambda: any(row["state"] == "idle" for row in hub.admin.get("/members").json()))
    time.sleep(0.5)  # the long poll is under way; nothing outside the hub can see it
    machine.end()
    hub.submit_job(rounds=1, units=1)
    assert hub.member("other").lease(wait=3) is not None
