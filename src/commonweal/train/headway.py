"""How far a training job is, and when it will be done, from its records. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

REMEMBERED_ROUNDS = 12


def share_done(settings: Mapping[str, Any], record: Mapping[str, Any]) -> float:
    """Of the job, after ``record``: by steps or by tokens, whichever ends it.

    >>> share_done({"train": {"steps": 200, "tokens": None}}, {"step": 50, "tokens": 9000})
    0.25
    """
    train = settings.get("train", {})
    for goal, reached in (("steps", "step"), ("tokens", "tokens")):
        if train.get(goal):
            return min(1.0, float(record.get(reached, 0)) / float(train[goal]))
    return 0.0


@dataclass(slots=True)
class Pace:
    """The last rounds' moments (hub's time) and records."""

    marks: deque[tuple[float, Mapping[str, Any]]] = field(
        default_factory=lambda: deque(maxlen=REMEMBERED_ROUNDS)
    )

    def add(self, at: float, record: Mapping[str, Any]) -> None:
        self.marks.append((at, record))

    def share(self, settings: Mapping[str, Any]) -> float:
        return share_done(settings, self.marks[-1][1]) if self.marks else 0.0

    def seconds_left(self, settings: Mapping[str, Any]) -> float | None:
        """As if it went on like the last rounds, or None while that is not known."""
        if len(self.marks) < 2:
            return None
        (start, first), (end, last) = self.marks[0], self.marks[-1]
        moved = share_done(settings, last) - share_done(settings, first)
        if moved <= 0 or end <= start:
            return None
        return (1 - share_done(settings, last)) * (end - start) / moved
