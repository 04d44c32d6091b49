"""What goes on around the agent: the time of day, the battery, and how much of the machine others use."""

from __future__ import annotations

import math
import os
import time
from datetime import datetime
from typing import Protocol

import psutil

from commonweal.core.clock import Clock
from commonweal.pool.worker.limits import Conditions

_MEMORY_SECONDS = 45.0
"""The load is averaged over about this long: a compiler run must not send the member away, a game must."""
_FRESH_SECONDS = 5.0


class Surroundings(Protocol):
    """Where an agent looks before it works."""

    def conditions(self) -> Conditions: ...


class Machine:
    """The machine's own surroundings, looked at no more often than every few seconds."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._load = Load(cores=os.cpu_count() or 1)
        self._seen: tuple[float, Conditions] | None = None

    def conditions(self) -> Conditions:
        now = self._clock.now()
        if self._seen is None or not 0 <= now - self._seen[0] < _FRESH_SECONDS:
            busy, own = cpu_seconds()
            local = datetime.fromtimestamp(now)
            conditions = Conditions(
                minute=local.hour * 60 + local.minute,
                on_battery=on_battery(),
                others_load=self._load.update(time.monotonic(), busy, own),
            )
            self._seen = (now, conditions)
        return self._seen[1]


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


def cpu_seconds() -> tuple[float, float]:
    """Processor seconds used by all, and by this process and its children."""
    times = psutil.cpu_times()
    idle = times.idle + getattr(times, "iowait", 0.0)
    # On Linux, guests' time is counted in user time already.
    counted_twice = getattr(times, "guest", 0.0) + getattr(times, "guest_nice", 0.0)
    mine = psutil.Process()
    own = 0.0
    for process in [mine, *mine.children(recursive=True)]:
        try:
            used = process.cpu_times()
        except psutil.Error:
            continue
        own += used.user + used.system
    return sum(times) - idle - counted_twice, own


def on_battery() -> bool:
    """Whether the machine runs on its battery; False where there is none, or nobody knows."""
    try:
        battery = psutil.sensors_battery()
    except (AttributeError, OSError, psutil.Error):
        return False
    return battery is not None and battery.power_plugged is False
