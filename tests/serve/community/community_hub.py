"""A live server with the community routes and the chat page, and a desk that says what a test tells it to."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
from fastapi import FastAPI

from commonweal.core.blobs import Blobs
from commonweal.core.clock import Clock, ManualClock
from commonweal.core.database import Database
from commonweal.core.errors import NotAuthorized
from commonweal.core.hashing import content_hash
from commonweal.core.streaming import Ended, Event, Piece, Usage
from commonweal.serve import catalogue
from commonweal.serve.api import community, fine_tuning, models
from commonweal.serve.api.context import Account, Serve
from commonweal.serve.catalogue import ServedModel
from commonweal.serve.community.parts import Community
from commonweal.serve.desk import Ask
from commonweal.serve.tools.workbench import Workbench
from commonweal.serve.tuning.trainer import Trainer
from served_app import serving

ACCOUNTS = {
    "cw-ann": Account(name="user:ann"),
    "cw-bob": Account(name="user:bob"),
    "cw-op": Account(name="operator", role="admin"),
}

Step = Event | Exception | str | threading.Event
Script = Callable[[Ask], Sequence[Step]]


def said(text: str, *, words: int | None = None) -> list[Step]:
    """An answer in pieces of one word, with its end."""
    pieces = text.split(" ")
    made: list[Step] = [
        Piece(text=piece if i == 0 else f" {piece}") for i, piece in enumerate(pieces[:words])
    ]
    return [*made, Ended(finish="stop"), Usage(prompt_tokens=7, completion_tokens=len(pieces), seconds=0.5)]


@dataclass(slots=True)
class ScriptedDesk:
    """``script`` says what happens for an ask: events, errors to raise, and gates to wait at."""

    script: Script = lambda ask: said(f"Answer of {ask.request.model}.")
    asks: list[Ask] = field(default_factory=list)
    closed: list[str] = field(default_factory=list)

    async def stream(self, ask: Ask) -> AsyncIterator[Event]:
        self.asks.append(ask)
        try:
            for step in self.script(ask):
                if isinstance(step, threading.Event):
                    while not step.is_set():  # noqa: ASYNC110  a test opens the gate from its thread
                        await asyncio.sleep(0.005)
                elif isinstance(step, Exception):
                    raise step
                elif isinstance(step, str):
                    yield Piece(text=step)
                else:
                    yield step
        finally:
            self.closed.append(ask.id)


def identify(secret: str) -> Account:
    if secret not in ACCOUNTS:
        raise NotAuthorized("this key is not known here", hint="ask the hub's operator for a valid key")
    return ACCOUNTS[secret]


def publish(database: Database, name: str, **changes: Any) -> ServedModel:
    fields: dict[str, Any] = {
        "name": name,
        "kind": "full",
        "owner": "operator",
        "files": {},
        "identity": content_hash(name.encode()),
        "parameters": 1_000_000,
        "window": 512,
        "price_in": 100,
        "price_out": 300,
        "created": 1.0,
    }
    with database.transaction() as connection:
        return catalogue.publish(connection, ServedModel(**fields | changes))


@dataclass(frozen=True, slots=True, kw_only=True)
class CommunityHub:
    url: str
    desk: ScriptedDesk
    serve: Serve
    app: FastAPI

    def client(self, key: str = "cw-ann") -> httpx.Client:
        return httpx.Client(base_url=self.url, headers={"Authorization": f"Bearer {key}"}, timeout=30)


@contextmanager
def running(
    database: Database,
    blobs: Blobs,
    *,
    clock: Clock | None = None,
    parts: Community | None = None,
    pages: Sequence[Any] = (),
    trainer: Trainer | None = None,
) -> Iterator[CommunityHub]:
    """Serve until the block ends."""
    desk = ScriptedDesk()
    serve = Serve(
        desk=desk,
        database=database,
        blobs=blobs,
        clock=clock or ManualClock(1000.0),
        identify=identify,
        community=parts or Community(),
        trainer=trainer,
        workbench=Workbench.make(desk, database, blobs, clock or ManualClock(1000.0)),
    )
    app = FastAPI()
    app.state.serve = serve
    for router in (community.router, models.router, fine_tuning.router, *pages):
        app.include_router(router)
    with serving(app, lifespan="off") as url:
        yield CommunityHub(url=url, desk=desk, serve=serve, app=app)
