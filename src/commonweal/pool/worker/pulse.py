"""The heartbeat: a thread that tells the hub that this member is here, and hears which leases are lost.

A heartbeat that does not get through is no news: the next one may, and only the hub decides that a lease is
lost. A refusal for good (a key that is not valid any more, a client too old) is kept for the agent to raise.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from random import Random
from typing import Literal

from commonweal.core.errors import CommonwealError, Overloaded, Unavailable
from commonweal.pool import wire
from commonweal.pool.worker.client import HubClient
from commonweal.pool.worker.held import Held
from commonweal.pool.worker.throttle import Meter

log = logging.getLogger(__name__)

_JITTER = 0.1
_SHORTEST, _LONGEST = 0.02, 300.0


class Pulse:
    """Beats about every ``seconds``, while inside :meth:`beating`."""

    def __init__(self, client: HubClient, meter: Meter, seconds: float, random: Random) -> None:
        self._client, self._meter, self._random = client, meter, random
        self._seconds = min(max(seconds, _SHORTEST), _LONGEST)
        self._held: Held | None = None
        self._over = threading.Event()
        self._failure: CommonwealError | None = None
        self.paused = False

    @contextmanager
    def beating(self) -> Iterator[None]:
        thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._over.set()
            thread.join(timeout=1.0)  # it may be waiting for a hub that is away; it ends after that

    @contextmanager
    def holding(self, held: Held) -> Iterator[None]:
        """Keep the lease of ``held`` alive."""
        self._held = held
        try:
            yield
        finally:
            self._held = None

    def check(self) -> None:
        """Raise what the hub refused for good, if it did."""
        if self._failure is not None:
            raise self._failure

    def beat(self) -> None:
        """One heartbeat."""
        held, transfers = self._held, self._meter.take()
        # A heartbeat that hangs must not hold up the next one until the lease has run out.
        timeout = min(30.0, max(5.0, self._seconds))
        try:
            reply = self._client.heartbeat(self._body(held, transfers), timeout)
        except CommonwealError as error:
            self._meter.give_back(transfers)
            self._missed(error, held)
            return
        for state in reply.leases:
            if held is not None and state.unit == held.lease.unit and not state.valid:
                held.lose("the hub says that the lease is not valid any more")

    def _body(self, held: Held | None, transfers: wire.Transfers) -> wire.Heartbeat:
        if held is None:
            state: Literal["idle", "paused"] = "paused" if self.paused else "idle"
            return wire.Heartbeat(state=state, transfers=transfers)
        lease = held.lease
        progress = wire.Progress(unit=lease.unit, fence=lease.fence, amount_done=held.amount_done)
        return wire.Heartbeat(state="working", leases=[progress], transfers=transfers)

    def _missed(self, error: CommonwealError, held: Held | None) -> None:
        log.info("heartbeat missed because=%s", error.message)
        if isinstance(error, Unavailable | Overloaded):
            return
        self._failure = error
        if held is not None:
            held.drop(error.message)

    def _run(self) -> None:
        while self._failure is None:
            self.beat()
            if self._over.wait(self._seconds * self._random.uniform(1 - _JITTER, 1)):
                return
