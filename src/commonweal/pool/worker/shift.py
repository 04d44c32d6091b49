"""The agent's loop: rest or ask, do what was lent, settle how it ended; until told to stop.

Everything that may take long (the long poll, the unit) is done in the lane; this thread waits for it in short
ticks, so it hears a lost lease, a pulled plug or ctrl-c at once. The hub alone decides what a lease is worth:
while it is away, the work in hand goes on.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import wait as wait_for
from random import Random
from typing import TypeVar

from commonweal.core.clock import Clock
from commonweal.core.errors import CommonwealError, UserError
from commonweal.core.ids import new_id
from commonweal.pool import wire
from commonweal.pool.worker.diagnosis import Failure, diagnose, is_final
from commonweal.pool.worker.events import Leased, Listener, Lost, Paused, Ready, Released, Resumed, Submitted
from commonweal.pool.worker.held import Held
from commonweal.pool.worker.lane import Lane
from commonweal.pool.worker.limits import Pause, may_work
from commonweal.pool.worker.options import AgentOptions, Tempo
from commonweal.pool.worker.parting import Parting
from commonweal.pool.worker.patience import UNTIL_STOPPED, Retry, Stopped, wait
from commonweal.pool.worker.pulse import Pulse
from commonweal.pool.worker.store import HeldLease, Store
from commonweal.pool.worker.surroundings import Surroundings
from commonweal.pool.worker.units import Units

log = logging.getLogger(__name__)
T = TypeVar("T")

LONG_POLL = 25.0
_HURRIED = 1.0
"""A 'no work' that comes sooner than this many seconds was not waited for; do not ask again at once."""


class Shift:
    """One run of an agent."""

    def __init__(
        self,
        *,
        options: AgentOptions,
        kinds: list[str],
        free_memory: Callable[[], int],
        lease: Callable[[wire.LeaseRequest], wire.Lease | None],
        units: Units,
        lane: Lane,
        pulse: Pulse,
        parting: Parting,
        store: Store,
        surroundings: Surroundings,
        retry: Retry,
        clock: Clock,
        random: Random,
        listen: Listener,
        tempo: Tempo,
    ) -> None:
        self._options, self._kinds, self._free_memory, self._lease = options, kinds, free_memory, lease
        self._units, self._lane, self._pulse, self._parting = units, lane, pulse, parting
        self._store, self._surroundings, self._retry = store, surroundings, retry
        self._clock, self._random, self._listen, self._tempo = clock, random, listen, tempo
        self._ended = 0
        self._failures = 0

    def work(self, stop: threading.Event) -> None:
        """Do units until ``stop`` is set or there were enough. Raises what the hub refuses for good."""
        looked = False
        while not stop.is_set() and self._ended != self._options.max_units:
            self._pulse.check()
            pause = may_work(self._options.limits, self._surroundings.conditions())
            first, looked = not looked, True
            if pause is not None:
                self._rest(pause, stop)
                continue
            if first:
                self._listen(Ready())
            lease = self._ask(stop)
            if lease is not None:
                self._do(lease, stop)

    def _ask(self, stop: threading.Event) -> wire.Lease | None:
        """One long poll. Every try of it has the same ``request_id``: an answer that was lost is asked for
        again."""
        body = wire.LeaseRequest(
            roles=list(self._options.roles),
            kinds=self._kinds,
            wait=LONG_POLL,
            free_memory=self._free_memory(),
            request_id=new_id("req"),
        )
        begun = self._clock.now()
        future = self._lane.start(lambda: self._poll(body, stop))
        while not _ended(future, self._tempo.tick):
            self._pulse.check()
            if stop.is_set():
                raise Stopped
        lease = future.result()
        if lease is None and self._clock.now() - begun < _HURRIED:
            wait(self._clock, self._random.uniform(0.5, 1.5) * _HURRIED, stop)
        return lease

    def _poll(self, body: wire.LeaseRequest, stop: threading.Event) -> wire.Lease | None:
        lease = self._retry.call(lambda: self._lease(body), UNTIL_STOPPED, stop)
        if lease is not None and stop.is_set():  # nobody waits for it any more
            self._parting.release(lease.unit, lease.fence)
            return None
        return lease

    def _do(self, lease: wire.Lease, stop: threading.Event) -> None:
        held = Held(lease)
        self._store.save_lease(HeldLease(unit=lease.unit, fence=lease.fence))
        self._listen(Leased(unit=lease.unit, job=lease.job, kind=lease.kind, amount=lease.amount))
        with self._pulse.holding(held):
            future = self._lane.start(lambda: self._units.perform(held))
            self._attend(future, held, stop)
        self._settle(future, held, stop)

    def _attend(self, future: Future[Submitted], held: Held, stop: threading.Event) -> None:
        """Wait for the unit's end, and see to it that it ends when it should."""
        seconds_stopping = 0.0
        while not _ended(future, self._tempo.tick):
            self._drop_if_unwanted(held, stop)
            if held.stop.is_set():
                seconds_stopping += self._tempo.tick
                if seconds_stopping > (self._tempo.grace if stop.is_set() else self._tempo.stuck):
                    return

    def _drop_if_unwanted(self, held: Held, stop: threading.Event) -> None:
        if held.stop.is_set():
            return
        if stop.is_set():
            held.drop("the member leaves")
            return
        pause = may_work(self._options.limits, self._surroundings.conditions())
        if pause is not None and pause.at_once:
            held.drop(pause.message, "out_of_memory" if pause.reason == "memory" else "")

    def _settle(self, future: Future[Submitted], held: Held, stop: threading.Event) -> None:
        """Account for a unit that is over, one way or another."""
        self._ended += 1
        self._store.forget_lease()
        error = future.exception() if future.done() else Stopped()
        if error is None:
            self._failures = 0
            self._listen(future.result())
        elif held.end is None:
            self._fail(error, held, stop)
        elif held.end.how == "lost":
            self._listen(Lost(unit=held.lease.unit, reason=held.end.reason))
        else:
            self._release(held, held.end.failure, held.end.reason)
        if not future.done() and not stop.is_set():
            raise CommonwealError(
                f"the executor of '{held.lease.kind[:40]}' does not stop", hint="start this program again"
            )
        if held.end is not None and held.end.failure == "out_of_memory":
            self._lane.start(self._units.let_go)
            self._rest_after_failure("memory", held.end.reason, stop)

    def _fail(self, error: BaseException, held: Held, stop: threading.Event) -> None:
        """Hand back a unit that cannot be done here, and stay away from work for a while: a machine that fails
        at once would otherwise fail everything in the queue."""
        told = diagnose(error)
        log.warning("unit failed unit=%s failure=%s", held.lease.unit, told.failure, exc_info=error)
        self._release(held, told.failure, told.message)
        if is_final(error):
            raise error
        if told.failure == "disk_full":
            self._store.cache.clear()
        self._rest_after_failure("disk" if told.failure == "disk_full" else "failures", told.message, stop)

    def _rest_after_failure(self, reason: str, message: str, stop: threading.Event) -> None:
        """Count a failure, and rest after it unless this was the last unit anyway."""
        self._failures += 1
        if self._ended != self._options.max_units:
            self._recover(reason, message, stop)

    def _release(self, held: Held, failure: Failure, message: str) -> None:
        self._parting.release(held.lease.unit, held.lease.fence, failure, message)
        self._listen(Released(unit=held.lease.unit, failure=failure, message=message))

    def _recover(self, reason: str, message: str, stop: threading.Event) -> None:
        seconds = min(self._tempo.longest_rest, self._tempo.rest * 2.0 ** min(self._failures - 1, 20))
        self._listen(Paused(reason=reason, message=message))
        self._sleep(seconds, stop)
        self._listen(Resumed())

    def _rest(self, pause: Pause, stop: threading.Event) -> None:
        """Do nothing until the conditions allow work again."""
        if pause.reason == "memory":
            self._lane.start(self._units.let_go)
        reason = None
        now: Pause | None = pause
        began = self._clock.now()
        while now is not None:
            if now.reason == "memory" and (not self._ended or self._clock.now() - began > self._tempo.stuck):
                raise self._too_large(now)
            if now.reason != reason:
                self._listen(Paused(reason=now.reason, message=now.message))
            reason = now.reason
            self._sleep(self._tempo.rest, stop)
            self._pulse.check()
            now = may_work(self._options.limits, self._surroundings.conditions(), paused_for=reason)
        self._listen(Resumed())

    def _too_large(self, pause: Pause) -> CommonwealError:
        """No unit is in hand, nothing is kept, and still there is too much: waiting longer changes nothing."""
        if not self._ended:
            return UserError(f"--memory: without any work, {pause.message}", hint="allow more")
        return CommonwealError(f"after the work, {pause.message}", hint="start this program again")

    def _sleep(self, seconds: float, stop: threading.Event) -> None:
        self._pulse.paused = True
        try:
            wait(self._clock, seconds, stop)
        finally:
            self._pulse.paused = False


def _ended(future: Future[T], seconds: float) -> bool:
    """Whether ``future`` is done, after waiting for it for so long at most."""
    return bool(wait_for([future], timeout=seconds).done)
