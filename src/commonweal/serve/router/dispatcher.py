"""The workers that are here, the asks that wait, and each ask on its way to a worker and back.

The shell around the decisions of ``choosing``, ``queue`` and ``forecast``: it keeps the state that they look at, in one
event loop and without any waiting in between, and does what they say. How a worker is reached is behind a
:class:`Link`: a connection of this process, or another process over the bus.

An ask of which nothing was heard is given to another worker when its own is lost; one of which part is out fails.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from commonweal.core.completion import CompletionFailed, Request
from commonweal.core.errors import CommonwealError, Overloaded, Unavailable
from commonweal.core.streaming import Event
from commonweal.serve.gateway.frames import Done, Failure, Loaded, ModelSpec, Speed, State
from commonweal.serve.router import forecast
from commonweal.serve.router.choosing import allowed, choose, place, serving
from commonweal.serve.router.failures import elsewhere, error_of
from commonweal.serve.router.inbox import WORKER_LOST, Inbox
from commonweal.serve.router.queue import Queue
from commonweal.serve.router.worker import Lender, RouterOptions, Wanted, Worker

_GRACE = 5.0
"""Seconds for which asks wait for a worker to come back, after the last one that served their model went."""
_NEW_SPEED = 0.3


class Link(Protocol):
    """The way to one worker."""

    def ask(self, wanted: Wanted, request: Request, inbox: Inbox) -> Callable[[], None]:
        """Give it an ask, whose events go into ``inbox``; returns how to stop it."""
        ...

    def load(self, model: ModelSpec, evict: Iterable[str]) -> None: ...

    def close(self, reason: str) -> None:
        """Have nothing more to do with it."""
        ...


@dataclass(slots=True, kw_only=True)
class Errand:
    """One ask under way. ``lender`` is who answers, as soon as that is known; ``made`` counts the tokens that were
    made so far, by the reader of the events. ``again``: it was accepted before, so it is not refused for a long
    queue."""

    wanted: Wanted
    request: Request
    lender: Lender | None = None
    made: int = 0
    again: bool = False
    attempts: int = 0
    first: float | None = None


@dataclass(slots=True)
class _Open:
    worker: str
    inbox: Inbox


class Dispatcher:
    """``changed`` is called with a worker's id whenever something about it changed (or it went)."""

    def __init__(
        self,
        now: Callable[[], float],
        options: RouterOptions | None = None,
        *,
        changed: Callable[[str], None] = lambda worker: None,
    ) -> None:
        self.options = options or RouterOptions()
        self._now, self._changed = now, changed
        self.workers: dict[str, Worker] = {}
        self.queue = Queue(self.options)
        self.durations: dict[str, forecast.Duration] = {}
        self._links: dict[str, Link] = {}
        self._serving: dict[str, dict[str, Worker]] = {}
        self._seats: dict[str, asyncio.Future[Worker]] = {}
        self._open: dict[str, _Open] = {}
        self._orphaned: dict[str, float] = {}
        self._waits_since: dict[str, float] = {}

    # Workers come, speak, and go.

    def join(self, worker: Worker, link: Link) -> None:
        """A worker is here; the same id again is what is newly known of it."""
        before = self.workers.get(worker.id)
        if before is not None:
            worker.measured = before.measured | worker.measured
            self._unindex(before)
        self.workers[worker.id] = worker
        self._links[worker.id] = link
        self._index(worker)
        self._changed(worker.id)
        self._pump(worker)

    def leave(self, worker_id: str, why: str = "its connection ended") -> None:
        """A worker is gone: what it had not answered goes elsewhere or fails."""
        worker = self.workers.pop(worker_id, None)
        if worker is None:
            return
        self._links.pop(worker_id)
        self._unindex(worker)
        self._changed(worker_id)
        lost = Failure(kind=WORKER_LOST, message=why)
        for open_ask in [each for each in self._open.values() if each.worker == worker_id]:
            open_ask.inbox.end(lost)

    def expel(self, member: str, reason: str) -> None:
        """Part with all workers of a member."""
        for worker in [each for each in self.workers.values() if each.lender.member == member]:
            self.part(worker.id, reason)

    def update(self, worker_id: str, state: State) -> None:
        """What a worker of this process says of itself."""
        worker = self.workers.get(worker_id)
        if worker is None:
            return
        self._unindex(worker)
        worker.names = state.models
        worker.models = frozenset(state.models.values())
        worker.loading = frozenset(state.loading)
        worker.held, worker.free, worker.speeds = state.held, state.free, state.speeds
        self._index(worker)
        self.heard(worker_id)
        self._changed(worker_id)
        self._pump(worker)

    def heard(self, worker_id: str) -> None:
        worker = self.workers.get(worker_id)
        if worker is not None:
            worker.heard = self._now()

    def loaded(self, worker_id: str, told: Loaded) -> None:
        """A load ended, well or not."""
        worker = self.workers.get(worker_id)
        if worker is None:
            return
        self._unindex(worker)
        worker.loading -= {told.identity}
        if told.problem:
            worker.failed |= {told.identity}
        else:
            worker.models |= {told.identity}
        self._index(worker)
        self._changed(worker_id)
        self._pump(worker)
        self._rescue(told.identity)

    def unloaded(self, worker_id: str, identity: str) -> None:
        worker = self.workers.get(worker_id)
        if worker is not None:
            self._unindex(worker)
            worker.models -= {identity}
            self._index(worker)
            self._changed(worker_id)

    def leaving(self, worker_id: str) -> None:
        """It wants no more asks."""
        if worker_id in self.workers:
            self.workers[worker_id].leaving = True
            self._changed(worker_id)

    def order_load(self, worker_id: str, model: ModelSpec, evict: Sequence[str]) -> None:
        """Have a worker load a model, in place of others."""
        worker = self.workers.get(worker_id)
        if worker is None or model.identity in worker.models | worker.loading:
            return
        self._unindex(worker)
        worker.models -= set(evict)
        worker.loading |= {model.identity}
        self._index(worker)
        self._links[worker_id].load(model, evict)
        self._changed(worker_id)

    def part(self, worker_id: str, reason: str) -> None:
        """End a worker's connection."""
        if worker_id in self.workers:
            self._links[worker_id].close(reason)
            self.leave(worker_id, reason)

    # Asks.

    def own_workers(self, account: str, identity: str) -> bool:
        """Whether a worker of this account's serves the model, or loads what it is asked for."""
        return any(
            each.lender.owner == account and not each.judges and (each.loads or identity in each.models)
            for each in self.workers.values()
        )

    def answerable(self, wanted: Wanted) -> bool:
        """Whether somebody serves it, or could load it."""
        now = self._now()
        if serving(self._serving.get(wanted.identity, {}).values(), wanted, now, self.options):
            return True
        return place(self.workers.values(), wanted, now, self.options) is not None

    async def run(self, errand: Errand) -> AsyncIterator[list[Event]]:
        """The events of an ask, some at a time. Raises Overloaded, Unavailable and CompletionFailed. To close the
        iterator stops the work."""
        while True:
            errand.attempts += 1
            worker = await self._seat(errand)
            inbox, began = Inbox(self._now()), self._now()
            stop = self._give(worker, errand, inbox)
            failure: Failure | None = None
            begun = False
            try:
                while failure is None:
                    said = await inbox.take()
                    errand.lender = inbox.seated or worker.lender
                    last = said[-1]
                    if errand.first is None:
                        errand.first = self._now()
                    if isinstance(last, Done | Failure):
                        events = said[:-1]
                        if events:
                            begun = True
                            yield events  # type: ignore[misc]  # nothing but events comes before the last
                        if isinstance(last, Done):
                            self._learn(worker, errand, began)
                            return
                        failure = last
                    else:
                        begun = True
                        yield said  # type: ignore[misc]
            finally:
                if not inbox.ended or (failure is not None and failure.kind == WORKER_LOST):
                    stop()  # a worker that is given up may be back one day, and need not go on
                self._free(worker, errand)
            if begun or not elsewhere(failure) or errand.attempts >= self.options.attempts:
                raise error_of(failure, begun=begun)
            errand.first, errand.lender, errand.again = None, None, True
            errand.wanted = replace(errand.wanted, tried=errand.wanted.tried | {worker.id})

    def tick(self) -> None:
        """To be called about twice a second: what is silent too long is given up."""
        now = self._now()
        for worker in list(self.workers.values()):
            if not worker.hub and now - worker.heard > self.options.lost:
                self.part(worker.id, "nothing was heard of it")
        for open_ask in list(self._open.values()):
            if now - open_ask.inbox.heard > self.options.stall or self._silent(open_ask, now):
                open_ask.inbox.end(Failure(kind=WORKER_LOST, message="it says nothing any more"))
        for identity in self.queue.models():
            self._rescue(identity)
        for wanted in list(self.queue.every()):
            if now - self._waits_since[wanted.id] > self.options.load_patience:
                self._refuse(wanted, Overloaded("nobody was free in time", retry_after=30.0))

    # Within.

    def _silent(self, open_ask: _Open, now: float) -> bool:
        """Whether nothing of the answer is out and its worker does not even say that it lives: others can begin."""
        worker = self.workers.get(open_ask.worker)
        if worker is None or open_ask.inbox.begun:
            return False
        return now - max(worker.heard, open_ask.inbox.heard) > self.options.silence

    async def _seat(self, errand: Errand) -> Worker:
        """A worker with a slot taken for this ask."""
        wanted, now = errand.wanted, self._now()
        worker = choose(self._serving.get(wanted.identity, {}).values(), wanted, now, self.options)
        if worker is not None:
            self._take(worker, wanted)
            return worker
        self._judge(wanted, now, again=errand.again)
        seat = self._seats[wanted.id] = asyncio.get_running_loop().create_future()
        self._waits_since[wanted.id] = now
        self.queue.add(wanted)
        try:
            given: Worker = await seat
        except asyncio.CancelledError:
            if seat.done() and not seat.cancelled() and seat.exception() is None:
                self._free(seat.result(), errand)
            raise
        finally:
            self.queue.remove(wanted)
            self._seats.pop(wanted.id, None)
            self._waits_since.pop(wanted.id, None)
        return given

    def _judge(self, wanted: Wanted, now: float, *, again: bool) -> None:
        """Let it wait, and load the model where that helps. Raises Overloaded and Unavailable."""
        if again:
            self._rescue(wanted.identity)
            return
        if len(self.queue) >= self.options.queue:
            raise Overloaded("too many requests wait already", retry_after=10.0)
        able = serving(self._serving.get(wanted.identity, {}).values(), wanted, now, self.options)
        ready = [worker for worker in able if wanted.identity in worker.models]
        if ready:
            seconds = forecast.duration(wanted, self.durations.get(wanted.identity), ready, self.options)
            slots = sum(worker.slots for worker in ready)
            waiting = forecast.wait(self.queue.ahead(wanted), slots, seconds)
            if waiting > self.options.spread and len(ready) == len(able):
                self._load(wanted, now)
            if waiting > self.options.patience:
                raise Overloaded(
                    f"all workers of this model are busy: about {waiting:.0f} s to wait",
                    retry_after=forecast.retry_after(waiting, self.options),
                    hint="ask again later, or lend a machine: one's own workers serve one first",
                )
        elif not able and not self._load(wanted, now):
            raise _nobody(wanted)

    def _load(self, wanted: Wanted, now: float) -> bool:
        """Have the model loaded where it fits best, if it fits anywhere."""
        placement = place(self.workers.values(), wanted, now, self.options)
        if placement is None:
            return False
        self.order_load(placement.worker.id, wanted.model, placement.evict)
        return True

    def _rescue(self, identity: str) -> None:
        """Asks wait for a model: see that somebody serves it, or will, or say that nobody does."""
        now = self._now()
        waiting = [wanted for wanted in self.queue.every() if wanted.identity == identity]
        able = self._serving.get(identity, {}).values()
        lost = [wanted for wanted in waiting if not serving(able, wanted, now, self.options)]
        if not lost or self._load(lost[0], now):
            self._orphaned.pop(identity, None)
        elif now - self._orphaned.setdefault(identity, now) > _GRACE:
            for wanted in lost:
                self._refuse(wanted, _nobody(wanted))

    def _give(self, worker: Worker, errand: Errand, inbox: Inbox) -> Callable[[], None]:
        errand.lender = worker.lender
        self._open[errand.wanted.id] = _Open(worker.id, inbox)
        try:
            return self._links[worker.id].ask(errand.wanted, errand.request, inbox)
        except (TypeError, ValueError) as error:  # text that is not Unicode cannot be sent
            self._open.pop(errand.wanted.id, None)
            self._free(worker, errand)
            raise CompletionFailed("bad_request", f"the request cannot be sent: {error}") from error
        except KeyError:  # it left in the same moment
            inbox.end(Failure(kind=WORKER_LOST, message="it left"))
            return lambda: None

    def _take(self, worker: Worker, wanted: Wanted) -> None:
        worker.running += 1
        seconds = forecast.duration(wanted, self.durations.get(wanted.identity), [worker], self.options)
        self.queue.served(wanted.account, seconds / worker.slots)
        self._changed(worker.id)

    def _free(self, worker: Worker, errand: Errand) -> None:
        self._open.pop(errand.wanted.id, None)
        current = self.workers.get(worker.id)
        if current is not None:
            current.running = max(0, current.running - 1)
            self._changed(current.id)
            self._pump(current)

    def _pump(self, worker: Worker) -> None:
        """Give the free slots of a worker to those that wait."""
        now = self._now()
        while len(self.queue) and worker.running < worker.slots:
            wanted = self.queue.next(worker.models, lambda each: allowed(worker, each, now, self.options))
            if wanted is None:
                return
            self.queue.remove(wanted)
            seat = self._seats.pop(wanted.id, None)
            if seat is not None and not seat.done():
                self._take(worker, wanted)
                seat.set_result(worker)

    def _refuse(self, wanted: Wanted, error: CommonwealError) -> None:
        self.queue.remove(wanted)
        seat = self._seats.pop(wanted.id, None)
        if seat is not None and not seat.done():
            seat.set_exception(error)

    def _learn(self, worker: Worker, errand: Errand, began: float) -> None:
        """How long it took, and how fast the worker was: for forecasts and choices to come."""
        identity, now = errand.wanted.identity, self._now()
        took = max(now - began, 1e-6)
        known = self.durations.get(identity)
        self.durations[identity] = (
            known.after(took, errand.made)
            if known
            else forecast.Duration(seconds=took, tokens=float(errand.made))
        )
        current = self.workers.get(worker.id)
        if current is not None and errand.made and errand.first is not None:
            first = max(errand.first - began, 0.0)
            seen = Speed(tokens=errand.made / max(now - errand.first, took / 100, 1e-6), first=first)
            current.measured[identity] = _mean(current.measured.get(identity), seen)

    def _index(self, worker: Worker) -> None:
        for identity in worker.models | worker.loading:
            self._serving.setdefault(identity, {})[worker.id] = worker

    def _unindex(self, worker: Worker) -> None:
        for identity in worker.models | worker.loading:
            there = self._serving.get(identity, {})
            there.pop(worker.id, None)
            if not there:
                self._serving.pop(identity, None)


def _mean(before: Speed | None, seen: Speed) -> Speed:
    if before is None:
        return seen
    return Speed(
        tokens=before.tokens + _NEW_SPEED * (seen.tokens - before.tokens),
        first=before.first + _NEW_SPEED * (seen.first - before.first),
    )


def _nobody(wanted: Wanted) -> Unavailable:
    who = "no worker of yours" if wanted.own else "no trusted worker" if wanted.trusted else "nobody"
    return Unavailable(
        f"{who} serves '{wanted.model.name}' now, and nobody free has the memory to load it",
        hint="try again later, or lend a machine: commonweal join ... --roles serve",
    )
