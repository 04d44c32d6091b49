"""Hubs and members as real processes: started, limited to a share of a core, watched, and always ended.

A share of a core makes one machine out of a few cores' worth of small ones: each member may use its own share and
no more, whatever the others do, so that members do not gain by another's waiting and wall times mean something. It
takes the processor control group (version 1 or 2) and the right to make one; without it members share the cores.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from commonweal import __version__
from commonweal.pool import wire
from commonweal.pool.client import PoolClient
from commonweal.train.config import TrainSettings
from commonweal.train.spec import KIND

PERIOD_MICROSECONDS = 20_000
START_SECONDS = 90.0
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
COMMONWEAL = [sys.executable, "-m", "commonweal"]


class Shares:
    """Processor control groups under a folder of their own, removed at the end."""

    def __init__(self, name: str) -> None:
        self._root = next((r / name for r in _group_roots()), None)
        self._made: list[Path] = []
        with contextlib.suppress(OSError):
            if self._root is not None:
                self._root.mkdir()
                self._made.append(self._root)
                _weigh(self._root)

    @property
    def work(self) -> bool:
        """Whether shares can be given here."""
        return bool(self._made)

    def hold(self, pid: int, name: str, share: float) -> None:
        """From now on the process has ``share`` of a core and no more, if that can be had here."""
        if not self.work or self._root is None:
            return
        group = self._root / name
        group.mkdir()
        self._made.append(group)
        quota = str(round(share * PERIOD_MICROSECONDS))
        if (group / "cpu.cfs_quota_us").exists():
            (group / "cpu.cfs_period_us").write_text(str(PERIOD_MICROSECONDS))
            (group / "cpu.cfs_quota_us").write_text(quota)
        else:
            (group / "cpu.max").write_text(f"{quota} {PERIOD_MICROSECONDS}")
        (group / "cgroup.procs").write_text(str(pid))

    def close(self) -> None:
        """Remove the groups; their processes must have ended."""
        for group in reversed(self._made):
            for _ in range(50):
                with contextlib.suppress(OSError):
                    group.rmdir()
                if not group.exists():
                    break
                time.sleep(0.1)


def _weigh(group: Path) -> None:
    """On a busy machine the group as a whole counts as much as a few processes, not as one."""
    shares = group / "cpu.shares"
    if shares.exists():
        shares.write_text("8192")
    else:
        (group / "cgroup.subtree_control").write_text("+cpu")
        (group / "cpu.weight").write_text("800")


def _group_roots() -> list[Path]:
    """Where control groups for the processor may be made: version 1, then version 2."""
    first, second = Path("/sys/fs/cgroup/cpu"), Path("/sys/fs/cgroup")
    roots = [first] if (first / "cpu.cfs_quota_us").exists() or (first / "cgroup.procs").exists() else []
    subtree = second / "cgroup.subtree_control"
    if subtree.exists() and "cpu" in subtree.read_text().split():
        roots.append(second)
    return roots


@dataclass(slots=True)
class Started:
    """A process, where it writes, and how it is ended."""

    process: subprocess.Popen[bytes]
    log: Path

    def says(self, pattern: str, seconds: float = START_SECONDS) -> str:
        """Wait for a line in its log that ``pattern`` finds, and return the first group."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            found = re.search(pattern, self.log.read_text(errors="replace"))
            if found:
                return found.group(1)
            if self.process.poll() is not None:
                break
            time.sleep(0.05)
        raise RuntimeError(f"{self.log.name} did not say '{pattern}':\n{self.log.read_text()[-2000:]}")

    def cpu_seconds(self) -> float:
        """Processor time so far of the process and of all it started."""
        return tree_cpu_seconds(self.process.pid)

    def memory_bytes(self) -> int:
        return int(psutil.Process(self.process.pid).memory_info().rss)

    def stop(self) -> None:
        """End it and all it started: first asked, then made to."""
        family = _family(self.process.pid)
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(15)
        for one in family:
            with contextlib.suppress(psutil.Error):
                one.kill()
        self.process.wait(5)


def start(command: Sequence[str], log: Path, *, namespace: str = "") -> Started:
    """Start a process, in a network namespace if named."""
    inner = ["ip", "netns", "exec", namespace, *command] if namespace else list(command)
    environment = {**os.environ, **ONE_THREAD, "PYTHONUNBUFFERED": "1", "COLUMNS": "200"}
    with log.open("wb") as output:
        process = subprocess.Popen(
            inner, stdout=output, stderr=subprocess.STDOUT, env=environment, start_new_session=True
        )
    return Started(process, log)


def tree_cpu_seconds(pid: int) -> float:
    total = 0.0
    for one in _family(pid):
        with contextlib.suppress(psutil.Error):
            times = one.cpu_times()
            total += times.user + times.system + times.children_user + times.children_system
    return total


def _family(pid: int) -> list[psutil.Process]:
    try:
        parent = psutil.Process(pid)
        return [parent, *parent.children(recursive=True)]
    except psutil.Error:
        return []


