"""The half of the hub that serves models: parts made, routes entered, loops started and stopped.

What serving wants to know of the pool (whose key it is, what is known of a member, what a verdict changes) it is told
by functions that are made here.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import sqlalchemy as sa
from fastapi import FastAPI

from commonweal.app.improving import EvalGuards
from commonweal.core.clock import Clock
from commonweal.core.database import Database
from commonweal.pool import accounts, standing
from commonweal.pool.access import identify
from commonweal.pool.api.context import Hub
from commonweal.pool.api.strangers import WRONG_KEY
from commonweal.serve import catalogue
from commonweal.serve.api import (
    answers,
    batches,
    chat,
    community,
    completions,
    documents,
    embeddings,
    files,
    fine_tuning,
    labels,
    live,
    models,
    responses,
    scoring,
    uploads,
)
from commonweal.serve.api import publishing as publishing_routes
from commonweal.serve.api.batch_asking import answerer
from commonweal.serve.api.context import Account, Serve, ServeOptions
from commonweal.serve.api.errors import refuse_the_rest
from commonweal.serve.audit.rounding import Roundings
from commonweal.serve.batches import orders
from commonweal.serve.batches.loop import Batcher
from commonweal.serve.billing.prompts import Prompts
from commonweal.serve.community import datasets
from commonweal.serve.community.loop import Improver
from commonweal.serve.community.settings import CommunitySettings, parts
from commonweal.serve.files import shelf
from commonweal.serve.gateway import door
from commonweal.serve.retrieval import stores
from commonweal.serve.router.worker import Lender
from commonweal.serve.serving import Serving
from commonweal.serve.tools.workbench import Workbench
from commonweal.serve.tuning import jobs as tuning_jobs
from commonweal.serve.tuning.loop import Tuner
from commonweal.serve.tuning.trainer import Trainer
from commonweal.web import chat as chat_page

log = logging.getLogger(__name__)

ROUTES = (
    labels,
    models,
    chat,
    completions,
    responses,
    embeddings,
    files,
    uploads,
    fine_tuning,
    batches,
    answers,
    documents,
    community,
    publishing_routes,
    scoring,
    live,
)
PREFIXES = ("/v1/", "/serve/v1/")
"""Routes that count their bodies themselves."""

NAMED = (
    catalogue.named_blobs,
    shelf.named_blobs,
    tuning_jobs.named_blobs,
    orders.named_blobs,
    datasets.named_blobs,
)
"""Who says which blobs are still needed, besides the pool."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Half:
    """The parts of a hub process that serve."""

    serving: Serving
    serve: Serve
    batcher: Batcher
    improver: Improver
    tuner: Tuner | None = None
    stop: threading.Event = field(default_factory=threading.Event)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Its loops, from here to the end of the block."""
        tuning = None
        if self.tuner is not None:
            tuning = threading.Thread(target=self.tuner.run, args=(self.stop,), name="tuning", daemon=True)
            tuning.start()
        async with self.serving.running():
            tasks = [
                asyncio.create_task(self.batcher.run(), name="batches"),
                asyncio.create_task(self.improver.run(), name="improvements"),
            ]
            try:
                yield
            finally:
                self.stop.set()
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
        if tuning is not None:
            await asyncio.to_thread(tuning.join, 30)


def make(
    hub: Hub, options: ServeOptions, trainer: Trainer | None, folder: Path, feedback: CommunitySettings
) -> Half:
    """The parts, on the pool's own database and store. Evaluations are kept below ``folder``."""
    database, clock = hub.database, hub.clock
    serving = Serving.make(
        database,
        identify=partial(_lender, database),
        reputation=_Reputation(clock),
        standing=standing.accepted_of,
        rounding=Roundings(hub.blobs.get),
        count_prompt=Prompts(hub.blobs.get, partial(_vouched, database)),
        now=clock.now,
    )
    tuner = None if trainer is None else Tuner(database, hub.blobs, trainer, clock)
    community_parts = replace(parts(feedback), guards=EvalGuards(folder / "guards"))
    serve = Serve(
        desk=serving.counter,
        database=database,
        blobs=hub.blobs,
        clock=clock,
        identify=partial(_account, database),
        options=options,
        wrong_key=lambda address: hub.strangers.count(address, WRONG_KEY),
        trainer=trainer,
        tuning_happened=tuner.happened if tuner else lambda: None,
        workbench=Workbench.make(serving.counter, database, hub.blobs, clock),
        community=community_parts,
    )
    return Half(
        serving=serving,
        serve=serve,
        batcher=Batcher(database, hub.blobs, answerer(serve), clock),
        improver=Improver(database, hub.blobs, serving.counter, clock, community_parts),
        tuner=tuner,
    )


def enter(app: FastAPI, half: Half) -> None:
    """Enter the routes. What comes after this under ``/v1`` is not reached."""
    app.state.serve = half.serve
    app.state.gateway = half.serving.gateway
    app.state.serving = half.serving
    for module in ROUTES:
        app.include_router(module.router)
    app.include_router(publishing_routes.promotions)
    app.include_router(door.router)
    app.include_router(chat_page.router)
    refuse_the_rest(app)


def _vouched(database: Database, identity: str) -> bool:
    with database.transaction() as connection:
        return accounts.OPERATOR in catalogue.publishers(connection, identity)


def forget(database: Database, now: float) -> None:
    """Take out what has expired: files and the stores of passages made of them."""
    with database.transaction() as connection:
        shelf.forget_expired(connection, now)
        stores.forget_expired(connection, now)


def _account(database: Database, secret: str) -> Account:
    with database.transaction() as connection:
        caller = identify(connection, secret)
    return Account(name=caller.owner, role=caller.role)


def _lender(database: Database, secret: str) -> Lender:
    with database.transaction() as connection:
        known = standing.of_key(connection, secret)
    return Lender(
        member=known.member,
        account=known.account,
        owner=known.owner,
        trusted=known.trusted,
        reputation=known.reputation,
        accepted=known.accepted,
    )


@dataclass(frozen=True, slots=True)
class _Reputation:
    """What an audit's verdict changes of a member."""

    clock: Clock

    def good(self, connection: sa.Connection, member: str) -> None:
        standing.judge(connection, member, good=True, now=self.clock.now())

    def bad(self, connection: sa.Connection, member: str, *, ban: bool) -> None:
        standing.judge(connection, member, good=False, ban=ban, now=self.clock.now())
