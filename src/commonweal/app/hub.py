"""The hub, wired together: database, blobs, routes, and the loops that keep it going.

``build`` makes an ASGI application from settings; ``serve`` runs it. A hub process holds no state: run as many
as you like on one database and one store. Job factories and executors are handed in by name, so that nothing
below this module knows what the others mean.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import sqlalchemy as sa
from fastapi import FastAPI

from commonweal import __version__
from commonweal.app import pages, serving
from commonweal.core.blobs import Blobs
from commonweal.core.clock import Clock, SystemClock
from commonweal.core.database import Database
from commonweal.core.errors import NotAuthorized, Overloaded, Unavailable, UserError
from commonweal.core.work import JobFactory
from commonweal.labels.serving import HubLabels
from commonweal.labels.trainings import Trainings
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
from commonweal.pool.api.strangers import EXPORT, LimitStrangers, Strangers
from commonweal.pool.driving import Driver
from commonweal.pool.foreman import Fault, Foreman, ForemanOptions, no_fault
from commonweal.pool.leases import DONE_CHANNEL, WORK_CHANNEL
from commonweal.pool.proof import Prover, replay
from commonweal.pool.waiting import WaitingRoom, listen, parse_announcement
from commonweal.serve.api.context import ServeOptions
from commonweal.serve.community.settings import CommunitySettings
from commonweal.serve.tuning.trainer import Trainer
from commonweal.web.site.catalogue import Catalogue
from commonweal.web.site.routes import LiveSite, router_of, router_of_models

log = logging.getLogger(__name__)

LARGEST_BODY = 2**20
LARGEST_JOB = 16 * 2**20
_SEAL_SECONDS = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class HubSettings:
    """``tick_seconds``: how often the foreman looks, when nothing wakes it. ``keep_orphans_seconds``: how long a
    blob that nothing names is kept; ``keep_parts_seconds``: how long an upload that nobody goes on with.
    ``upload_quota``: the bytes that an account may have uploaded and nothing names yet. ``strangers_a_minute``: how
    many calls without a valid key an address may make. ``serve``: the limits of the API under ``/v1``;
    ``community``: who looks at what its users say. ``runs``: the folder of evaluations that the site at ``/`` shows,
    None for no site, ``releases`` the folder of their releases, which need not be there yet, and ``reported`` that of
    others' results."""

    folder: Path
    heartbeat_seconds: float = 10.0
    lease_seconds: float = 30.0
    tick_seconds: float = 0.5
    keep_orphans_seconds: float = 3600.0
    keep_parts_seconds: float = 86_400.0
    upload_quota: int = 16 * 10**9
    strangers_a_minute: int = 600
    first_issue: int = 1_000_000 * 1_000_000
    fold: bool = True
    runs: Path | None = None
    releases: Path | None = None
    reported: Path | None = None
    serve: ServeOptions = field(default_factory=ServeOptions)
    community: CommunitySettings = field(default_factory=CommunitySettings)


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstKeys:
    """Shown once, on a hub's first start."""

    admin: str
    join: str


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
    trainer: Trainer | None = None,
) -> FastAPI:
    """The hub as an ASGI application. Its loops start and stop with it. Without a ``trainer`` it fine-tunes nothing."""
    clock = clock or SystemClock()
    hub = Hub(
        database=database,
        blobs=blobs,
        clock=clock,
        options=HubOptions(
            heartbeat_seconds=settings.heartbeat_seconds,
            lease_seconds=settings.lease_seconds,
            upload_quota=settings.upload_quota,
            incoming=settings.folder / "incoming",
        ),
        factories=factories,
        waiting=WaitingRoom(),
        prover=Prover(partial(replay, database), clock),
        strangers=Strangers(settings.strangers_a_minute),
        version=__version__,
    )

    half = serving.make(hub, settings.serve, trainer, settings.folder, settings.community)

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with _running(hub, settings, fault), half.running():
            yield

    app = FastAPI(
        title="Commonweal hub",
        version=__version__,
        lifespan=lifespan,
        docs_url="/docs",
        redoc_url=None,
        responses={
            "default": {"model": wire.ErrorBody, "description": "Any error"},
            **faults.documented(NotAuthorized, UserError, Overloaded, Unavailable),
        },
    )
    app.state.hub = hub
    faults.install(app)
    app.add_middleware(
        faults.LimitBody,
        largest=LARGEST_BODY,
        exempt=(f"{wire.PREFIX}/uploads/", *serving.PREFIXES),
        larger={f"{wire.PREFIX}/jobs": LARGEST_JOB},
    )
    app.add_middleware(
        LimitStrangers, strangers=hub.strangers, dear={f"{wire.PREFIX}/credits/export": EXPORT}
    )
    for routes in (work_routes, blob_routes, job_routes, people_routes, credit_routes):
        app.include_router(routes.router)
    shown = settings.runs if settings.runs is not None else settings.reported
    trainings = Trainings()
    live = LiveSite(
        [] if settings.runs is None else [settings.runs],
        clock,
        catalogue=Catalogue(database, blobs, trainings),
        labels=HubLabels(database, trainings=trainings),
        places=pages.places(shown),
        releases=settings.releases,
        reported=settings.reported,
    )
    app.state.labels = HubLabels(database, live.runs_of, trainings=trainings)
    serving.enter(app, half)
    pages.enter(app, hub, shown)
    app.include_router(router_of_models(live) if shown is None else router_of(live))
    return app