@dataclass(slots=True)
class HubProcess:
    """A hub that is up."""

    started: Started
    folder: Path
    url: str
    admin: str
    join: str

    def client(self) -> PoolClient:
        return PoolClient(self.url, self.admin, version=__version__)

    def postgres_pid(self) -> int | None:
        """The embedded database's first process; it is not a child of the hub."""
        try:
            return int((self.folder / "postgres" / "postmaster.pid").read_text().split()[0])
        except (OSError, ValueError, IndexError):
            return None

    def cpu_seconds(self) -> dict[str, float]:
        """Processor seconds so far, of the hub and of its database."""
        database = self.postgres_pid()
        return {
            "hub": self.started.cpu_seconds(),
            "database": tree_cpu_seconds(database) if database else 0.0,
        }

    def memory_bytes(self) -> dict[str, int]:
        """Resident memory of the hub; of its database what is not shared between its processes, and what is."""
        database = self.postgres_pid()
        own, shared = 0, 0
        for one in _family(database) if database else []:
            with contextlib.suppress(psutil.Error):
                full = one.memory_full_info()
                own, shared = own + full.uss, max(shared, full.rss - full.uss)
        return {"hub": self.started.memory_bytes(), "database": own + shared}


@dataclass(slots=True)
class Processes:
    """All that a script started. Use it as a context manager: everything is ended, whatever happens."""

    folder: Path
    shares: Shares
    started: list[Started] = field(default_factory=list)
    hubs: list[HubProcess] = field(default_factory=list)

    def run(self, command: Sequence[str], name: str, *, namespace: str = "") -> Started:
        self.started.append(start(command, self.folder / f"{name}.log", namespace=namespace))
        return self.started[-1]

    def hub(self, name: str = "hub", *, host: str = "127.0.0.1", namespace: str = "") -> HubProcess:
        """A hub as an operator starts it."""
        folder = self.folder / name
        command = [*COMMONWEAL, "hub", "--folder", str(folder), "--host", host, "--port", "0"]
        return self.opened(self.run(command, name, namespace=namespace), folder)

    def opened(self, started: Started, folder: Path) -> HubProcess:
        """A hub that was started, once it is up."""
        url = started.says(r" on (http://\S+)")
        admin, join = started.says(r"(cwadmin-\S+)"), started.says(r"(cwjoin-\S+)")
        self.hubs.append(HubProcess(started, folder, url, admin, join))
        return self.hubs[-1]

    def member(self, hub: HubProcess, name: str, *, namespace: str = "") -> Started:
        """A member as its owner starts it, on one thread."""
        command = [*COMMONWEAL, "join", hub.url, "--token", hub.join, "--name", name, "--threads", "1"]
        command += ["--state", str(self.folder / name), "--max-load", "1", "--json"]
        return self.run(command, name, namespace=namespace)

    def close(self) -> None:
        for one in reversed(self.started):
            with contextlib.suppress(Exception):
                one.stop()
        for hub in self.hubs:
            left = hub.postgres_pid()  # a hub that had to be killed leaves its database running
            for process in _family(left) if left else []:
                with contextlib.suppress(psutil.Error):
                    process.kill()
        self.shares.close()


@contextlib.contextmanager
def processes(folder: Path, name: str) -> Iterator[Processes]:
    """Everything that is started inside ends with it; ctrl-c and SIGTERM included."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    folder.mkdir(parents=True, exist_ok=True)
    running = Processes(folder, Shares(name))
    try:
        yield running
    finally:
        running.close()


def present(client: PoolClient, count: int, seconds: float = START_SECONDS) -> list[wire.MemberRow]:
    """The members, once ``count`` of them wait for work."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        found = [member for member in client.members() if member.state == "idle"]
        if len(found) >= count:
            return found
        time.sleep(0.2)
    raise RuntimeError(f"{count} members did not come within {seconds:.0f} s")


def submit(client: PoolClient, settings: TrainSettings, work: Path) -> str:
    """Submit a job as ``commonweal train`` does; its id."""
    from commonweal.train.prepare import prepare_job  # takes torch, which a hub's process shall not load

    prepared = prepare_job(settings, work, client.put)
    budget = 10_000 * 1_000_000
    view = client.submit_job(
        kind=KIND, name=settings.name, spec=prepared.spec, blobs=list(prepared.blobs), budget=budget
    )
    return view.id


def finished(client: PoolClient, job: str, seconds: float) -> tuple[wire.JobView, list[wire.RoundView]]:
    """The job and its rounds, once it is done."""
    until = time.monotonic() + seconds
    while (view := client.job(job)).status == "running":
        if time.monotonic() > until:
            client.cancel(job)
            raise RuntimeError(f"job {job} took more than {seconds:.0f} s")
        time.sleep(0.5)
    if view.status != "done":
        raise RuntimeError(f"job {job} {view.status}: {view.message}")
    return view, list(client.rounds(job))


def events(started: Started, kind: str) -> list[dict[str, Any]]:
    """What a member said with ``--json``: its events of one kind, in order."""
    found = []
    for line in started.log.read_text(errors="replace").splitlines():
        with contextlib.suppress(ValueError):
            event = json.loads(line)
            if isinstance(event, dict) and event.get("event") == kind:
                found.append(event)
    return found
