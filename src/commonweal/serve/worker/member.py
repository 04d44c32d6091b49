"""A machine that serves: it keeps one connection to its hub, whatever happens to the hub, until it is told to stop.

Runs in a thread with an event loop of its own, beside whatever else the machine does (training, say):

    serving = ServingMember(settings, engine, get, told=show)
    serving.start()
    ...
    serving.stop()      # hands back what is not begun, finishes the rest, leaves

Models stay loaded over reconnections.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random
from time import monotonic

import websockets
from websockets.asyncio.client import ClientConnection, connect

from commonweal.core.errors import CommonwealError, InvalidContribution, NotAuthorized, Unavailable
from commonweal.serve.gateway.frames import LARGEST_ASK, ModelSpec
from commonweal.serve.worker.engine import Engine
from commonweal.serve.worker.files import Get
from commonweal.serve.worker.loading import Loading
from commonweal.serve.worker.session import Machine, Session
from commonweal.serve.worker.shelf import Shelf

log = logging.getLogger(__name__)

PATH = "/serve/v1/connect"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeSettings:
    """``url`` is the hub's address (``https://...``) and ``key`` the member's. ``memory``: bytes for all models
    together. ``served``: models that are there from the start (who fronts a server; ``loads`` is False then).
    ``judges``: it only scores the
    answers of others. ``first_wait`` and ``longest_wait``: seconds between attempts to reach the hub, at most,
    doubling. ``grace``: seconds for answers that are begun when the member leaves. ``pace``: the seconds to wait before
    so many bytes are sent; the machine's limit on uploads, which others may share."""

    url: str
    key: str
    folder: Path
    memory: int
    slots: int = 8
    name: str = "transformers"
    loads: bool = True
    judges: bool = False
    served: tuple[ModelSpec, ...] = ()
    first_wait: float = 0.5
    longest_wait: float = 15.0
    grace: float = 20.0
    pace: Callable[[int], float] = lambda size: 0.0

    def __repr__(self) -> str:
        return f"ServeSettings(url={self.url!r}, name={self.name!r}, slots={self.slots})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What happens, for people: ``what`` is connected, away, or left."""

    what: str
    message: str = ""
    seconds: float = 0.0


class ServingMember:
    """``told`` is called from the member's own thread."""

    def __init__(
        self,
        settings: ServeSettings,
        engine: Engine,
        get: Get,
        *,
        told: Callable[[Told], None] = lambda _: None,
        random: Random | None = None,
    ) -> None:
        self._settings, self._engine, self._get, self._told = settings, engine, get, told
        self._random = random or Random()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._leave: asyncio.Event | None = None
        self._started = threading.Event()
        self.problem: CommonwealError | None = None
        """Why it ended by itself: the hub does not want this member."""

    def start(self) -> None:
        """Serve from now on, in a thread."""
        self._thread = threading.Thread(target=self._main, name="serve", daemon=True)
        self._thread.start()
        self._started.wait(10)

    def stop(self, timeout: float | None = None) -> None:
        """Leave, and wait for it."""
        if self._loop is not None and self._leave is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._leave.set)
        if self._thread is not None:
            self._thread.join(timeout if timeout is not None else self._settings.grace + 5)

    @property
    def alive(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    async def run(self, leave: asyncio.Event) -> None:
        """Serve until ``leave`` is set. Raises NotAuthorized if the hub does not want this member."""
        shelf = Shelf(self._settings.memory)
        for spec in self._settings.served:
            shelf.put(spec, 0, monotonic())
        machine = Machine(
            engine=self._engine,
            name=self._settings.name,
            slots=self._settings.slots,
            shelf=shelf,
            loading=Loading(self._engine, shelf, self._settings.folder, self._get, monotonic),
            loads=self._settings.loads,
            judges=self._settings.judges,
        )
        try:
            await self._stay(machine, leave)
        finally:
            await self._empty(shelf)
        self._told(Told(what="left"))

    async def _stay(self, machine: Machine, leave: asyncio.Event) -> None:
        failures = 0
        while not leave.is_set():
            began = monotonic()
            try:
                await self._connected(machine, leave)
            except (Unavailable, InvalidContribution) as error:
                failures = 1 if monotonic() - began > 10 else failures + 1
                await self._pause(error.message, failures, leave)

    async def _empty(self, shelf: Shelf) -> None:
        """Give the memory back: the machine may do something else now. Adapters go before their bases."""
        there = {spec.identity for spec in self._settings.served}
        for identity in [each for each in reversed(shelf.models()) if each not in there]:
            with suppress(CommonwealError):
                await self._engine.unload(identity)

    async def _connected(self, machine: Machine, leave: asyncio.Event) -> None:
        settings = self._settings
        headers = {"Authorization": f"Bearer {settings.key}"}
        try:
            async with connect(
                _address(settings.url),
                additional_headers=headers,
                compression=None,
                max_size=LARGEST_ASK,
                max_queue=64,
                open_timeout=10,
                ping_interval=10,
                ping_timeout=20,
                close_timeout=2,
            ) as socket:
                session = Session(
                    _Wire(socket, settings.pace), machine, leave, monotonic, grace=settings.grace
                )
                await session.serve(lambda: self._told(Told(what="connected", message=settings.url)))
        except (OSError, websockets.InvalidHandshake, websockets.ConnectionClosed, TimeoutError) as error:
            raise Unavailable(f"the hub cannot be reached: {error or type(error).__name__}") from error

    async def _pause(self, why: str, failures: int, leave: asyncio.Event) -> None:
        """Full jitter, so that a hub that comes back is not met by all members in one second."""
        ceiling = min(self._settings.longest_wait, self._settings.first_wait * 2.0 ** min(failures - 1, 30))
        seconds = self._random.uniform(0.0, ceiling)
        log.info("serve.away seconds=%.1f because=%s", seconds, why)
        self._told(Told(what="away", message=why, seconds=seconds))
        with suppress(TimeoutError):
            await asyncio.wait_for(leave.wait(), seconds)

    def _main(self) -> None:
        try:
            asyncio.run(self._in_thread())
        except NotAuthorized as error:
            self.problem = error
            self._told(Told(what="left", message=error.message))
        finally:
            self._started.set()

    async def _in_thread(self) -> None:
        self._loop, self._leave = asyncio.get_running_loop(), asyncio.Event()
        self._started.set()
        await self.run(self._leave)


class _Wire:
    """The connection of the websockets library as a session's wire."""

    def __init__(self, socket: ClientConnection, pace: Callable[[int], float]) -> None:
        self._socket, self._pace = socket, pace

    async def send(self, data: bytes) -> None:
        seconds = self._pace(len(data))
        if seconds > 0:
            await asyncio.sleep(seconds)
        try:
            await self._socket.send(data)
        except websockets.ConnectionClosed:
            raise EOFError from None

    async def receive(self) -> bytes | str:
        try:
            return await self._socket.recv()
        except websockets.ConnectionClosed:
            raise EOFError from None


def _address(url: str) -> str:
    """
    >>> _address("https://hub.example/")
    'wss://hub.example/serve/v1/connect'
    """
    scheme, _, rest = url.rstrip("/").partition("://")
    return f"{'wss' if scheme == 'https' else 'ws'}://{rest}{PATH}"
