"""The hub's end of one member's connection: asks go out, events come back to whoever asked.

What the member writes is a stranger's: it is decoded strictly, counted, and bounded; whoever breaks the rules is
parted with. What goes out is queued, and a member that does not read it is parted with too. The state of the asks
lives as long as the connection."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable, Iterable
from typing import Protocol

from commonweal.core.completion import Request
from commonweal.core.errors import InvalidContribution
from commonweal.serve.gateway.frames import (
    AskFrame,
    Cancel,
    Done,
    Events,
    Failure,
    Frame,
    FromMember,
    Goodbye,
    Leave,
    Load,
    Loaded,
    ModelSpec,
    Ping,
    Unload,
    Unloaded,
    decode_member,
    encode,
)
from commonweal.serve.router.dispatcher import Dispatcher
from commonweal.serve.router.inbox import TOO_SLOW, WORKER_LOST, Inbox
from commonweal.serve.router.worker import Wanted, Worker

log = logging.getLogger(__name__)

MOST_WAITING = 64 << 20
"""Bytes that may wait to be sent to a member."""


class Socket(Protocol):
    """A WebSocket, as far as this needs one. ``receive`` raises EOFError at the end."""

    async def receive(self) -> bytes | str: ...

    async def send(self, data: bytes) -> None: ...

    async def close(self, reason: str) -> None: ...


class Connection:
    """A :class:`~commonweal.serve.router.dispatcher.Link` to the worker at the other end."""

    def __init__(
        self, socket: Socket, worker: Worker, dispatcher: Dispatcher, now: Callable[[], float]
    ) -> None:
        self._socket, self.worker, self._dispatcher, self._now = socket, worker, dispatcher, now
        self._asks: dict[int, Inbox] = {}
        self._last = 0
        self._out: deque[bytes] = deque()
        self._out_bytes = 0
        self._more = asyncio.Event()
        self._ending: str | None = None

    async def serve(self) -> None:
        """Until either side ends it. The worker is here from now on, and gone afterwards."""
        writer = asyncio.create_task(self._write(), name="serve-write")
        self._dispatcher.join(self.worker, self)
        try:
            while self._ending is None:
                data = await self._socket.receive()
                self._heard(decode_member(data), len(data))
        except EOFError:
            pass
        except InvalidContribution as error:
            log.warning("serve.refused member=%s reason=%s", self.worker.lender.member, error.message)
            self.close(error.message)
        finally:
            self._end()
            self._more.set()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(asyncio.shield(writer), 2.0)
            writer.cancel()

    def ask(self, wanted: Wanted, request: Request, inbox: Inbox) -> Callable[[], None]:
        self._last = number = self._last + 1
        self._send(AskFrame(number=number, identity=wanted.identity, request=request))
        self._asks[number] = inbox
        return lambda: self._cancel(number)

    def load(self, model: ModelSpec, evict: Iterable[str]) -> None:
        for identity in evict:
            self._send(Unload(identity=identity))
        self._send(Load(model=model))

    def close(self, reason: str) -> None:
        if self._ending is None:
            self._send(Goodbye(reason=reason))
            self._ending = reason
            self._more.set()

    def _cancel(self, number: int) -> None:
        if self._asks.pop(number, None) is not None:
            self._send(Cancel(number=number))

    def _heard(self, frame: FromMember, size: int) -> None:
        match frame:
            case Events(asks=asks):
                self._events(asks, size)
                self._dispatcher.heard(self.worker.id)
            case Ping(state=state):
                self._dispatcher.update(self.worker.id, state)
            case Loaded():
                self._dispatcher.loaded(self.worker.id, frame)
            case Unloaded(identity=identity):
                self._dispatcher.unloaded(self.worker.id, identity)
            case Leave():
                self._dispatcher.leaving(self.worker.id)
            case _:
                raise InvalidContribution("a member says hello once")

    def _events(self, asks: Iterable[tuple[int, Iterable[object]]], size: int) -> None:
        told, now = list(asks), self._now()
        share = size // max(len(told), 1)
        for number, said in told:
            inbox = self._asks.get(number)
            if inbox is None:  # it was cancelled, and this was on its way
                continue
            things = list(said)
            last = next((i for i, each in enumerate(things) if isinstance(each, Done | Failure)), None)
            if last is not None:
                things = things[: last + 1]
                del self._asks[number]
            if not inbox.say(things, share, now):  # type: ignore[arg-type]
                log.warning("serve.slow_reader member=%s kind=%s", self.worker.lender.member, TOO_SLOW)
                self._asks.pop(number, None)
                self._send(Cancel(number=number))

    def _send(self, frame: Frame) -> None:
        data = encode(frame)
        if self._ending is not None:
            return
        self._out.append(data)
        self._out_bytes += len(data)
        if self._out_bytes > MOST_WAITING:
            self._ending = "it does not read what it is sent"
        self._more.set()

    async def _write(self) -> None:
        try:
            while True:
                while self._out:
                    data = self._out.popleft()
                    await self._socket.send(data)
                    self._out_bytes -= len(data)
                if self._ending is not None:
                    break
                self._more.clear()
                await self._more.wait()
        except (OSError, RuntimeError, EOFError) as error:
            self._ending = self._ending or f"{type(error).__name__}"
        with contextlib.suppress(OSError, RuntimeError, EOFError):
            await self._socket.close(self._ending[:100])

    def _end(self) -> None:
        self._ending = self._ending or "the connection ended"
        self._dispatcher.leave(self.worker.id, self._ending)
        for inbox in self._asks.values():
            inbox.end(Failure(kind=WORKER_LOST, message=self._ending))
        self._asks.clear()
