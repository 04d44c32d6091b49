"""The hub, wired together: database, blobs, routes, and the two loops that keep it going.

``build`` makes an ASGI application from settings; ``serve`` runs it. A hub process holds no state: run as many
as you like on one database and one store. Job factories and executors are handed in by name, so that nothing
below this module knows what the others mean.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import AsyncIterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import sqlalchemy as sa
from fastapi import FastAPI

from commonweal import __version__
from commonweal.core.blobs import Blobs
from commonweal.core.clock import Clock, SystemClock
from commonweal.core.database import Database
from commonweal.core.errors import NotAuthorized, Unavailable, UserError
from commonweal.core.work import JobFactory
from commonweal.ledger.chain import seal
from commonweal.pool import accounts, garbage, wire
from commonweal.pool.access import has_keys, issue_key
from commonweal.pool.api import blobs as blob_routes
from commonweal.pool.api import credits as credit_routes
from commonweal.pool.api import faults
from commonweal.pool.api import jobs as job_routes
from commonweal.pool.api import people as people_routes
from commonweal.pool.api import work as work_routes
from commonweal.pool.api.context import Hub, HubOptions
from commonweal.pool.foreman import Fault, Foreman, ForemanOptions, no_fault
from commonweal.pool.leases import DONE_CHANNEL, WORK_CHANNEL
from commonweal.pool.waiting import WaitingRoom, listen, parse_announcement

log = logging.getLogger(__name__)

LARGEST_BODY = 2**20
LARGEST_JOB = 16 * 2**20
_SEAL_SECONDS = 5.0
_GATHER_SECONDS = 0.05  # results that come at the same time are looked at together


@dataclass(frozen=True, slots=True, kw_only=True)
class HubSettings:
    """``tick_seconds``: how often the foreman looks, when nothing wakes it. ``keep_orphans_seconds``: how long a
    blob that nothing names is kept; ``keep_parts_seconds``: how long an upload that nobody goes on with."""

    folder: Path
    heartbeat_seconds: float = 10.0
    lease_seconds: float = 30.0
    tick_seconds: float = 0.5
    keep_orphans_seconds: float = 3600.0
    keep_parts_seconds: float = 86_400.0
    first_issue: int = 1_000_000 * 1_000_000
    fold: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstKeys:
    """Shown once, on a hub's first start."""

    admin: str
    join: str


@dataclass(slots=True)
class _Loops:
    """What runs beside the routes."""

    wake: threading.Event = field(default_factory=threading.Event)
    stop: threading.Event = field(default_factory=threading.Event)
    changed: set[str] = field(default_factory=set)
    """Jobs that something happened to since they were last stepped."""

    def happened(self, job: str) -> None:
        self.changed.add(job)
        self.wake.set()


def first_start(database: Database, settings: HubSettings, clock: Clock) -> FirstKeys | None:
    """Make the operator's account, an admin key and a join token, if this database has none yet."""
    now = clock.now()
    with database.transaction() as connection:
        connection.execute(
            sa.select(sa.func.pg_advisory_xact_lock(sa.func.hashtextextended("first start", 0)))
        )
        if has_keys(connection, "admin"):
            return None
        accounts.open_operator(connection, settings.first_issue, now)
        admin = issue_key(connection, role="admin", owner=accounts.OPERATOR, label="first", now=now)
        join = issue_key(connection, role="join", owner="join:first", label="first", now=now)
    return FirstKeys(admin=admin, join=join)


def build(
    database: Database,
    blobs: Blobs,
    factories: dict[str, JobFactory],
    settings: HubSettings,
    *,
    clock: Clock | None = None,
    fault: Fault = no_fault,
) -> FastAPI:
    """The hub as an ASGI application. Its loops start and stop with it."""
    hub = Hub(
        database=database,
        blobs=blobs,
        clock=clock or SystemClock(),
        options=HubOptions(
            heartbeat_seconds=settings.heartbeat_seconds,
            lease_seconds=settings.lease_seconds,
            incoming=settings.folder / "incoming",
        ),
        factories=factories,
        waiting=WaitingRoom(),
        version=__version__,
    )

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with _running(hub, settings, fault):
            yield

    app = FastAPI(
        title="Commonweal hub",
        version=__version__,
        lifespan=lifespan,
        docs_url="/docs",
        redoc_url=None,
        responses={
            "default": {"model": wire.ErrorBody, "description": "Any error"},
            **faults.documented(NotAuthorized, UserError, Unavailable),
        },
    )
    app.state.hub = hub
    faults.install(app)
    app.add_middleware(
        faults.LimitBody,
        largest=LARGEST_BODY,
        exempt=f"{wire.PREFIX}/uploads/",
        larger={f"{wire.PREFIX}/jobs": LARGEST_JOB},
    )
    for routes in (work_routes, blob_routes, job_routes, people_routes, credit_routes):
        app.include_router(routes.router)
    return app


