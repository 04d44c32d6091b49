"""Runs one command to its end, whatever it does: it is stopped at a limit of time, memory or output.

It knows processes and pipes. It knows no jail: the command line that it is given makes one, and the limits that the
kernel enforces inside (address space, processes, size of a file, processor time) stand on that command line.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import IO, Literal

Status = Literal["ok", "failed", "timeout", "memory", "processes", "output"]

_CHUNK = 65536
_FIRST_LOOK = 0.25
_LOOK_EVERY = 0.1
_JAIL_PROCESSES = 3
_GRACE = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a program may use. ``seconds`` of wall time, and of processor time for each of its processes; ``memory``
    in bytes, of address space for each process and resident for all together; ``processes`` at once; ``file_size``
    and ``folder`` in bytes: one file, and all that it writes; ``output`` in bytes: standard output and error
    together."""

    seconds: float = 10.0
    memory: int = 1 << 30
    processes: int = 32
    file_size: int = 16 << 20
    folder: int = 64 << 20
    output: int = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """How a program ended. ``failed``: it ended by itself, with a code other than 0 (or by a signal: a negative
    code). The others name the limit that stopped it; what it wrote until then is kept."""

    status: Status
    stdout: bytes = b""
    stderr: bytes = b""
    code: int | None = None
    seconds: float = 0.0


def run_limited(
    command: Sequence[str],
    stdin: IO[bytes],
    limits: Limits,
    *,
    uid: int | None = None,
    keep: Sequence[int] = (),
) -> Ran:
    """Run ``command`` with an empty environment, under another user where ``uid`` is given (and we are root). ``keep``
    are files that stay open for it."""
    started = time.monotonic()
    who = {} if uid is None else {"user": uid, "group": uid, "extra_groups": []}
    process = subprocess.Popen(
        list(command),
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={},
        start_new_session=True,
        pass_fds=keep,
        **who,  # type: ignore[call-overload]
    )
    try:
        stopped, stdout, stderr = _follow(process, limits, started)
    finally:
        _end(process)
    seconds = time.monotonic() - started
    status = stopped or _own_end(process.returncode, stderr, limits, seconds)
    return Ran(status=status, stdout=stdout, stderr=stderr, code=process.returncode, seconds=seconds)


def _follow(
    process: subprocess.Popen[bytes], limits: Limits, started: float
) -> tuple[Status | None, bytes, bytes]:
    """Read both pipes until they close or a limit is met: which limit, None for none, and what was read."""
    read: dict[str, bytearray] = {"stdout": bytearray(), "stderr": bytearray()}
    deadline, look = started + limits.seconds, started + _FIRST_LOOK
    with selectors.DefaultSelector() as selector:
        for name in read:
            selector.register(getattr(process, name), selectors.EVENT_READ, name)
        stopped: Status | None = None
        while stopped is None and selector.get_map():
            now = time.monotonic()
            if now >= deadline:
                stopped = "timeout"
            elif now >= look:
                look = now + _LOOK_EVERY
                stopped = _too_much(process.pid, limits)
            if stopped is None:
                _drain(selector, read, min(deadline, look) - now)
                if sum(map(len, read.values())) > limits.output:
                    stopped = "output"
    stdout = bytes(read["stdout"][: limits.output])
    return stopped, stdout, bytes(read["stderr"][: limits.output - len(stdout)])


def _drain(selector: selectors.BaseSelector, read: dict[str, bytearray], timeout: float) -> None:
    for key, _ in selector.select(max(timeout, 0.0)):
        data = os.read(key.fd, _CHUNK)
        if data:
            read[key.data] += data
        else:
            selector.unregister(key.fileobj)


def _too_much(pid: int, limits: Limits) -> Status | None:
    """Whether all below a process use more memory together, or are more, than they may; those that end meanwhile
    count nothing. (The kernel's own limits hold for each process, and it does not count root's.)"""
    import psutil

    total = count = 0
    try:
        for child in psutil.Process(pid).children(recursive=True):
            try:
                total += child.memory_info().rss
                count += 1
            except psutil.Error:
                continue
    except psutil.Error:
        pass
    if total > limits.memory:
        return "memory"
    return "processes" if count > limits.processes + _JAIL_PROCESSES else None


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill the jail's outer process: the kernel then kills all in its process namespace. They have ended when nobody
    holds the pipes any more."""
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    pipes = [pipe for pipe in (process.stdout, process.stderr) if pipe is not None]
    deadline = time.monotonic() + _GRACE
    with selectors.DefaultSelector() as selector:
        for pipe in pipes:
            selector.register(pipe, selectors.EVENT_READ)
        while selector.get_map() and (left := deadline - time.monotonic()) > 0:
            for key, _ in selector.select(left):
                if not os.read(key.fd, _CHUNK):
                    selector.unregister(key.fileobj)
    for pipe in pipes:
        pipe.close()


def _own_end(code: int, stderr: bytes, limits: Limits, seconds: float) -> Status:
    """What it means that the program ended by itself. 137 and 152 are the shells' words for SIGKILL and SIGXCPU,
    which bubblewrap passes on: the kernel's limit of processor time."""
    if code == 0:
        return "ok"
    if code in (128 + signal.SIGKILL, 128 + signal.SIGXCPU) and seconds >= limits.seconds * 0.9:
        return "timeout"
    return "memory" if b"MemoryError" in stderr[-300:] else "failed"
