"""The processes of the demo: a hub and its members on this machine, started, watched, and always ended.

A process that is ours ends with us, however we end: by the end of a ``with`` block, or (on Linux) by the kernel.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import psutil

from commonweal.core.errors import CommonwealError

START_SECONDS = 180.0
STOP_SECONDS = 15.0
RUNS = "runs"
"""The folder of evaluations that the hub shows, below the stage's own."""
LAST_LINES = 8
_PR_SET_PDEATHSIG = 1

Process = subprocess.Popen[bytes]


class DemoFailed(CommonwealError):
    """Something that the demo started ended on its own."""

    code = "demo_failed"


@dataclass(slots=True)
class Stage:
    """A hub that runs, and the members that were started. ``expected_gone`` are those that were killed on purpose."""

    folder: Path
    hub: Process
    url: str
    admin_key: str
    join_token: str
    members: dict[str, Process] = field(default_factory=dict)
    expected_gone: set[str] = field(default_factory=set)

    def start_member(self, name: str) -> None:
        state = self.folder / "members" / name
        arguments = ["join", self.url, "--name", name, "--threads", "1", "--state", str(state)]
        arguments += ["--max-load", "1", "--on-battery", "--json"]
        environment = {"COMMONWEAL_TOKEN": self.join_token}
        self.members[name] = start(arguments, self.log(name), environment)

    def kill_member(self, name: str) -> None:
        self.expected_gone.add(name)
        self.members[name].kill()
        self.members[name].wait()

    def log(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    def last_event(self, name: str) -> dict[str, Any]:
        """What the member did last, as it says itself."""
        return next(reversed(events(self.log(name))), {})

    def check(self) -> None:
        """Raise DemoFailed if something ended that should not have."""
        for name, process in {"the hub": self.hub, **self.members}.items():
            if process.poll() is not None and name not in self.expected_gone:
                raise ended(name, process, self.log("hub" if process is self.hub else name))


@contextlib.contextmanager
def opened(folder: Path) -> Iterator[Stage]:
    """A stage with a hub on it, on a free port. Everything is stopped at the end."""
    log = folder / "hub.log"
    arguments = ["hub", "--folder", str(folder / "hub"), "--port", "0", "--json"]
    arguments += ["--runs", str(folder / RUNS)]
    hub = start([*arguments, "--lease-seconds", "5", "--heartbeat-seconds", "1"], log)
    stage: Stage | None = None
    try:
        told = _announced(hub, log)
        stage = Stage(
            folder=folder,
            hub=hub,
            url=told["url"],
            admin_key=told["admin_key"],
            join_token=told["join_token"],
        )
        with _watched(stage):
            yield stage
    finally:
        with _undisturbed():
            stop([*(stage.members.values() if stage else ()), hub])
            stop_database(folder / "hub" / "postgres")


def start(arguments: Sequence[str], log: Path, environment: dict[str, str] | None = None) -> Process:
    """Start ``commonweal`` with ``arguments``; what it says goes to ``log``."""
    with log.open("ab") as out:
        return subprocess.Popen(
            [sys.executable, "-u", "-m", "commonweal", *arguments],
            stdout=out,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env={
                **os.environ,
                "OMP_NUM_THREADS": "1",
                "TOKENIZERS_PARALLELISM": "false",
                **(environment or {}),
            },
            start_new_session=True,  # ctrl-c is for the demo, which then ends them in order
            preexec_fn=_end_with_parent if sys.platform == "linux" else None,
        )


def stop(processes: Sequence[Process]) -> None:
    """Ask all of them to end, and end those that do not. The last one (the hub) hears it after the others."""
    deadline = time.monotonic() + STOP_SECONDS
    for group in (processes[:-1], processes[-1:]):
        for process in group:
            process.send_signal(signal.SIGCONT)  # one that was stopped would not hear
            process.terminate()
        for process in group:
            try:
                process.wait(max(1.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def stop_database(folder: Path) -> None:
    """End the PostgreSQL server on ``folder``, which a hub that was killed leaves behind."""
    with contextlib.suppress(OSError, ValueError, IndexError, psutil.Error):
        number = int((folder / "postmaster.pid").read_text().splitlines()[0])
        server = psutil.Process(number)
        if Path(server.cwd()) == folder.resolve():
            server.send_signal(signal.SIGINT)  # PostgreSQL's "fast shutdown"
            server.wait(STOP_SECONDS)


def ended(name: str, process: Process, log: Path) -> DemoFailed:
    """The error that says what a process's last words were."""
    lines = log.read_text(errors="replace").splitlines()[-LAST_LINES:]
    said = "\n".join(f"  {line[:200]}" for line in lines) or "  (nothing)"
    return DemoFailed(
        f"{name} ended unexpectedly (exit code {process.poll()})", hint=f"the end of {log}:\n{said}"
    )


def events(log: Path) -> list[dict[str, Any]]:
    """The JSON lines in a log; what else is in it, and a line that is being written, is left out."""
    found = []
    for line in log.read_text(errors="replace").splitlines():
        with contextlib.suppress(ValueError):
            value = json.loads(line)
            if isinstance(value, dict):
                found.append(value)
    return found


def _announced(hub: Process, log: Path) -> dict[str, str]:
    """What the hub says of itself when it starts. Raises DemoFailed."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        for told in events(log):
            if "join_token" in told:
                return told
        if hub.poll() is not None:
            raise ended("the hub", hub, log)
        time.sleep(0.05)
    raise DemoFailed(f"the hub did not start in {START_SECONDS:.0f} s", hint=f"read {log}")


@contextlib.contextmanager
def _watched(stage: Stage) -> Iterator[None]:
    """Raise DemoFailed as soon as a process ends that should not, whatever is waited for at that moment (a hub that
    has ended would be waited for by patient clients)."""

    def child_changed(number: int, frame: FrameType | None) -> None:
        stage.check()

    before = signal.signal(signal.SIGCHLD, child_changed)
    try:
        stage.check()
        yield
    finally:
        signal.signal(signal.SIGCHLD, before)


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """A second ctrl-c does not keep the first from ending what was started."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, signal.SIG_IGN) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _end_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
