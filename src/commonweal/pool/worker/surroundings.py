"""What goes on around the agent: the time of day, the battery, how much of the machine others use, and how much memory
the agent itself holds."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from typing import Protocol

import psutil

from commonweal.core.clock import Clock
from commonweal.pool.worker.limits import Conditions
from commonweal.pool.worker.machine import own_memory

_MEMORY_SECONDS = 45.0
"""The load is averaged over about this long: a compiler run must not send the member away, a game must."""
_FRESH_SECONDS = 5.0
_MEMORY_FRESH_SECONDS = 1.0
"""Memory can be full within seconds, and is cheap to look at once it is known which processes to ask."""


class Surroundings(Protocol):
    """Where an agent looks before it works."""

    def conditions(self) -> Conditions: ...


class Machine:
    """The machine's own surroundings, looked at no more often than every few seconds. ``on_gpu``: main memory is not
    what the agent computes in, so what it holds of it does not matter."""

    def __init__(self, clock: Clock, *, on_gpu: bool = False) -> None:
        self._clock, self._on_gpu = clock, on_gpu
        self._load = Load(cores=os.cpu_count() or 1)
        self._family: list[psutil.Process] = []
        self._seen: Conditions | None = None
        self._seen_at = self._memory_at = 0.0

    def conditions(self) -> Conditions:
        now = self._clock.now()
        if self._seen is None or not 0 <= now - self._seen_at < _FRESH_SECONDS:
            self._seen, self._seen_at = self._look(now), now
            self._memory_at = now
        elif not 0 <= now - self._memory_at < _MEMORY_FRESH_SECONDS:
            self._seen = replace(self._seen, own_memory=self._own_memory())
            self._memory_at = now
        return self._seen

    def _look(self, now: float) -> Conditions:
        self._family = family()
        busy, own = cpu_seconds(self._family)
        local = datetime.fromtimestamp(now)
        return Conditions(
            minute=local.hour * 60 + local.minute,
            on_battery=on_battery(),
            others_load=self._load.update(time.monotonic(), busy, own),
            own_memory=self._own_memory(),
        )

    def _own_memory(self) -> int:
        return 0 if self._on_gpu else own_memory(self._family)


class Load:
    """The share of the cores that others use, averaged with an exponentially fading memory. No input or output:
    it is shown counters of processor seconds."""

    def __init__(self, *, cores: int) -> None:
        self._cores = cores
        self._last: tuple[float, float, float] | None = None
        self._average: float | None = None

    def update(self, at: float, busy: float, own: float) -> float:
        """The average, at monotonic time ``at``, when the machine has been busy for ``busy`` processor seconds
        and this process (with its children) has used ``own`` of them."""
        last, self._last = self._last, (at, busy, own)
        if last is None or at <= last[0]:
            return self._average or 0.0
        seconds = at - last[0]
        others = (busy - last[1]) - (own - last[2])
        share = min(1.0, max(0.0, others / (seconds * self._cores)))
        keep = math.exp(-seconds / _MEMORY_SECONDS) if self._average is not None else 0.0
        self._average = keep * (self._average or 0.0) + (1 - keep) * share
        return self._average


def family() -> list[psutil.Process]:
    """This process and its children."""
    mine = psutil.Process()
    return [mine, *mine.children(recursive=True)]


def cpu_seconds(processes: Iterable[psutil.Process]) -> tuple[float, float]:
    """Processor seconds used by all, and by ``processes``."""
    times = psutil.cpu_times()
    idle = times.idle + getattr(times, "iowait", 0.0)
    # On Linux, guests' time is counted in user time already.
    counted_twice = getattr(times, "guest", 0.0) + getattr(times, "guest_nice", 0.0)
    own = 0.0
    for process in processes:
        with suppress(psutil.Error):  # it has ended
            used = process.cpu_times()
            own += used.user + used.system
    return sum(times) - idle - counted_twice, own


def on_battery() -> bool:
    """Whether the machine runs on its battery; False where there is none, or nobody knows."""
    try:
        battery = psutil.sensors_battery()
    except (AttributeError, OSError, psutil.Error):
        return False
    return battery is not None and battery.power_plugged is False
