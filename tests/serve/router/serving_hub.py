"""Hubs that serve, with real connections and mock engines, for tests: all in one event loop."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import sqlalchemy as sa
import uvicorn
from fastapi import FastAPI

from commonweal.core.completion import Request
from commonweal.core.database import Database
from commonweal.core.errors import NotAuthorized
from commonweal.core.hashing import BlobHash, content_hash
from commonweal.core.streaming import Event, Piece
from commonweal.ledger import audit, journal
from commonweal.ledger.accounts import AccountId, balance, open_account
from commonweal.serve.billing.books import BookOptions
from commonweal.serve.billing.schema import usage
from commonweal.serve.bus import Bus, LocalBus
from commonweal.serve.catalogue import ServedModel, identity_of, publish
from commonweal.serve.desk import Ask
from commonweal.serve.gateway import door
from commonweal.serve.router.models import spec_of
from commonweal.serve.router.peers import PeerTimes
from commonweal.serve.router.worker import Lender, RouterOptions
from commonweal.serve.serving import Serving, ServingOptions
from commonweal.serve.worker.engine import MockEngine
from commonweal.serve.worker.member import ServeSettings, ServingMember

MODEL = "tiny"
RICH = 10**12
_numbers = itertools.count(1)


class Store:
    """Blobs in memory."""

    def __init__(self) -> None:
        self.blobs: dict[str, bytes] = {}

    def put(self, data: bytes) -> BlobHash:
        name = content_hash(data)
        self.blobs[name] = data
        return name

    def get(self, blob: BlobHash) -> bytes:
        return self.blobs[blob]


STORE = Store()
FILES = {"config.json": STORE.put(b"{}"), "model.safetensors": STORE.put(b"weights")}


def served(name: str = MODEL, **changes: Any) -> ServedModel:
    files: Mapping[str, BlobHash] = {**FILES, "name.txt": STORE.put(name.encode())}
    model = ServedModel(
        name=name,
        kind="full",
        owner="operator",
        files=files,
        identity=identity_of(files, base=None),
        parameters=1000,
        window=4096,
        price_in=1000,
        price_out=3000,
        created=0.0,
    )
    return replace(model, **changes)


def prepare(database: Database, *models: ServedModel, credits: Mapping[str, int] | None = None) -> None:
    """Publish models and give accounts credits."""
    with database.transaction() as connection:
        for model in models or (served(),):
            publish(connection, model)
        for account, amount in (credits or {"alice": RICH}).items():
            open_account(connection, AccountId(account), "user")
            if amount:
                journal.grant(
                    connection,
                    key=f"grant-{account}",
                    account=AccountId(account),
                    microcredits=amount,
                    now=1.0,
                )


def lender(member: str, **changes: Any) -> Lender:
    account = f"member:{member}"
    return replace(Lender(member=member, account=account, owner=account, accepted=1000), **changes)


@dataclass
class Hub:
    """A hub process in miniature."""

    serving: Serving
    url: str
    lenders: dict[str, Lender]
    server: uvicorn.Server
    tasks: list[asyncio.Task[Any]] = field(default_factory=list)

    def ask(self, prompt: str = "say something", account: str = "alice", **changes: Any) -> Ask:
        ask_changes = {k: changes.pop(k) for k in ("trusted", "priority", "id") if k in changes}
        request = replace(Request(model=MODEL, prompt=prompt, max_tokens=16, temperature=1.0), **changes)
        name = ask_changes.pop("id", f"ask-{next(_numbers)}")
        return Ask(id=name, account=account, request=request, **ask_changes)

    async def events(self, ask: Ask) -> list[Event]:
        return [event async for event in self.serving.counter.stream(ask)]

    async def text(self, ask: Ask) -> str:
        return "".join(e.text for e in await self.events(ask) if isinstance(e, Piece))

    async def until(self, condition: Callable[[], bool], seconds: float = 10.0) -> None:
        async with asyncio.timeout(seconds):
            while not condition():  # noqa: ASYNC110
                await asyncio.sleep(0.005)

    def workers(self) -> int:
        return len(self.serving.dispatcher.workers)


@contextlib.asynccontextmanager
async def running_hub(
    database: Database,
    *,
    bus: Bus | None = None,
    router: RouterOptions | None = None,
    books: BookOptions | None = None,
    lenders: dict[str, Lender] | None = None,
    **parts: Any,
) -> AsyncIterator[Hub]:
    known = {} if lenders is None else lenders

    def identify(key: str) -> Lender:
        if key not in known:
            raise NotAuthorized("this key is not known here")
        return known[key]

    options = ServingOptions(
        router=router or RouterOptions(),
        books=books or BookOptions(every=0.05, fee=100),
        audits=parts.pop("audits", None),
        peers=parts.pop("peers", PeerTimes(beat=0.2, gone=1.0, news=0.01)),
    )
    serving = Serving.make(database, identify=identify, options=options, bus=bus or LocalBus(), **parts)
    app = FastAPI()
    app.include_router(door.router)
    app.state.gateway = serving.gateway
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    server = uvicorn.Server(
        uvicorn.Config(app, log_level="error", lifespan="off", ws_per_message_deflate=False)
    )
    server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign]
    async with serving.running():
        task = asyncio.create_task(server.serve(sockets=[listener]))
        while not server.started:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        try:
            yield Hub(serving, url, known, server)
        finally:
            server.should_exit = True
            server.force_exit = True
            await task
            listener.close()


@dataclass
class Member:
    engine: MockEngine
    serving: ServingMember
    leave: asyncio.Event
    task: asyncio.Task[None]

    async def stop(self) -> None:
        self.leave.set()
        await self.task

    async def kill(self) -> None:
        """Gone without a word, as by a power cut: the connection breaks, nothing is said."""
        self.task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self.task


@contextlib.asynccontextmanager
async def member(
    hub: Hub,
    folder: Path,
    *models: ServedModel,
    name: str = "",
    engine: MockEngine | None = None,
    slots: int = 8,
    memory: int = 10**9,
    loads: bool = True,
    judges: bool = False,
    wait: bool = True,
    grace: float = 5.0,
    **about: Any,
) -> AsyncIterator[Member]:
    """A member that has ``models`` loaded (default: the one model)."""
    name = name or f"mem_{next(_numbers)}"
    hub.lenders[f"key-{name}"] = lender(name, **about)
    engine = engine or MockEngine()
    specs = tuple(spec_of(None, each) for each in models)  # type: ignore[arg-type]
    settings = ServeSettings(
        url=hub.url,
        key=f"key-{name}",
        folder=folder / name,
        memory=memory,
        slots=slots,
        loads=loads,
        judges=judges,
        served=specs,
        first_wait=0.05,
        longest_wait=0.2,
        grace=grace,
    )
    serving, leave = ServingMember(settings, engine, STORE.get), asyncio.Event()
    before = hub.workers()
    task = asyncio.create_task(serving.run(leave))
    if wait:
        await hub.until(lambda: hub.workers() > before)
    made = Member(engine, serving, leave, task)
    try:
        yield made
    finally:
        leave.set()
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError, NotAuthorized):
            await task


def rows(database: Database) -> list[Any]:
    with database.transaction() as connection:
        return list(connection.execute(sa.select(usage).order_by(usage.c.at)))


def exact(database: Database, *, start: Mapping[str, int]) -> dict[str, int]:
    """Prove the books: they verify, nothing is held any more, and each account spent what its usage says. Returns what
    each of ``start`` has left."""
    with database.transaction() as connection:
        found = audit.verify(connection)
        assert found.ok, found.problems
        left = {name: balance(connection, AccountId(name)) for name in start}
        spent = dict(
            connection.execute(
                sa.select(usage.c.account, sa.func.sum(usage.c.microcredits)).group_by(usage.c.account)
            ).all()
        )
    for name, had in start.items():
        assert left[name].held == 0, f"{name} has {left[name].held} held"
        assert had - left[name].total == spent.get(name, 0), name
    return {name: each.total for name, each in left.items()}


def credit(database: Database, account: str) -> int:
    with database.transaction() as connection:
        return balance(connection, AccountId(account)).total
