"""How fast bytes move: a limit on what is sent, and a measurement of what was sent and received."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from commonweal.core.clock import Clock
from commonweal.pool.wire import Transfers
from commonweal.pool.worker.patience import wait

PIECE = 64 * 1024
"""Bytes handed to the socket at a time: small enough that a limited upload flows instead of stuttering."""
_SMALLEST = 1024


class TokenBucket:
    """Lets ``rate`` bytes a second through (None: any number), after a quarter of a second's worth at once. Several
    threads may share it: together they send no faster."""

    def __init__(self, rate: float | None, clock: Clock) -> None:
        self.rate = rate
        self._clock = clock
        self._lock = threading.Lock()
        self._burst = (rate or 0.0) / 4
        self._tokens = self._burst
        self._at = clock.now()

    def take(self, size: int, stop: threading.Event) -> None:
        """Wait until ``size`` bytes may be sent. Raises Stopped."""
        seconds = self.reserve(size)
        if seconds > 0:
            wait(self._clock, seconds, stop)

    def reserve(self, size: int) -> float:
        """Seconds after which ``size`` bytes may be sent; whoever asks waits for them itself."""
        if self.rate is None:
            return 0.0
        with self._lock:
            now = self._clock.now()
            # A clock that was set back must not make the member wait for it to catch up.
            self._tokens = min(self._burst, self._tokens + max(0.0, now - self._at) * self.rate)
            self._at = now
            self._tokens -= size
            return max(0.0, -self._tokens / self.rate)

    def piece(self) -> int:
        """Bytes to send at a time: under a limit few enough that nobody who shares it waits long for the others."""
        return PIECE if self.rate is None else max(_SMALLEST, min(PIECE, int(self.rate / 4)))


class Meter:
    """Bytes and seconds of transfers since they were last reported. Used by two threads."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._sum = Transfers()

    @contextmanager
    def sending(self) -> Iterator[Counter]:
        """Measure an upload; the body says how many bytes went."""
        with self._timed() as counter:
            yield counter
        self.give_back(Transfers(up_bytes=counter.size, up_seconds=counter.seconds))

    @contextmanager
    def receiving(self) -> Iterator[Counter]:
        """Measure a download."""
        with self._timed() as counter:
            yield counter
        self.give_back(Transfers(down_bytes=counter.size, down_seconds=counter.seconds))

    def take(self) -> Transfers:
        """What was measured since the last call. Who could not report it gives it back."""
        with self._lock:
            taken, self._sum = self._sum, Transfers()
        return taken

    def give_back(self, more: Transfers) -> None:
        with self._lock:
            mine = self._sum.model_dump()
            self._sum = Transfers(**{name: mine[name] + value for name, value in more.model_dump().items()})

    @contextmanager
    def _timed(self) -> Iterator[Counter]:
        counter, begun = Counter(), self._clock.now()
        yield counter
        counter.seconds = max(0.0, self._clock.now() - begun)


class Counter:
    """Bytes of one transfer, and in the end its seconds. Only finished transfers are measured: a broken one says
    more about the break than about the link."""

    def __init__(self) -> None:
        self.size = 0
        self.seconds = 0.0
