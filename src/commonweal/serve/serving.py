"""The serving half of a hub process, put together: what the wiring of the hub makes once and keeps running.

    serving = Serving.make(database, identify=..., reputation=...)
    async with serving.running():        # in the application's lifespan
        app.state.gateway = serving.gateway
        ... serving.counter is the Desk ...

Everything is in one event loop; the database is asked in threads.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import secrets
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

from commonweal.core.database import Database
from commonweal.core.errors import CommonwealError
from commonweal.core.streaming import Streamer
from commonweal.serve.audit.auditor import AuditOptions, Auditor, Reputation
from commonweal.serve.billing.books import BookOptions, Books, as_connected
from commonweal.serve.billing.settlement import Standing
from commonweal.serve.bus import Bus, PostgresBus
from commonweal.serve.counter import Counter, CountPrompt, no_count
from commonweal.serve.gateway.door import Gateway, Identify
from commonweal.serve.gateway.frames import ModelSpec
from commonweal.serve.router.dispatcher import Dispatcher
from commonweal.serve.router.models import Models
from commonweal.serve.router.peers import Peers, PeerTimes
from commonweal.serve.router.worker import RouterOptions

log = logging.getLogger(__name__)

_TICK_SECONDS = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingOptions:
    """``audits`` None: nothing is scored anew."""

    router: RouterOptions = field(default_factory=RouterOptions)
    books: BookOptions = field(default_factory=BookOptions)
    audits: AuditOptions | None = field(default_factory=AuditOptions)
    peers: PeerTimes = field(default_factory=PeerTimes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """``hub`` names this process; a process started again is another one."""

    hub: str
    dispatcher: Dispatcher
    books: Books
    models: Models
    gateway: Gateway
    counter: Counter
    peers: Peers
    auditor: Auditor | None

    @classmethod
    def make(
        cls,
        database: Database,
        *,
        identify: Identify,
        reputation: Reputation | None = None,
        standing: Standing = as_connected,
        count_prompt: CountPrompt = no_count,
        engine: Streamer | None = None,
        rounding: Callable[[ModelSpec], float | None] = lambda model: None,
        options: ServingOptions | None = None,
        bus: Bus | None = None,
        now: Callable[[], float] = time.time,
    ) -> Serving:
        """``identify``: whose key it is. ``reputation``: what the pool does with a verdict; without one, nothing is
        audited. ``standing``: how far members are with their probation. ``engine``: the hub's own, for audits.
        ``rounding``: see :class:`~commonweal.serve.audit.rounding.Roundings`."""
        options = options or ServingOptions()
        hub = f"hub-{secrets.token_hex(6)}"
        peers = Peers(hub, bus or PostgresBus(database.dsn()), database, now, options.peers)
        dispatcher = Dispatcher(now, options.router, changed=peers.changed)
        peers.dispatcher = dispatcher
        books = Books(database, now, hub, options.books, standing=standing)
        models = Models(database, now)
        auditor = None
        if options.audits is not None and reputation is not None:
            auditor = Auditor(
                dispatcher, database, reputation, now, options.audits, engine=engine, rounding=rounding
            )
        return cls(
            hub=hub,
            dispatcher=dispatcher,
            books=books,
            models=models,
            gateway=Gateway(hub, dispatcher, identify, now, itertools.count(1)),
            counter=Counter(
                models=models,
                books=books,
                dispatcher=dispatcher,
                now=now,
                audits=auditor,
                count_prompt=count_prompt,
            ),
            peers=peers,
            auditor=auditor,
        )

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Its loops, from here to the end of the block; then everything is settled and given back."""
        await self.peers.start()
        tasks = [
            asyncio.create_task(self.books.run(), name="serve-books"),
            asyncio.create_task(self._tick(), name="serve-tick"),
        ]
        try:
            yield
        finally:
            await self.counter.drain()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for step in (self.books.close, self.peers.stop):
                try:
                    await step()
                except CommonwealError as error:  # another process gives back what this one cannot
                    log.warning("serve.stop step=%s error=%s", step.__qualname__, error.message)

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(_TICK_SECONDS)
            self.dispatcher.tick()
