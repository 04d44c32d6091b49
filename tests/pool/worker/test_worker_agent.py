"""An agent and a fake hub: the good day, and every bad one that a member's machine has."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from typing import Any

import httpx
import psutil
import pytest
from worker_fake_hub import KEY, TOKEN, FakeHub, error, lease, served, unreachable

from commonweal.core.clock import Clock, ManualClock, SystemClock
from commonweal.core.errors import CommonwealError, NotAuthorized, Unavailable, UserError
from commonweal.core.hashing import BlobHash, content_hash
from commonweal.core.work import Outcome, Task, WorkIO
from commonweal.pool.worker import events
from commonweal.pool.worker.agent import Agent
from commonweal.pool.worker.client import HubClient
from commonweal.pool.worker.limits import Conditions
from commonweal.pool.worker.options import AgentOptions, Tempo
from commonweal.pool.worker.store import HeldLease, Store
from commonweal.pool.worker.surroundings import Surroundings

TEMPO = Tempo(tick=0.005, grace=0.5, stuck=0.1, rest=1.0, longest_rest=60.0)
GOOD = Conditions(minute=0, on_battery=False, others_load=0.0)
BATTERY = Conditions(minute=0, on_battery=True, others_load=0.0)
PATIENT = 20.0
"""Seconds after which something that should have happened has not."""


@dataclass
class Doubles:
    """Doubles a blob; what else it does is up to the test."""

    before: Callable[[Task, WorkIO], None] = lambda task, io: None
    threads: set[int] = field(default_factory=set)
    runs: int = 0
    closed: int = 0

    def run(self, task: Task, io: WorkIO) -> Outcome:
        self.runs += 1
        self.threads.add(threading.get_ident())
        self.before(task, io)
        data = io.get(BlobHash(task.payload["blob"])) if "blob" in task.payload else b"x"
        io.progress(task.amount)
        return Outcome(report={"loss": 1.5}, blobs={"out": data * 2}, amount_done=task.amount, seconds=2.0)

    def close(self) -> None:
        self.threads.add(threading.get_ident())
        self.closed += 1


@dataclass
class Weather:
    """Surroundings that change from look to look; the last stays."""

    looks: list[Conditions] = field(default_factory=list)

    def conditions(self) -> Conditions:
        return self.looks.pop(0) if self.looks else GOOD


class Member:
    """A machine with its folder; ``run`` is one life of its process."""

    def __init__(self, folder: Path, hub: FakeHub) -> None:
        self.folder, self.hub = folder, hub
        self.executor, self.weather, self.tempo = Doubles(), Weather(), TEMPO
        self.clock: Clock = ManualClock()
        self.surroundings: Surroundings | None = self.weather
        self.made = 0
        self.events: list[events.Event] = []
        self.stop = threading.Event()
        self.transport: httpx.BaseTransport | None = httpx.MockTransport(hub)
        self.options = AgentOptions(device="cpu", max_units=1)
        self.url = "http://hub.test"

    def _make(self) -> Doubles:
        self.made += 1
        return self.executor

    def run(self, **options: Any) -> None:
        client = HubClient(self.url, version="0.1.0", transport=self.transport)
        chosen = AgentOptions(**{"device": "cpu", "max_units": 1} | options)
        with Store(self.folder, chosen.cache_bytes) as self.store:
            agent = Agent(
                client,
                {"double": self._make},
                chosen,
                self.store,
                self.clock,
                self.events.append,
                surroundings=self.surroundings,
                random=Random(0),
                tempo=self.tempo,
            )
            try:
                agent.join(token=TOKEN, name="pc", platform={"cores": 2}, stop=self.stop)
                agent.run(self.stop)
            finally:
                client.close()

    def told(self, kind: type[events.Event]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]

    def names(self) -> list[str]:
        return [type(event).__name__ for event in self.events]


@pytest.fixture
def hub() -> FakeHub:
    return FakeHub()


@pytest.fixture
def member(tmp_path: Path, hub: FakeHub) -> Iterator[Member]:
    member = Member(tmp_path, hub)
    hub.when_idle = member.stop.set  # a test that runs out of work ends
    yield member
    member.stop.set()


def waits_for_stop(task: Task, io: WorkIO) -> None:
    assert io.stop.wait(PATIENT)


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENT
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def raises(error: BaseException) -> Callable[[Task, WorkIO], None]:
    def before(task: Task, io: WorkIO) -> None:
        raise error

    return before


def test_a_good_day(member: Member, hub: FakeHub) -> None:
    blob = hub.add(b"ab")
    hub.work.extend(lease(n, blob=blob) for n in (1, 2))
    member.run(max_units=2)
    assert member.names() == [
        "Joined", "Ready",
        "Leased", "Downloading", "Progressed", "Uploading", "Submitted",
        "Leased", "Progressed", "Uploading", "Submitted",
        "Left",
    ]  # fmt: skip
    submit = hub.submits["unit_1"]
    assert (submit.fence, submit.amount_done, submit.seconds, submit.report) == (1, 10, 2.0, {"loss": 1.5})
    assert hub.blobs[submit.blobs["out"]] == b"abab"
    assert hub.registrations[0].platform == {"cores": 2}
    assert (hub.left, hub.released) == (1, [])
    assert (member.made, member.executor.runs, member.executor.closed) == (1, 2, 1)
    assert len(member.executor.threads) == 1
    assert threading.get_ident() not in member.executor.threads
    reported = [hub.submits[u].transfers for u in ("unit_1", "unit_2")] + [
        b.transfers for b in hub.heartbeats
    ]
    assert sum(t.down_bytes for t in reported) == 2  # fetched once, said once
    assert sum(t.up_bytes for t in reported) == 4
    assert member.store.lease() is None


def test_the_lease_asks_for_what_the_member_has(member: Member, hub: FakeHub) -> None:
    member.run(roles=("train", "score"), memory=1000)
    body = hub.asked("POST lease")[0].content.decode()
    for part in ('"roles":["train","score"]', '"kinds":["double"]', '"free_memory":1000', '"wait":25'):
        assert part in body


def test_a_new_process_is_the_same_member(member: Member, hub: FakeHub) -> None:
    hub.work.append(lease(1))
    member.run()
    hub.work.append(lease(2))
    member.run()
    assert len(hub.registrations) == 1
    assert [joined.new for joined in member.told(events.Joined)] == [True, False]
    assert set(hub.submits) == {"unit_1", "unit_2"}


def test_what_a_killed_process_held_is_given_back(member: Member, hub: FakeHub) -> None:
    with Store(member.folder, 0) as store:
        store.save_lease(HeldLease(unit="unit_7", fence=7))
    member.run()
    ((unit, body),) = hub.released
    assert (unit, body.fence, body.failure) == ("unit_7", 7, "")
    member.stop.clear()
    member.run()
    assert len(hub.released) == 1


def test_heartbeats_keep_the_lease_and_tell_progress(member: Member, hub: FakeHub) -> None:
    def before(task: Task, io: WorkIO) -> None:
        io.progress(7)
        until(lambda: any(b.leases and b.leases[0].amount_done == 7 for b in hub.heartbeats))

    member.executor.before = before
    hub.work.append(lease(1))
    member.run()
    (progress,) = next(b for b in hub.heartbeats if b.leases and b.leases[0].amount_done == 7).leases
    assert (progress.unit, progress.fence) == ("unit_1", 1)


def test_a_lost_lease_stops_the_work_and_the_next_unit_goes_well(member: Member, hub: FakeHub) -> None:
    def before(task: Task, io: WorkIO) -> None:
        if task.unit_key == "r0/1":
            hub.lost.add("unit_1")
            waits_for_stop(task, io)

    member.executor.before = before
    hub.work.extend([lease(1), lease(2)])
    member.run(max_units=2)
    assert [lost.unit for lost in member.told(events.Lost)] == ["unit_1"]
    assert set(hub.submits) == {"unit_2"}
    assert hub.released == []  # there was nothing left to give back
    assert member.made == 1  # and its executor is as good as before


def test_a_stale_submit_changes_nothing_and_is_no_failure(member: Member, hub: FakeHub) -> None:
    hub.work.extend([lease(1), lease(2)])
    hub.fail("POST units", lambda r: error(409, "stale_lease", "somebody else has it"))
    member.run(max_units=2)
    assert [lost.reason for lost in member.told(events.Lost)] == ["somebody else has it"]
    assert set(hub.submits) == {"unit_2"}
    assert member.told(events.Paused) == []


def test_a_submit_whose_answer_was_lost_is_repeated(member: Member, hub: FakeHub) -> None:
    def lost_answer(request: httpx.Request) -> httpx.Response:
        hub._post_units(request)
        raise httpx.ReadError("connection reset")

    hub.work.append(lease(1))
    hub.fail("POST units", lost_answer)
    member.run()
    assert [s.duplicate for s in member.told(events.Submitted)] == [True]


def test_the_same_lease_is_asked_for_until_an_answer_comes(member: Member, hub: FakeHub) -> None:
    hub.work.append(lease(1))
    hub.fail("POST lease", *[unreachable] * 40, lambda r: error(503, "unavailable"))
    member.run()
    asked = hub.asked("POST lease")
    assert len(asked) == 42
    assert len({r.content for r in asked}) == 1
    assert len(member.told(events.Waiting)) == 41
    assert max(w.seconds for w in member.told(events.Waiting)) <= 30
    assert "unit_1" in hub.submits


def test_a_hub_that_is_gone_in_mid_unit(member: Member, hub: FakeHub) -> None:
    """It restarts while the member computes, uploads and submits: the unit is not lost."""

    def before(task: Task, io: WorkIO) -> None:
        hub.fail("POST heartbeat", *[unreachable] * 3)
        hub.fail("POST uploads", *[unreachable] * 3)
        hub.fail("PATCH uploads", *[lambda r: error(502, "bad_gateway")] * 3)
        hub.fail("POST units", *[unreachable] * 50)
        until(lambda: not hub.faults["POST heartbeat"])

    member.executor.before = before
    hub.work.append(lease(1, blob=hub.add(b"ab")))
    member.run()
    assert "unit_1" in hub.submits
    assert hub.released == []


def test_a_hub_that_is_away_at_the_start_is_waited_for_by_a_member(member: Member, hub: FakeHub) -> None:
    member.run(max_units=0)
    hub.fail("GET hello", *[unreachable] * 30)
    hub.work.append(lease(1))
    member.run()
    assert "unit_1" in hub.submits


def test_a_hub_that_is_not_there_is_not_joined(member: Member, hub: FakeHub) -> None:
    hub.fail("GET hello", *[unreachable] * 30)
    with pytest.raises(Unavailable, match="cannot be reached"):
        member.run()


def test_a_hub_that_answers_at_once_is_not_flooded(member: Member, hub: FakeHub) -> None:
    hub.when_idle = lambda: member.stop.set() if len(hub.asked("POST lease")) >= 20 else None
    member.run()
    assert member.clock.now() >= 19 * 0.5
    ids = {r.content for r in hub.asked("POST lease")}
    assert len(ids) == 20  # each is a new question


@pytest.mark.parametrize(
    ("raised", "failure", "message"),
    [
        (ValueError("shape mismatch"), "error", "ValueError: shape mismatch"),
        (MemoryError(), "out_of_memory", "MemoryError"),
        (
            RuntimeError("DefaultCPUAllocator: can't allocate memory"),
            "out_of_memory",
            "RuntimeError: Default",
        ),
        (type("OutOfMemoryError", (RuntimeError,), {})("CUDA"), "out_of_memory", "OutOfMemoryError: CUDA"),
        (SystemExit(3), "error", "SystemExit: 3"),
        (TimeoutError(), "error", "TimeoutError"),
        (ValueError("x" * 9999), "error", "ValueError: xxx"),
    ],
)
def test_an_executor_that_fails(
    member: Member, hub: FakeHub, raised: BaseException, failure: str, message: str
) -> None:
    def before(task: Task, io: WorkIO) -> None:
        if task.unit_key == "r0/1":
            raise raised

    member.executor.before = before
    hub.work.extend([lease(1), lease(2)])
    member.run(max_units=2)
    ((unit, body),) = hub.released
    assert (unit, body.failure) == ("unit_1", failure)
    assert body.message.startswith(message)
    assert "unit_2" in hub.submits
    assert (member.made, member.executor.closed) == (2, 2)  # a fresh one after a failure


def test_a_machine_that_fails_again_and_again_rests_longer_and_longer(member: Member, hub: FakeHub) -> None:
    member.executor.before = raises(ValueError("broken"))
    hub.work.extend(lease(n) for n in range(1, 12))
    member.run(max_units=11)
    assert len(hub.released) == 11
    assert member.clock.now() == pytest.approx(1 + 2 + 4 + 8 + 16 + 32 + 4 * 60, abs=3)
    assert {p.reason for p in member.told(events.Paused)} == {"failures"}


def test_an_executor_that_cannot_be_made(member: Member, hub: FakeHub) -> None:
    def broken() -> Doubles:
        raise ImportError("libcuda.so is missing")

    member._make = broken  # type: ignore[method-assign]
    hub.work.append(lease(1))
    member.run()
    assert [body.message for _, body in hub.released] == ["ImportError: libcuda.so is missing"]


def test_work_it_was_not_installed_with_is_refused(member: Member, hub: FakeHub) -> None:
    hub.work.append(lease(1, kind="os.system"))
    member.run()
    ((_, body),) = hub.released
    assert body.failure == "unsupported"
    assert member.made == 0


@pytest.mark.parametrize(
    "bad", [{str(i): i for i in range(65)}, {"x": object()}, {"x": b"\xff"}, {"loss": float("nan")}]
)
def test_a_report_that_cannot_be_sent(member: Member, hub: FakeHub, bad: dict[str, Any]) -> None:
    member.executor.run = lambda task, io: Outcome(report=bad, amount_done=1, seconds=1)  # type: ignore[method-assign]
    hub.work.append(lease(1))
    member.run()
    assert [body.failure for _, body in hub.released] == ["error"]
    assert hub.submits == {}
    assert member.executor.closed == 1


def test_a_missing_or_corrupt_blob_is_told(member: Member, hub: FakeHub) -> None:
    hub.blobs[content_hash(b"right")] = b"wrong"
    hub.work.extend([lease(1, blob=content_hash(b"right")), lease(2, blob=content_hash(b"nowhere"))])
    member.run(max_units=2)
    assert [body.failure for _, body in hub.released] == ["error", "error"]
    assert "another hash" in hub.released[0][1].message


def test_a_store_that_is_away_is_nobodys_fault(member: Member, hub: FakeHub) -> None:
    blob = hub.add(b"ab")
    hub.fail("GET blobs", *[unreachable] * 30)
    hub.work.extend([lease(1, blob=blob), lease(2, blob=blob)])
    member.run(max_units=2)
    assert [body.failure for _, body in hub.released] == [""]
    assert "unit_2" in hub.submits
    assert member.made == 1


def test_a_full_disk(member: Member, hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    blobs = [hub.add(b"a" * 100), hub.add(b"b" * 100)]
    full = [False]
    real = open

    def disk(path: Path, mode: str) -> Any:
        if full[0] and list(member.folder.glob("cache/??/*")):
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(path, mode)

    def before(task: Task, io: WorkIO) -> None:
        full[0] = task.unit_key == "r0/2"

    monkeypatch.setattr("commonweal.pool.worker.cache.open", disk, raising=False)
    member.executor.before = before
    hub.work.extend([lease(1, blob=blobs[0]), lease(2, blob=blobs[1]), lease(3, blob=blobs[1])])
    member.run(max_units=3)
    assert [(unit, body.failure) for unit, body in hub.released] == [("unit_2", "disk_full")]
    assert [p.reason for p in member.told(events.Paused)] == ["disk"]
    assert set(hub.submits) == {"unit_1", "unit_3"}
    assert not (member.folder / "cache" / blobs[0][:2] / blobs[0]).exists()  # pruned to make room


def test_stopping_gives_the_lease_back(member: Member, hub: FakeHub) -> None:
    def before(task: Task, io: WorkIO) -> None:
        member.stop.set()
        waits_for_stop(task, io)

    member.executor.before = before
    hub.work.append(lease(1))
    member.run()
    ((unit, body),) = hub.released
    assert (unit, body.failure) == ("unit_1", "")
    assert hub.submits == {}
    assert (hub.left, member.executor.closed) == (1, 1)
    assert member.events[-1] == events.Left(told=True)


def test_stopping_does_not_wait_for_ever_for_an_executor(member: Member, hub: FakeHub) -> None:
    release = threading.Event()

    def hangs(task: Task, io: WorkIO) -> None:
        member.stop.set()
        release.wait(30)

    member.executor.before = hangs
    hub.work.append(lease(1))
    begun = time.monotonic()
    member.run()
    release.set()
    assert time.monotonic() - begun < PATIENT
    assert [unit for unit, _ in hub.released] == ["unit_1"]


def test_an_executor_that_hangs_on_after_its_lease_was_lost(member: Member, hub: FakeHub) -> None:
    release = threading.Event()

    def hangs(task: Task, io: WorkIO) -> None:
        hub.lost.add("unit_1")
        release.wait(30)

    member.executor.before = hangs
    hub.work.extend([lease(1), lease(2)])
    with pytest.raises(CommonwealError, match="does not stop"):
        member.run(max_units=2)
    release.set()
    assert member.told(events.Lost)


def test_stopping_during_a_long_poll_is_quick(member: Member, hub: FakeHub) -> None:
    answer = threading.Event()

    def handler(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/lease"):
            member.stop.set()
            answer.wait(30)
            return httpx.Response(204)
        return hub(request)

    member.transport = httpx.MockTransport(handler)
    begun = time.monotonic()
    member.run()
    answer.set()
    assert time.monotonic() - begun < PATIENT
    assert hub.left == 1


def test_stopping_while_the_hub_is_away(member: Member, hub: FakeHub) -> None:
    def gone(request: httpx.Request) -> httpx.Response:
        if len(hub.asked("POST lease")) > 5:
            member.stop.set()
        raise httpx.ConnectError("refused")

    hub.fail("POST lease", *[gone] * 100)
    hub.fail("POST leave", *[unreachable] * 3)
    member.run()
    assert member.events[-1] == events.Left(told=False)


def test_a_pulled_plug_hands_the_unit_back_at_once(member: Member, hub: FakeHub) -> None:
    def before(task: Task, io: WorkIO) -> None:
        if task.unit_key == "r0/1":
            member.weather.looks = [BATTERY] * 4
            waits_for_stop(task, io)

    member.executor.before = before
    hub.work.extend([lease(1), lease(2)])
    member.run(max_units=2)
    assert [(unit, body.message) for unit, body in hub.released] == [
        ("unit_1", "the machine runs on its battery")
    ]
    assert [p.reason for p in member.told(events.Paused)] == ["battery"]
    assert "unit_2" in hub.submits


FULL = Conditions(minute=0, on_battery=False, others_load=0.0, own_memory=101)


def test_too_much_memory_hands_the_unit_back_and_says_why(member: Member, hub: FakeHub) -> None:
    def before(task: Task, io: WorkIO) -> None:
        if task.unit_key == "r0/1":
            member.weather.looks = [FULL] * 4
            waits_for_stop(task, io)
        assert member.executor.closed == (task.unit_key == "r0/2"), (
            "what it kept was let go before the next unit"
        )

    member.executor.before, member.tempo = before, replace(TEMPO, stuck=PATIENT)
    hub.work.extend([lease(1), lease(2)])
    member.run(max_units=2, memory=100)
    ((unit, body),) = hub.released
    assert (unit, body.failure) == ("unit_1", "out_of_memory"), "so the hub will not lend one so large again"
    assert "of memory" in body.message
    assert member.told(events.Paused)[0].reason == "memory"
    assert "unit_2" in hub.submits
    assert member.made == 2


def test_memory_that_stays_full_ends_the_process(member: Member, hub: FakeHub) -> None:
    """Something holds it that nobody knows of: a new process does not have it."""

    def before(task: Task, io: WorkIO) -> None:
        member.weather.looks = [FULL] * 10_000
        waits_for_stop(task, io)

    member.executor.before = before
    hub.work.extend([lease(1), lease(2)])
    with pytest.raises(CommonwealError, match="after the work") as caught:
        member.run(max_units=2, memory=100)
    assert caught.value.exit_code == 1, "a service starts it again"
    assert [unit for unit, _ in hub.released] == ["unit_1"]
    assert hub.left == 1


def test_less_memory_than_the_program_itself_needs(member: Member, hub: FakeHub) -> None:
    member.weather.looks = [FULL]
    hub.work.append(lease(1))
    with pytest.raises(UserError, match="--memory") as caught:
        member.run(memory=100)
    assert caught.value.exit_code == 2, "a service does not start it again"
    assert hub.submits == {}


def test_a_real_machine_notices_a_real_hog(member: Member, hub: FakeHub) -> None:
    def before(task: Task, io: WorkIO) -> None:
        if task.unit_key == "r0/1":
            hog = b"x" * 200_000_000
            waits_for_stop(task, io)
            del hog

    member.executor.before = before
    member.clock, member.surroundings = SystemClock(), None
    member.tempo = Tempo(tick=0.01, rest=0.05, stuck=PATIENT)
    hub.work.extend([lease(1), lease(2)])
    allowed = psutil.Process().memory_info().rss + 100_000_000
    member.run(max_units=2, memory=allowed, max_load=None, on_battery=True)
    assert [(unit, body.failure) for unit, body in hub.released] == [("unit_1", "out_of_memory")]
    assert "unit_2" in hub.submits


def test_limits_pause_before_work(member: Member, hub: FakeHub) -> None:
    busy = Conditions(minute=0, on_battery=False, others_load=0.9)
    cooling = Conditions(minute=0, on_battery=False, others_load=0.7)
    member.weather.looks = [BATTERY, busy, cooling]
    hub.work.append(lease(1))
    member.run()
    assert [p.reason for p in member.told(events.Paused)] == ["battery", "load"]
    assert member.names().index("Resumed") < member.names().index("Leased")
    assert "unit_1" in hub.submits


def test_a_pausing_member_says_so(member: Member, hub: FakeHub) -> None:
    class Slow(ManualClock):
        def sleep(self, seconds: float) -> None:
            super().sleep(seconds)
            until(lambda: any(b.state == "paused" for b in hub.heartbeats))

    member.clock = Slow()
    member.weather.looks = [BATTERY]
    member.run()
    assert any(b.state == "paused" for b in hub.heartbeats)


@pytest.mark.parametrize("where", ["POST heartbeat", "POST lease", "POST units"])
def test_a_member_that_is_banned_ends(member: Member, hub: FakeHub, where: str) -> None:
    if where == "POST heartbeat":
        member.executor.before = waits_for_stop
    hub.work.append(lease(1))
    hub.fail(where, *[lambda r: error(401, "not_authorized", "banned")] * 5)
    with pytest.raises(NotAuthorized, match=r"banned[\s\S]*identity\.json"):
        member.run(max_units=None)
    assert hub.submits == {}


def test_a_hub_that_has_moved_on_ends_an_old_client(member: Member, hub: FakeHub) -> None:
    hub.fail("POST lease", lambda r: error(426, "client_too_old", "0.1.0 is too old"))
    with pytest.raises(UserError, match="upgrade"):
        member.run()
    hub.oldest = "9"
    with pytest.raises(UserError, match="upgrade"):
        member.run()


def test_wrong_token_and_wrong_names(member: Member, hub: FakeHub, tmp_path: Path) -> None:
    client = HubClient("http://hub.test", version="0.1.0", transport=member.transport)
    with Store(tmp_path, 0) as store:
        agent = Agent(client, {}, AgentOptions(device="cpu"), store, ManualClock(), member.events.append)
        stop = threading.Event()
        with pytest.raises(NotAuthorized):
            agent.join(token="wrong", name="pc", platform={}, stop=stop)
        with pytest.raises(UserError, match="--name"):
            agent.join(token=TOKEN, name="two\nlines", platform={}, stop=stop)
        with pytest.raises(UserError, match="not a member"):
            agent.run(stop)
        assert store.identity(client.url) is None
    client.close()


def test_the_key_is_nowhere_but_in_the_identity_and_the_header(
    member: Member, hub: FakeHub, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG", logger="commonweal")
    member.executor.before = raises(ValueError("x"))
    hub.work.append(lease(1))
    member.run()
    assert caplog.records
    assert KEY not in caplog.text
    assert KEY not in str(member.events)


PROCESS = """
import sys, threading
from pathlib import Path
from commonweal.core.clock import SystemClock
from commonweal.core.work import Outcome
from commonweal.pool.worker.agent import Agent
from commonweal.pool.worker.client import HubClient
from commonweal.pool.worker.options import AgentOptions
from commonweal.pool.worker.signals import stop_on_signals
from commonweal.pool.worker.store import Store

