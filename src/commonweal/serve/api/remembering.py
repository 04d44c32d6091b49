"""What was looked up a moment ago: a few seconds of memory for answers that the database would give again.

Bounded by count; what is too old, and then whatever was put first, makes room. Used from one event loop.
"""

from __future__ import annotations

from typing import Generic, TypeVar

T = TypeVar("T")


class Remembered(Generic[T]):
    """Values by key, each until a time."""

    def __init__(self, most: int = 10_000) -> None:
        self._most = most
        self._values: dict[object, tuple[float, T]] = {}

    def get(self, key: object, now: float) -> T | None:
        found = self._values.get(key)
        return found[1] if found is not None and now < found[0] else None

    def put(self, key: object, value: T, *, until: float, now: float) -> None:
        self._values.pop(key, None)
        if len(self._values) >= self._most:
            self._make_room(now)
        self._values[key] = (until, value)

    def forget(self, key: object) -> None:
        self._values.pop(key, None)

    def _make_room(self, now: float) -> None:
        for key in [key for key, (until, _) in self._values.items() if until <= now]:
            del self._values[key]
        while len(self._values) >= self._most:
            del self._values[next(iter(self._values))]
