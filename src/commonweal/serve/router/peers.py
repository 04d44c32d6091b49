"""The other hub processes on this database: their workers are this process's workers, a step further away.

Every process keeps a row with the workers that are connected to it and when it was last alive, and tells the others at
once what changes. An ask for a worker of another process goes to that process, which seats it like one of its own; the
events come back over the bus. A process that is silent for a few seconds is gone, and its workers with it: what was
asked of them goes elsewhere, and what it had asked here is stopped.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from contextlib import aclosing, suppress
from dataclasses import asdict, dataclass, replace
from typing import Any, cast

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from commonweal.core.completion import CompletionFailed, Request
from commonweal.core.database import Database
from commonweal.core.errors import CommonwealError, InvalidContribution, Overloaded, Unavailable
from commonweal.serve.bus import EVERYONE, Bus
from commonweal.serve.gateway.frames import (
    HANDED_BACK,
    Failure,
    Held,
    ModelSpec,
    Speed,
    read_said,
    read_spec,
    said_json,
    spec_json,
)
from commonweal.serve.gateway.plain import read_request, request_json
from commonweal.serve.router.dispatcher import Dispatcher, Errand
from commonweal.serve.router.failures import WorkerLost
from commonweal.serve.router.inbox import WORKER_LOST, Inbox
from commonweal.serve.router.schema import hubs
from commonweal.serve.router.worker import Lender, Wanted, Worker

log = logging.getLogger(__name__)
Json = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerTimes:
    """Seconds. ``beat``: between signs of life; ``gone``: a process without one for so long; ``news``: how long
    changes are gathered before they are told, and ``events`` those of answers."""

    beat: float = 1.0
    gone: float = 4.0
    news: float = 0.05
    events: float = 0.015


class PeerLink:
    """The way to a worker of another process."""

    def __init__(self, peers: Peers, worker: str, hub: str) -> None:
        self._peers, self._worker, self._hub = peers, worker, hub

    def ask(self, wanted: Wanted, request: Request, inbox: Inbox) -> Callable[[], None]:
        return self._peers.ask(self._hub, wanted, request, inbox)

    def load(self, model: ModelSpec, evict: Iterable[str]) -> None:
        order = {"t": "load", "worker": self._worker, "model": spec_json(model), "evict": list(evict)}
        self._peers.tell(self._hub, order)

    def close(self, reason: str) -> None:
        self._peers.tell(self._hub, {"t": "close", "worker": self._worker, "reason": reason})


class Peers:
    """``dispatcher`` is set by who makes both."""

    def __init__(
        self, hub: str, bus: Bus, database: Database, now: Callable[[], float], times: PeerTimes
    ) -> None:
        self.hub, self._bus, self._database, self._now, self._times = hub, bus, database, now, times
        self.dispatcher: Dispatcher | None = None
        self._changed: set[str] = set()
        self._telling: asyncio.TimerHandle | None = None
        self._asked: dict[str, tuple[str, Inbox]] = {}
        self._serving: dict[tuple[str, str], asyncio.Task[None]] = {}
        self._here: dict[str, float] = {}
        self._words: dict[str, dict[str, list[Any]]] = {}
        self._speaking: asyncio.TimerHandle | None = None
        self._beating: asyncio.Task[None] | None = None

    async def start(self) -> None:
        await self._bus.listen(self.hub, self._heard)
        await self._beat()
        self._beating = asyncio.create_task(self._run(), name="serve-peers")

    async def stop(self) -> None:
        """Say that this process is gone, so that nobody waits for it."""
        if self._beating is not None:
            self._beating.cancel()
            with suppress(asyncio.CancelledError):
                await self._beating
        for task in list(self._serving.values()):
            task.cancel()
        with suppress(CommonwealError):
            self.tell(EVERYONE, {"t": "bye"})
        await self._bus.close()
        await asyncio.to_thread(self._erase)

    @property
    def others(self) -> int:
        return len(self._here)

    def changed(self, worker_id: str) -> None:
        """Something about a worker changed: tell the others, if it is one of ours."""
        assert self.dispatcher is not None
        worker = self.dispatcher.workers.get(worker_id)
        if worker_id.startswith(self.hub + "/") or (worker is not None and not worker.hub):
            self._changed.add(worker_id)
            if self._telling is None and self._here:
                self._telling = asyncio.get_running_loop().call_later(self._times.news, self._tell_news)

    def tell(self, hub: str, message: Json, *, urgent: bool = False) -> None:
        self._bus.send(hub, message | {"from": self.hub}, urgent=urgent)

    def ask(self, hub: str, wanted: Wanted, request: Request, inbox: Inbox) -> Callable[[], None]:
        """Have another process answer."""
        order = {
            "t": "ask",
            "wanted": _wanted_json(wanted),
            "request": request_json(request),
            "name": request.model,
        }
        self.tell(hub, order, urgent=True)
        self._asked[wanted.id] = (hub, inbox)

        def stop() -> None:
            if self._asked.pop(wanted.id, None) is not None:
                with suppress(Overloaded):
                    self.tell(hub, {"t": "cancel", "id": wanted.id})

        return stop

    # What others say.

    def _heard(self, message: object) -> None:
        try:
            raw = cast(Json, message)
            self._obey(str(raw["from"]), raw)
        except (KeyError, TypeError, ValueError, InvalidContribution, Overloaded) as error:
            log.warning("peers.odd error=%s message=%.200r", error, message)

    def _obey(self, hub: str, raw: Json) -> None:
        assert self.dispatcher is not None
        match raw["t"]:
            case "said":
                for ask, words in raw["asks"].items():
                    self._said(str(ask), list(words))
            case "ask":
                key = (hub, str(raw["wanted"]["id"]))
                task = asyncio.get_running_loop().create_task(self._serve(hub, raw))
                self._serving[key] = task
                task.add_done_callback(lambda _: self._serving.pop(key, None))
            case "cancel":
                if (running := self._serving.get((hub, str(raw["id"])))) is not None:
                    running.cancel()
            case "load":
                self.dispatcher.order_load(str(raw["worker"]), read_spec(raw["model"]), list(raw["evict"]))
            case "close":
                self.dispatcher.part(str(raw["worker"]), str(raw["reason"]))
            case "news":
                self._seen(hub)
                for worker in raw["workers"]:
                    self._put(hub, worker)
                for gone in raw["gone"]:
                    self.dispatcher.leave(str(gone))
            case "bye":
                self._gone(hub)

    def _said(self, ask: str, words: list[Any]) -> None:
        """``words``: what was said, and before the first of it who says it (an object)."""
        known = self._asked.get(ask)
        if known is None:
            return
        _, inbox = known
        if words and isinstance(words[0], dict):
            inbox.seated = Lender(**words.pop(0))
        said = [read_said(each) for each in words]
        if not inbox.say(said, 64 * len(said), self._now()) or inbox.ended:
            self._asked.pop(ask, None)

    async def _serve(self, hub: str, raw: Json) -> None:
        """Answer an ask of another process with the workers of this one."""
        assert self.dispatcher is not None
        wanted = _read_wanted(raw["wanted"])
        errand = Errand(
            wanted=replace(wanted, id=f"{hub}:{wanted.id}", here=True),
            request=read_request(raw["request"], str(raw["name"])),
        )
        first = True
        try:
            async with aclosing(cast(Any, self.dispatcher.run(errand))) as batches:
                async for events in batches:
                    said = [said_json(each) for each in events]
                    self._send(hub, wanted.id, said, errand.lender if first else None)
                    first = False
            self._send(hub, wanted.id, [["d"]], errand.lender if first else None)
        except CommonwealError as error:
            self._send(hub, wanted.id, [said_json(_failure(error))], errand.lender if first else None)

    def _send(self, hub: str, ask: str, said: list[Any], lender: Lender | None) -> None:
        """Words of many answers go together. Who answers is told with the first, which is in a hurry."""
        words = self._words.setdefault(hub, {}).setdefault(ask, [])
        if lender is not None:
            words.append(asdict(lender))
        words += said
        if lender is not None and self._speaking is not None:
            self._speaking.cancel()
            self._speaking = None
        if self._speaking is None:
            delay = 0.0 if lender is not None else self._times.events
            self._speaking = asyncio.get_running_loop().call_later(delay, self._speak)

    def _speak(self) -> None:
        self._speaking = None
        spoken, self._words = self._words, {}
        for hub, asks in spoken.items():
            try:
                self.tell(hub, {"t": "said", "asks": asks}, urgent=True)
            except Overloaded as error:  # nobody can hear it: who asked finds that nothing comes
                log.warning("peers.unheard hub=%s asks=%d error=%s", hub, len(asks), error.message)

    # Who is here.

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._times.beat)
            try:
                await self._beat()
            except CommonwealError as error:  # the database is away; so are the others
                log.warning("peers.wait error=%s", error.message)
            except Exception:
                log.exception("peers.failed")

    async def _beat(self) -> None:
        """Say that this process lives, with its workers; see who else does."""
        mine = [self._view(worker) for worker in self._mine()]
        rows = await asyncio.to_thread(self._exchange, mine)
        alive = set()
        for hub, age, workers in rows:
            if age <= self._times.gone:
                alive.add(hub)
                self._seen(hub)
                for worker in workers:
                    self._put(hub, worker, age)
                self._forget(hub, {str(worker["id"]) for worker in workers})
        for hub in [each for each in self._here if each not in alive]:
            self._gone(hub)

    def _exchange(self, mine: list[Json]) -> list[tuple[str, float, list[Json]]]:
        moment = sa.func.extract("epoch", sa.func.clock_timestamp())
        with self._database.transaction() as connection:
            row = insert(hubs).values(id=self.hub, seen=moment, workers=mine)
            connection.execute(
                row.on_conflict_do_update(
                    index_elements=["id"], set_={"seen": row.excluded.seen, "workers": row.excluded.workers}
                )
            )
            age = (sa.cast(moment, sa.Double) - hubs.c.seen).label("age")
            found = connection.execute(
                sa.select(hubs.c.id, age, hubs.c.workers).where(hubs.c.id != self.hub, age < 3600)
            )
            return [(row.id, float(row.age), row.workers) for row in found]

    def _erase(self) -> None:
        with suppress(Unavailable), self._database.transaction() as connection:
            connection.execute(sa.delete(hubs).where(hubs.c.id == self.hub))

    def _mine(self) -> list[Worker]:
        assert self.dispatcher is not None
        return [worker for worker in self.dispatcher.workers.values() if not worker.hub]

    def _tell_news(self) -> None:
        assert self.dispatcher is not None
        self._telling = None
        changed, self._changed = self._changed, set()
        here = [self.dispatcher.workers[each] for each in changed if each in self.dispatcher.workers]
        gone = [each for each in changed if each not in self.dispatcher.workers]
        with suppress(Overloaded):
            self.tell(
                EVERYONE, {"t": "news", "workers": [self._view(worker) for worker in here], "gone": gone}
            )

    def _seen(self, hub: str) -> None:
        if hub not in self._here:
            log.info("peers.here hub=%s", hub)
        self._here[hub] = self._now()

    def _forget(self, hub: str, known: set[str]) -> None:
        """Workers that are not in a process's row any more. One that joined since the row was written is back with the
        next."""
        assert self.dispatcher is not None
        for worker in list(self.dispatcher.workers.values()):
            if (
                worker.hub == hub
                and worker.id not in known
                and self._now() - worker.heard > 2 * self._times.beat
            ):
                self.dispatcher.leave(worker.id)

    def _gone(self, hub: str) -> None:
        assert self.dispatcher is not None
        log.info("peers.gone hub=%s", hub)
        self._here.pop(hub, None)
        for worker in [each for each in self.dispatcher.workers.values() if each.hub == hub]:
            self.dispatcher.leave(worker.id, "the hub process that it was connected to is gone")
        for ask, (where, inbox) in list(self._asked.items()):
            if where == hub:
                self._asked.pop(ask)
                inbox.end(Failure(kind=WORKER_LOST, message="the hub process of the worker is gone"))
        for (where, _), task in list(self._serving.items()):
            if where == hub:
                task.cancel()

    def _put(self, hub: str, raw: Json, age: float = 0.0) -> None:
        assert self.dispatcher is not None
        before = self.dispatcher.workers.get(str(raw["id"]))
        worker = _read_worker(raw, hub, self._now() - float(raw["quiet"]) - age)
        if before is not None:
            worker.failed |= before.failed
        self.dispatcher.join(worker, PeerLink(self, worker.id, hub))

    def _view(self, worker: Worker) -> Json:
        return {
            "id": worker.id,
            "lender": asdict(worker.lender),
            "slots": worker.slots,
            "engine": worker.engine,
            "loads": worker.loads,
            "judges": worker.judges,
            "memory": worker.memory,
            "free": worker.free,
            "running": worker.running,
            "names": dict(worker.names),
            "models": sorted(worker.models),
            "held": {identity: [held.size, held.idle] for identity, held in worker.held.items()},
            "loading": sorted(worker.loading),
            "speeds": {i: [s.tokens, s.first] for i, s in {**worker.speeds, **worker.measured}.items()},
            "failed": sorted(worker.failed),
            "quiet": max(0.0, self._now() - worker.heard),
            "leaving": worker.leaving,
        }


def _failure(error: CommonwealError) -> Failure:
    if isinstance(error, WorkerLost):
        return Failure(kind=WORKER_LOST, message=error.message)
    if isinstance(error, Overloaded):
        return Failure(kind="rate_limited", message=error.message)
    if isinstance(error, CompletionFailed):
        return Failure(kind=error.kind, message=error.message)
    return Failure(kind=HANDED_BACK, message=error.message)


def _read_worker(raw: Json, hub: str, heard: float) -> Worker:
    return Worker(
        id=str(raw["id"]),
        lender=Lender(**raw["lender"]),
        hub=hub,
        slots=int(raw["slots"]),
        engine=str(raw["engine"]),
        loads=bool(raw["loads"]),
        judges=bool(raw["judges"]),
        memory=int(raw["memory"]),
        free=int(raw["free"]),
        running=int(raw["running"]),
        names=dict(raw["names"]),
        models=frozenset(raw["models"]),
        held={identity: Held(size=size, idle=idle) for identity, (size, idle) in raw["held"].items()},
        loading=frozenset(raw["loading"]),
        speeds={identity: Speed(tokens=a, first=b) for identity, (a, b) in raw["speeds"].items()},
        failed=frozenset(raw["failed"]),
        heard=heard,
        leaving=bool(raw["leaving"]),
    )


def _wanted_json(wanted: Wanted) -> Json:
    return {
        "id": wanted.id,
        "account": wanted.account,
        "model": spec_json(wanted.model),
        "since": wanted.since,
        "tokens": wanted.tokens,
        "trusted": wanted.trusted,
        "own": wanted.own,
        "audit": wanted.audit,
        "priority": wanted.priority,
        "tried": sorted(wanted.tried),
        "excludes": sorted(wanted.excludes),
    }


def _read_wanted(raw: Json) -> Wanted:
    return Wanted(
        id=str(raw["id"]),
        account=str(raw["account"]),
        model=read_spec(raw["model"]),
        since=float(raw["since"]),
        tokens=float(raw["tokens"]),
        trusted=bool(raw["trusted"]),
        own=bool(raw["own"]),
        audit=bool(raw["audit"]),
        priority=int(raw["priority"]),
        tried=frozenset(raw["tried"]),
        excludes=frozenset(raw["excludes"]),
    )
