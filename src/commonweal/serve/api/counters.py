"""Where :mod:`limits` counts, in this process: each key's number until its window ends.

The library's own memory storage starts a timer thread a hundred times a second while it is in use, which costs more
than the requests that it counts. This one forgets when it is looked at. Used from one event loop.
"""

from __future__ import annotations

import time

from limits.storage import Storage

_SWEEP = 10_000
"""Keys beyond which those whose window ended are dropped."""


class Counters(Storage):
    """Numbers by key."""

    STORAGE_SCHEME = None  # nobody asks for it by a URL

    def __init__(self) -> None:
        super().__init__()
        self._counts: dict[str, tuple[int, float]] = {}

    @property
    def base_exceptions(self) -> type[Exception]:
        return ValueError

    def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        now = time.time()
        count, ends = self._counts.get(key, (0, 0.0))
        if ends <= now:
            count, ends = 0, now + expiry
            self._sweep(now)
        self._counts[key] = (count + amount, ends)
        return count + amount

    def get(self, key: str) -> int:
        count, ends = self._counts.get(key, (0, 0.0))
        return count if time.time() < ends else 0

    def get_expiry(self, key: str) -> float:
        now = time.time()
        return max(now, self._counts.get(key, (0, now))[1])

    def check(self) -> bool:
        return True

    def reset(self) -> int | None:
        gone = len(self._counts)
        self._counts.clear()
        return gone

    def clear(self, key: str) -> None:
        self._counts.pop(key, None)

    def _sweep(self, now: float) -> None:
        if len(self._counts) >= _SWEEP:
            self._counts = {key: found for key, found in self._counts.items() if now < found[1]}
