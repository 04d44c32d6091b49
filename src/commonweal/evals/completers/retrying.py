"""When to ask again: exponential back-off with full jitter (Brooker, "Exponential Backoff And Jitter", AWS 2015).

Decisions only: a number of attempts and a drawn number give the seconds to wait, or none. The shell that waits has
its clock and its randomness passed in.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Protocol

from commonweal.core.completion import FailureKind


class Clock(Protocol):
    """``now`` is in seconds since the epoch, ``elapsed`` in seconds since any fixed moment, and never goes back."""

    def now(self) -> float: ...

    def elapsed(self) -> float: ...

    async def sleep(self, seconds: float) -> None: ...


class LoopClock:
    """The machine's clock; others run while one sleeps."""

    def now(self) -> float:
        return time.time()

    def elapsed(self) -> float:
        return time.perf_counter()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


@dataclass(frozen=True, slots=True, kw_only=True)
class Retries:
    """``attempts`` in all, of which ``malformed`` may end in an answer that cannot be read, and ``timeouts`` in none
    within the time. ``first`` is the longest wait before the second attempt, ``most`` the longest before any,
    ``patience`` the longest that a server may ask for (``Retry-After``); longer ends the request. All in seconds."""

    attempts: int = 8
    malformed: int = 3
    timeouts: int = 3
    first: float = 0.5
    most: float = 60.0
    patience: float = 300.0

    def __post_init__(self) -> None:
        if (
            min(self.attempts, self.malformed, self.timeouts) < 1
            or min(self.first, self.most, self.patience) < 0
        ):
            raise ValueError("attempts, malformed, timeouts: at least 1; first, most, patience: not negative")

    def bears(self, kind: FailureKind, times: int) -> bool:
        """Whether to ask again after so many failures of this kind, as far as the kind alone says."""
        limits: dict[FailureKind, int] = {"malformed": self.malformed, "timeout": self.timeouts}
        return times < limits.get(kind, self.attempts)

    def wait(self, attempts: int, drawn: float, after: float | None = None) -> float | None:
        """Seconds to wait after ``attempts`` failed ones; None to give up. ``drawn`` is uniform in [0, 1).

        What the server asks for (``after``) is the least; jitter of up to a tenth is added, so that those who were
        told the same do not come back together.

        >>> Retries(first=1.0).wait(3, 0.5)
        2.0
        """
        if attempts >= self.attempts or (after or 0.0) > self.patience:
            return None
        if after is not None:
            return after * (1.0 + 0.1 * drawn) + min(self.first, 0.1) * drawn
        return float(min(self.most, self.first * 2.0 ** (attempts - 1)) * drawn)
