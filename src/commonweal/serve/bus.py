"""Messages between the hub processes of one database: small, fast, and lost without harm.

A message goes to one process by its name or to all (:data:`EVERYONE`). In one process messages are handed over in the
event loop; between processes they are PostgreSQL notifications: several in one, and cut into parts where they exceed
what a notification may carry. What is lost when the connection is lost is noticed by those who wait for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
from collections.abc import Callable
from time import monotonic
from typing import Protocol

import orjson
import psycopg

from commonweal.core.database import PATIENCE
from commonweal.core.errors import Overloaded

log = logging.getLogger(__name__)

EVERYONE = "all"
Handler = Callable[[object], None]
"""Gets a message (plain JSON) in the event loop. May not raise."""

_LONGEST = 7900
_ASCII_PART, _ANY_PART = 7800, 1900
"""Characters of a part: a character may have four bytes."""
_LINGER, _URGENT = 0.02, 0.003
_MOST_WAITING = 64 << 20


class Bus(Protocol):
    """``send`` never waits; messages from one sender to one receiver keep their order. What is ``urgent`` is not held
    back for company, and takes along what waits."""

    def send(self, to: str, message: object, *, urgent: bool = False) -> None: ...

    async def listen(self, name: str, handler: Handler) -> None:
        """Be ``name`` from now on: its messages and everyone's go to ``handler``."""
        ...

    async def close(self) -> None: ...


class LocalBus:
    """Between hubs of one event loop. One instance a hub, all on one ``room``."""

    def __init__(self, room: dict[str, Handler] | None = None) -> None:
        self._room = {} if room is None else room
        self._name = ""

    def send(self, to: str, message: object, *, urgent: bool = False) -> None:
        copy = orjson.loads(orjson.dumps(message))
        for name, handler in list(self._room.items()):
            if name == to or (to == EVERYONE and name != self._name):
                asyncio.get_running_loop().call_soon(handler, copy)

    async def listen(self, name: str, handler: Handler) -> None:
        self._name = name
        self._room[name] = handler

    async def close(self) -> None:
        self._room.pop(self._name, None)


class PostgresBus:
    """``linger``: seconds that messages wait for company after others were sent; the first goes at once."""

    def __init__(self, dsn: str, *, linger: float = _LINGER) -> None:
        self._dsn, self._linger = dsn, linger
        self._out: dict[str, list[bytes]] = {}
        self._size = 0
        self._more, self._hurry = asyncio.Event(), asyncio.Event()
        self._serial = itertools.count(1)
        self._name = ""
        self._tasks: list[asyncio.Task[None]] = []
        self._heard = asyncio.Event()

    def send(self, to: str, message: object, *, urgent: bool = False) -> None:
        """Raises Overloaded where the database takes nothing and too much waits."""
        data = orjson.dumps(message)
        if self._size + len(data) > _MOST_WAITING:
            raise Overloaded("the hub's processes cannot reach each other", retry_after=5.0)
        self._out.setdefault(to, []).append(data)
        self._size += len(data)
        self._more.set()
        if urgent:
            self._hurry.set()

    async def listen(self, name: str, handler: Handler) -> None:
        """Returns when messages are heard."""
        self._name = name
        self._tasks = [
            asyncio.create_task(self._hear(handler), name="bus-hear"),
            asyncio.create_task(self._say(), name="bus-say"),
        ]
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._heard.wait(), 10)

    async def close(self) -> None:
        for _ in range(50):
            if not self._out:
                break
            await asyncio.sleep(0.01)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _hear(self, handler: Handler) -> None:
        delay = 0.1
        while True:
            try:
                connection = await psycopg.AsyncConnection.connect(self._dsn, autocommit=True, **PATIENCE)
                async with connection:
                    for channel in (_channel(self._name), _channel(EVERYONE)):
                        await connection.execute(
                            psycopg.sql.SQL("listen {}").format(psycopg.sql.Identifier(channel))
                        )
                    self._heard.set()
                    delay = 0.1
                    parcels = Parcels()
                    async for notice in connection.notifies():
                        for sender, message in parcels.opened(notice.pid, notice.payload):
                            if sender != self._name:
                                handler(message)
            except (psycopg.Error, OSError) as error:
                log.warning("bus.lost error=%s", error)
            await asyncio.sleep(delay)
            delay = min(delay * 2, 5.0)

    async def _say(self) -> None:
        delay = 0.1
        while True:
            try:
                connection = await psycopg.AsyncConnection.connect(self._dsn, autocommit=True, **PATIENCE)
                async with connection:
                    # Lost messages are noticed by those who wait, so nothing need be flushed to the disk for them.
                    await connection.execute("set synchronous_commit = off")
                    delay = 0.1
                    await self._say_on(connection)
            except (psycopg.Error, OSError) as error:
                log.warning("bus.silent error=%s", error)
            await asyncio.sleep(delay)
            delay = min(delay * 2, 5.0)

    async def _say_on(self, connection: psycopg.AsyncConnection[object]) -> None:
        last = 0.0
        while True:
            await self._more.wait()
            await self._linger_since(last)
            self._more.clear()
            self._hurry.clear()
            out, self._out, self._size = self._out, {}, 0
            channels, payloads = [], []
            for to, messages in out.items():
                for part in packed(self._name, messages, next(self._serial)):
                    channels.append(_channel(to))
                    payloads.append(part)
            await connection.execute(
                "select pg_notify(c, p) from unnest(%s::text[], %s::text[]) with ordinality as t (c, p, n) order by n",
                (channels, payloads),
            )
            last = monotonic()

    async def _linger_since(self, last: float) -> None:
        """Wait for company; a little even where something is urgent: a commit costs as much as a hundred messages."""
        with contextlib.suppress(TimeoutError):
            if (early := last + self._linger - monotonic()) > 0:
                await asyncio.wait_for(self._hurry.wait(), early)
        if (early := last + _URGENT - monotonic()) > 0:
            await asyncio.sleep(early)


def packed(sender: str, messages: list[bytes], serial: int) -> list[str]:
    """Messages as the payloads of notifications: JSON, in as many parts as it needs. Each part begins with its serial,
    its place and how many there are, so no two payloads are alike: PostgreSQL delivers equal ones once."""
    text = orjson.dumps(sender).decode() + ",[" + b",".join(messages).decode() + "]"
    size = _ASCII_PART if text.isascii() else _ANY_PART
    parts = [text[start : start + size] for start in range(0, len(text), size)]
    return [f"{serial} {place} {len(parts)} {part}" for place, part in enumerate(parts)]


class Parcels:
    """Puts the parts together again, for each sender's connection (``pid``)."""

    def __init__(self) -> None:
        self._parts: dict[int, tuple[str, list[str]]] = {}

    def opened(self, pid: int, payload: str) -> list[tuple[str, object]]:
        """Sender and message of everything that this part completes."""
        try:
            serial, place, total, part = payload.split(" ", 3)
            known, parts = self._parts.pop(pid, (serial, []))
            if known != serial:
                parts = []
            if int(place) != len(parts):  # the beginning was missed
                return []
            parts.append(part)
            if len(parts) < int(total):
                self._parts[pid] = (serial, parts)
                return []
            sender, messages = orjson.loads("[" + "".join(parts) + "]")
            return [(str(sender), message) for message in messages]
        except (ValueError, TypeError):
            log.warning("bus.odd payload=%.80r", payload)
            return []


def _channel(name: str) -> str:
    return f"serve_{name}"[:63]
