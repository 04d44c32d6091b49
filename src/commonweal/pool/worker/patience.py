"""Waiting and trying again, in one place: interruptible, bounded, with full jitter.

A member's machine outlives hubs, routers and Wi-Fi, so almost every call may have to be repeated. Every repeated
call here is safe to repeat (it carries an idempotency id, or says the same thing twice). What waits can be told
to stop: it raises :class:`Stopped`, which is no error but the end of the wait.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import TypeVar

from commonweal.core.clock import Clock
from commonweal.core.errors import Overloaded, StorageFull, Unavailable

log = logging.getLogger(__name__)
T = TypeVar("T")

_SLICE = 0.2
"""The longest sleep, in seconds, before looking at the stop event again: what ctrl-c takes at most."""


class Stopped(Exception):
    """What was waited for is not wanted any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How often to try (None: until told to stop) and how long to wait in between, in seconds."""

    attempts: int | None = 6
    first: float = 0.5
    longest: float = 30.0

    def delay(self, failures: int, random: Random) -> float:
        """Seconds to wait after the ``failures``-th failure in a row: full jitter, so that a hub that comes back
        is not met by all its members in the same second."""
        ceiling = min(self.longest, self.first * 2.0 ** min(failures - 1, 30))
        return random.uniform(0.0, ceiling)


BRIEFLY = Patience(attempts=3, longest=2.0)
LIMITED = Patience()
DOGGED = Patience(attempts=30)
"""For transfers: about six minutes in which nothing moves. A restarting hub is back by then; work done is not
thrown away sooner, and a unit is not kept longer from members whose link is better."""
UNTIL_STOPPED = Patience(attempts=None)

Notice = Callable[[str, float], None]
"""Told of every failure that will be tried again: the message, and the seconds until then."""


def wait(clock: Clock, seconds: float, stop: threading.Event) -> None:
    """Sleep, unless and until ``stop`` is set. Raises Stopped."""
    remaining = seconds
    while not stop.is_set():
        if remaining <= 0:
            return
        clock.sleep(min(_SLICE, remaining))
        remaining -= _SLICE
    raise Stopped


class Retry:
    """Repeats calls that failed because something is away or busy. Other errors pass."""

    def __init__(self, clock: Clock, random: Random, notice: Notice | None = None) -> None:
        self._clock, self._random, self._notice = clock, random, notice

    def call(
        self,
        action: Callable[[], T],
        patience: Patience,
        stop: threading.Event,
        progress: Callable[[], int] | None = None,
    ) -> T:
        """The result of ``action``. Failures count in a row: where ``progress`` (bytes moved, say) grew since
        the last one, counting starts again, so a poor link that moves at all is never given up.

        Raises the last error when patience ends, and Stopped.
        """
        failures, reached = 0, progress() if progress else 0
        while not stop.is_set():
            try:
                return action()
            except (Unavailable, Overloaded) as error:
                if isinstance(error, StorageFull):
                    raise  # the disk of this machine: waiting frees nothing
                now_at = progress() if progress else 0
                failures, reached = (1 if now_at > reached else failures + 1), max(reached, now_at)
                if patience.attempts is not None and failures >= patience.attempts:
                    raise
                self._pause(error, patience.delay(failures, self._random), stop)
        raise Stopped

    def _pause(self, error: Unavailable | Overloaded, delay: float, stop: threading.Event) -> None:
        if isinstance(error, Overloaded):
            delay += error.retry_after
        log.info("retry in=%.1fs because=%s", delay, error.message)
        if self._notice:
            self._notice(error.message, delay)
        wait(self._clock, delay, stop)