@contextlib.asynccontextmanager
async def _running(hub: Hub, settings: HubSettings, fault: Fault) -> AsyncIterator[None]:
    loops = _Loops()
    channels = {
        WORK_CHANNEL: lambda payload: hub.waiting.wake(parse_announcement(payload)),
        DONE_CHANNEL: loops.happened,
    }
    listening = asyncio.create_task(
        listen(hub.database.dsn(), channels, reconnected=hub.waiting.wake_all), name="listen"
    )
    threads = [
        threading.Thread(target=_collect, args=(hub, settings, loops), name="garbage", daemon=True),
        threading.Thread(target=_seal, args=(hub, loops), name="seal", daemon=True),
    ]
    if settings.fold:
        foreman = Foreman(
            hub.database,
            hub.factories,
            ForemanOptions(present_seconds=max(3 * settings.heartbeat_seconds, settings.lease_seconds)),
            fault=fault,
        )
        threads.append(
            threading.Thread(target=_drive, args=(foreman, hub, settings, loops), name="foreman", daemon=True)
        )
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        loops.stop.set()
        loops.wake.set()
        listening.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await listening
        for thread in threads:
            await asyncio.to_thread(thread.join, 30)


def _drive(foreman: Foreman, hub: Hub, settings: HubSettings, loops: _Loops) -> None:
    """Step every running job at each tick, and between ticks those that something happened to, each in its own
    thread."""
    under_way: dict[str, Future[None]] = {}
    next_tick = 0.0
    with ThreadPoolExecutor(max_workers=4, thread_name_prefix="fold") as pool:
        while not loops.stop.is_set():
            try:
                if time.monotonic() >= next_tick:
                    next_tick = time.monotonic() + settings.tick_seconds
                    foreman.keep_leases(hub.clock.now())
                    loops.changed.update(foreman.running())
                for job in list(loops.changed):
                    if job not in under_way or under_way[job].done():
                        loops.changed.discard(job)
                        under_way[job] = pool.submit(_step, foreman, job, hub.clock, loops)
            except Exception as error:  # this thread must outlive whatever happens to it
                _wait_after(error, loops)
            under_way = {job: step for job, step in under_way.items() if not step.done()}
            loops.stop.wait(_GATHER_SECONDS)
            loops.wake.wait(max(0.0, next_tick - time.monotonic()))
            loops.wake.clear()


def _step(foreman: Foreman, job: str, clock: Clock, loops: _Loops) -> None:
    try:
        if foreman.step(job, clock.now()):
            loops.happened(job)
    except Exception as error:
        _wait_after(error, loops)
    if job in loops.changed:
        loops.wake.set()


def _wait_after(error: Exception, loops: _Loops) -> None:
    if isinstance(error, Unavailable):
        log.warning("foreman.waits error=%s", error.message)
    else:
        log.error("foreman.failed", exc_info=error)
    loops.stop.wait(1.0)


def _seal(hub: Hub, loops: _Loops) -> None:
    """Every few seconds, give new journals their place in the chain."""
    while not loops.stop.wait(_SEAL_SECONDS):
        try:
            with hub.database.transaction() as connection:
                seal(connection)
        except Exception as error:  # they are sealed the next time
            log.warning("seal.waits error=%s", error)


def _collect(hub: Hub, settings: HubSettings, loops: _Loops) -> None:
    """Now and then, delete the blobs that nothing names any more."""
    while not loops.stop.wait(min(300.0, settings.keep_orphans_seconds)):
        try:
            garbage.collect(hub.database, hub.blobs, hub.clock.now(), settings.keep_orphans_seconds)
            garbage.sweep(hub.options.incoming, hub.clock.now(), settings.keep_parts_seconds)
        except Exception as error:  # the next collection may go better; nothing else depends on it
            log.warning("garbage.waits error=%s", error)