class Waits:
    def run(self, task, io):
        io.stop.wait(30)
        return Outcome(report={}, amount_done=0, seconds=1)
    def close(self): pass

url, folder, token = sys.argv[1:]
stop = threading.Event()
options = AgentOptions(device="cpu", max_load=None, on_battery=True)
with Store(Path(folder), 10**6) as store, stop_on_signals(stop):
    client = HubClient(url, version="0.1.0")
    agent = Agent(client, {"double": Waits}, options, store, SystemClock(), lambda event: None)
    agent.join(token=token, name="pc", platform={}, stop=stop)
    agent.run(stop)
"""


def test_a_real_process_is_killed_started_again_and_stopped(tmp_path: Path, hub: FakeHub) -> None:
    hub.work.append(lease(1))
    with served(hub) as url:

        def start() -> subprocess.Popen[bytes]:
            return subprocess.Popen([sys.executable, "-c", PROCESS, url, str(tmp_path), TOKEN])

        def working(unit: str) -> Callable[[], bool]:
            return lambda: any(p.unit == unit for b in list(hub.heartbeats) for p in b.leases)

        first = start()
        until(working("unit_1"))
        os.kill(first.pid, signal.SIGKILL)
        first.wait(PATIENT)
        hub.work.append(lease(2))
        second = start()
        until(working("unit_2"))
        assert [unit for unit, _ in hub.released] == ["unit_1"]
        os.kill(second.pid, signal.SIGTERM)
        assert second.wait(PATIENT) == 0
    assert [unit for unit, _ in hub.released] == ["unit_1", "unit_2"]
    assert (len(hub.registrations), hub.left) == (1, 1)
