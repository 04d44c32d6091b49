"""How many requests to have under way: additive increase, multiplicative decrease (Chiu and Jain 1989), as TCP does.

:func:`observed` is the decision, a pure function of the state and one finished request; :class:`Gate` lets requests
through by it. The limit begins at the ceiling that the user gave, is halved when the server says that it has too much
to do (429, 502-504, a time-out), shrinks by a fifth when answers take three times as long as they used to, and
grows by one for each round of answers. Answers to requests that were sent before the last cut teach nothing new: one
burst is one cut.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, replace

_OVERLOAD = 0.5
_SLOWER = 0.8
_GROWTH = 3.0
"""A mean latency of this many times the best is congestion; generations differ in length by less, on average."""
_FORGET = 1.05
"""By how much the best mean latency is forgotten in each round, so that a scenario with longer answers is not
taken for congestion for ever."""
_ROUND = 16
"""The fewest answers of which a mean latency is taken."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """``value`` requests at once, never more than ``ceiling``. ``best`` is the lowest mean latency of a round (0: none
    yet), ``sum`` and ``count`` are of the round under way, ``cut_at`` is when it was last lowered."""

    value: float
    ceiling: int
    best: float = 0.0
    sum: float = 0.0
    count: int = 0
    cut_at: float = float("-inf")


def observed(
    limit: Limit, *, began: float, ended: float, overload: bool = False, answered: bool = True
) -> Limit:
    """The limit after a request that was sent at ``began`` and came to its end at ``ended`` (seconds).

    ``overload`` is that the server had too much to do; ``answered`` that it gave an answer at all, good or
    bad, whose latency means something.
    """
    if began < limit.cut_at:
        return limit
    if overload:
        return _cut(limit, _OVERLOAD, ended)
    if not answered:
        return limit
    total, count = limit.sum + (ended - began), limit.count + 1
    if count < max(_ROUND, limit.value):
        return replace(limit, sum=total, count=count, value=_grown(limit, 1))
    mean = total / count
    if limit.best and mean > _GROWTH * limit.best:
        return replace(_cut(limit, _SLOWER, ended), best=limit.best * _FORGET)
    best = min(mean, limit.best * _FORGET) if limit.best else mean
    return replace(limit, best=best, sum=0.0, count=0, value=_grown(limit, 1))


def _grown(limit: Limit, answers: int) -> float:
    return min(float(limit.ceiling), limit.value + answers / limit.value)


def _cut(limit: Limit, by: float, now: float) -> Limit:
    return replace(limit, value=max(1.0, limit.value * by), sum=0.0, count=0, cut_at=now)


class Gate:
    """Lets as many through at once as its limit says, in the order in which they came. For one event loop."""

    def __init__(self, ceiling: int) -> None:
        if ceiling < 1:
            raise ValueError("concurrency: at least 1")
        self.limit = Limit(value=float(ceiling), ceiling=ceiling)
        self.active = 0
        self._queue: deque[asyncio.Future[None]] = deque()

    async def enter(self) -> None:
        """Wait for a place. Each must be given back by :meth:`leave`."""
        if self.active < int(self.limit.value) and not self._queue:
            self.active += 1
            return
        place = asyncio.get_running_loop().create_future()
        self._queue.append(place)
        try:
            await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled():
                self.leave()  # it was given to us all the same
            raise

    def leave(self) -> None:
        self.active -= 1
        self._admit()

    def observe(self, *, began: float, ended: float, overload: bool = False, answered: bool = True) -> None:
        """Let the limit learn of a request that ended, while its place is still held."""
        self.limit = observed(self.limit, began=began, ended=ended, overload=overload, answered=answered)

    def _admit(self) -> None:
        while self._queue and self.active < int(self.limit.value):
            place = self._queue.popleft()
            if not place.done():
                self.active += 1
                place.set_result(None)
