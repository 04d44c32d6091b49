"""Where members knock: ``/serve/v1/connect``, a WebSocket that a member opens with its key.

The door finds out who it is (by a callable that the hub's wiring hands in), hears the hello, and hands the connection
on. Who has no valid key hears why, and nothing else.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from fastapi import APIRouter, WebSocket, WebSocketDisconnect
from starlette.websockets import WebSocketState

from commonweal.core.errors import CommonwealError, InvalidContribution, NotAuthorized
from commonweal.serve.gateway.connection import Connection
from commonweal.serve.gateway.frames import Goodbye, Hello, Welcome, decode_member, encode
from commonweal.serve.router.dispatcher import Dispatcher
from commonweal.serve.router.worker import Lender, Worker

log = logging.getLogger(__name__)

PATH = "/serve/v1/connect"
router = APIRouter()

_HELLO_SECONDS = 15.0
_MOST_OF_A_MEMBER = 8

Identify = Callable[[str], Lender]
"""Who a member's key belongs to. May block (it asks the database); raises NotAuthorized."""


@dataclass(slots=True)
class Gateway:
    """The members' side of a hub process, at ``app.state.gateway``. ``hub`` is this process's name."""

    hub: str
    dispatcher: Dispatcher
    identify: Identify
    now: Callable[[], float]
    numbers: itertools.count[int]

    @classmethod
    def make(
        cls, *, hub: str, dispatcher: Dispatcher, identify: Identify, now: Callable[[], float]
    ) -> Gateway:
        return cls(hub, dispatcher, identify, now, itertools.count(1))


@router.websocket(PATH)
async def connect(websocket: WebSocket) -> None:
    """A member's connection, as long as it lasts."""
    gateway = websocket.app.state.gateway
    assert isinstance(gateway, Gateway)
    try:
        lender = await asyncio.to_thread(gateway.identify, _key(websocket))
    except CommonwealError as error:
        await _refuse(websocket, error.message, final=isinstance(error, NotAuthorized))
        return
    await websocket.accept()
    socket = StarletteSocket(websocket)
    try:
        hello = await asyncio.wait_for(_hello(socket), _HELLO_SECONDS)
    except (InvalidContribution, TimeoutError, EOFError) as error:
        log.warning("serve.no_hello member=%s reason=%s", lender.member, error)
        await socket.farewell(str(error) or "no hello came")
        return
    if _connections(gateway, lender) >= _MOST_OF_A_MEMBER:
        await socket.farewell(f"a member may have {_MOST_OF_A_MEMBER} connections at once")
        return
    await socket.send(encode(Welcome(hub=gateway.hub)))
    worker = _worker(gateway, lender, hello)
    log.info("serve.joined member=%s worker=%s engine=%s", lender.member, worker.id, worker.engine)
    await Connection(socket, worker, gateway.dispatcher, gateway.now).serve()
    log.info("serve.left member=%s worker=%s", lender.member, worker.id)


class StarletteSocket:
    """Starlette's WebSocket as a :class:`~commonweal.serve.gateway.connection.Socket`."""

    def __init__(self, websocket: WebSocket) -> None:
        self._websocket = websocket

    async def receive(self) -> bytes | str:
        message = await self._websocket.receive()
        if message["type"] != "websocket.receive":
            raise EOFError
        data: bytes | str | None = message.get("bytes")
        return data if data is not None else message.get("text") or ""

    async def send(self, data: bytes) -> None:
        try:
            await self._websocket.send_bytes(data)
        except WebSocketDisconnect:
            raise EOFError from None

    async def close(self, reason: str) -> None:
        if self._websocket.application_state == WebSocketState.CONNECTED:
            with suppress(WebSocketDisconnect):  # it went first
                await self._websocket.close(1000, _short(reason))

    async def farewell(self, reason: str, *, final: bool = False) -> None:
        """Say why, and end it."""
        try:
            await self.send(encode(Goodbye(reason=reason, final=final)))
            await self.close(reason)
        except (EOFError, RuntimeError, OSError):
            pass  # it went before it heard


async def _hello(socket: StarletteSocket) -> Hello:
    frame = decode_member(await socket.receive())
    if not isinstance(frame, Hello):
        raise InvalidContribution("a member begins with its hello")
    return frame


async def _refuse(websocket: WebSocket, reason: str, *, final: bool) -> None:
    """An accepted connection that says why: a refused handshake would reach the member as a bare 403."""
    await websocket.accept()
    await StarletteSocket(websocket).farewell(reason, final=final)
    log.info("serve.turned_away final=%s reason=%s", final, reason)


def _key(websocket: WebSocket) -> str:
    header = websocket.headers.get("authorization", "")
    return header[7:].strip() if header.lower().startswith("bearer ") else ""


def _connections(gateway: Gateway, lender: Lender) -> int:
    return sum(
        1
        for each in gateway.dispatcher.workers.values()
        if each.lender.member == lender.member and not each.hub
    )


def _worker(gateway: Gateway, lender: Lender, hello: Hello) -> Worker:
    return Worker(
        id=f"{gateway.hub}/{next(gateway.numbers)}",
        lender=lender,
        engine=hello.engine,
        slots=hello.slots,
        loads=hello.loads,
        judges=hello.judges,
        memory=hello.memory,
        free=min(hello.state.free, hello.memory),
        names=hello.state.models,
        models=frozenset(hello.state.models.values()),
        loading=frozenset(hello.state.loading),
        held=hello.state.held,
        speeds=hello.state.speeds,
        heard=gateway.now(),
    )


def _short(reason: str) -> str:
    """A close frame has room for 123 bytes."""
    return reason.encode()[:120].decode(errors="ignore")
