"""How long an ask would wait, from what workers did lately; and what to do with it: begin, wait, load, or refuse."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from commonweal.serve.router.worker import RouterOptions, Wanted, Worker, speed_of

_WEIGHT = 0.2
"""Of the latest answer in the running mean of a model's durations."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Duration:
    """How long answers of a model take (seconds in a slot) and how many tokens they have: running means."""

    seconds: float
    tokens: float

    def after(self, seconds: float, tokens: int) -> Duration:
        return Duration(
            seconds=self.seconds + _WEIGHT * (seconds - self.seconds),
            tokens=self.tokens + _WEIGHT * (tokens - self.tokens),
        )


def duration(
    wanted: Wanted, known: Duration | None, workers: Sequence[Worker], options: RouterOptions
) -> float:
    """Seconds that this ask will keep a slot."""
    if known is not None:
        return known.seconds
    speeds = [speed_of(worker, wanted.identity, options) for worker in workers] or [options.unknown]
    return min(speed.first + wanted.tokens / max(speed.tokens, 0.01) for speed in speeds)


def wait(ahead: int, slots: int, seconds: float) -> float:
    """Seconds until a slot is free for an ask with so many ``ahead`` of it, where answers take ``seconds`` each and
    all ``slots`` are taken: they become free one after the other.

    >>> wait(0, 4, 2.0), wait(7, 4, 2.0)
    (0.5, 4.0)
    """
    return (ahead + 1) * seconds / max(slots, 1)


def retry_after(waiting: float, options: RouterOptions) -> float:
    """When to come again: when the wait will have shrunk to half of what is accepted; between 1 and 60 seconds."""
    return min(60.0, max(1.0, waiting - options.patience / 2))
