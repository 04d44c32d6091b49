"""A lease in hand, as the threads of an agent see it: the one that computes, the one that sends heartbeats, and
the one that hears ctrl-c."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Literal

from commonweal.pool import wire
from commonweal.pool.worker.diagnosis import Failure


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """Why a unit is not wanted from this member any more: the hub took the lease, or the member drops it. ``failure``
    is what the hub is told of a dropped one; '' where nothing failed."""

    how: Literal["lost", "dropped"]
    reason: str
    failure: Failure = ""


class Held:
    """``stop`` is set once the unit is not wanted any more, and ``end`` says why; the first reason stays."""

    def __init__(self, lease: wire.Lease) -> None:
        self.lease = lease
        self.stop = threading.Event()
        self.amount_done = 0
        self.end: End | None = None
        self._lock = threading.Lock()

    def lose(self, reason: str) -> None:
        """The hub says that the lease is not valid: there is nothing to give back."""
        self._finish(End(how="lost", reason=reason))

    def drop(self, reason: str, failure: Failure = "") -> None:
        """The member gives up; the lease is still its own to give back."""
        self._finish(End(how="dropped", reason=reason, failure=failure))

    def _finish(self, end: End) -> None:
        with self._lock:
            if self.end is None:
                self.end = end
        self.stop.set()