@contextlib.asynccontextmanager
async def _running(hub: Hub, settings: HubSettings, fault: Fault) -> AsyncIterator[None]:
    present = max(3 * settings.heartbeat_seconds, settings.lease_seconds)
    foreman = Foreman(hub.database, hub.factories, ForemanOptions(present_seconds=present), fault=fault)
    driver = Driver(foreman, hub.clock, tick_seconds=settings.tick_seconds)
    stop = threading.Event()
    loops: dict[str, Callable[[], None]] = {
        "garbage": partial(_collect, hub, settings, stop),
        "seal": partial(_seal, hub, stop),
    }
    channels = {WORK_CHANNEL: lambda payload: hub.waiting.wake(parse_announcement(payload))}
    if settings.fold:
        loops["foreman"] = driver.run
        channels[DONE_CHANNEL] = driver.happened
    listening = asyncio.create_task(
        listen(hub.database.dsn(), channels, reconnected=hub.waiting.wake_all), name="listen"
    )
    threads = [threading.Thread(target=loop, name=name, daemon=True) for name, loop in loops.items()]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        driver.stop()
        listening.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await listening
        for thread in threads:
            await asyncio.to_thread(thread.join, 30)


def _seal(hub: Hub, stop: threading.Event) -> None:
    """Every few seconds, give new journals their place in the chain."""
    while not stop.wait(_SEAL_SECONDS):
        try:
            with hub.database.transaction() as connection:
                seal(connection)
        except Exception as error:  # they are sealed the next time
            log.warning("seal.waits error=%s", error)


def _collect(hub: Hub, settings: HubSettings, stop: threading.Event) -> None:
    """Now and then, delete the blobs that nothing names any more."""
    while not stop.wait(min(300.0, settings.keep_orphans_seconds)):
        try:
            serving.forget(hub.database, hub.clock.now())
            garbage.collect(
                hub.database, hub.blobs, hub.clock.now(), settings.keep_orphans_seconds, serving.NAMED
            )
            garbage.sweep(hub.options.incoming, hub.clock.now(), settings.keep_parts_seconds)
            garbage.forget_abandoned(hub.database, hub.blobs, hub.clock.now(), settings.keep_parts_seconds)
        except Exception as error:  # the next collection may go better; nothing else depends on it
            log.warning("garbage.waits error=%s", error)
