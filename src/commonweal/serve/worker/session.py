"""One connection of a member to its hub, from the hello to the last answer."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Protocol

from commonweal.core.errors import NotAuthorized, Unavailable
from commonweal.serve.gateway.frames import (
    AskFrame,
    Cancel,
    Frame,
    FromHub,
    Goodbye,
    Hello,
    Leave,
    Load,
    Ping,
    Unload,
    Welcome,
    decode_hub,
    encode,
)
from commonweal.serve.worker.answering import Answering
from commonweal.serve.worker.engine import Engine
from commonweal.serve.worker.loading import Loading
from commonweal.serve.worker.outbox import Outbox
from commonweal.serve.worker.shelf import Shelf

log = logging.getLogger(__name__)

PULSE_SECONDS = 1.0


class Wire(Protocol):
    """An open WebSocket. Both raise EOFError when it is over."""

    async def send(self, data: bytes) -> None: ...

    async def receive(self) -> bytes | str: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What a member lends for serving: ``slots`` asks at once. ``loads``: models that it is sent.
    ``judges``: it scores the answers of others, and answers nothing else."""

    engine: Engine
    name: str
    slots: int
    shelf: Shelf
    loading: Loading
    loads: bool = True
    judges: bool = False


class Session:
    """``now`` is a clock in seconds; ``leave`` is set when the member wants to go."""

    def __init__(
        self, wire: Wire, machine: Machine, leave: asyncio.Event, now: Callable[[], float], *, grace: float
    ) -> None:
        self._wire, self._machine, self._leave, self._now, self._grace = wire, machine, leave, now, grace
        self._outbox = Outbox(wire.send)
        self._answering = Answering(machine.engine, machine.shelf, self._outbox, machine.slots, now)
        self._side: set[asyncio.Task[None]] = set()

    async def serve(self, welcomed: Callable[[], None] = lambda: None) -> None:
        """Until the hub is gone (Unavailable), does not want this member (NotAuthorized), or the member left."""
        try:
            await self._greet()
            welcomed()
            await self._until_first(self._read(), self._outbox.run(), self._pulse(), self._part())
        except EOFError:
            raise Unavailable("the connection to the hub ended") from None
        finally:
            self._outbox.end()
            await self._answering.stop()
            for task in list(self._side):
                task.cancel()
            await asyncio.gather(*self._side, return_exceptions=True)

    async def _greet(self) -> None:
        machine = self._machine
        hello = Hello(
            engine=machine.name,
            slots=machine.slots,
            memory=machine.shelf.memory,
            loads=machine.loads,
            judges=machine.judges,
            state=machine.shelf.state(self._now()),
        )
        with contextlib.suppress(EOFError):  # a hub that refuses has said why before it closed
            await self._wire.send(encode(hello))
        answer = decode_hub(await self._wire.receive())
        if isinstance(answer, Goodbye):
            raise _farewell(answer)
        if not isinstance(answer, Welcome):
            raise Unavailable("what answers there is no hub of this version")

    async def _until_first(self, *parts: Coroutine[Any, Any, None]) -> None:
        """Run the parts side by side until one ends, and pass on its error."""
        tasks = [asyncio.create_task(part) for part in parts]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _read(self) -> None:
        while True:
            self._heard(decode_hub(await self._wire.receive()))

    def _heard(self, frame: FromHub) -> None:
        match frame:
            case AskFrame():
                self._answering.begin(frame)
            case Cancel(number=number):
                self._answering.cancel(number)
            case Load(model=model):
                self._beside(self._machine.loading.load(model, self._say))
            case Unload(identity=identity):
                self._beside(self._machine.loading.unload(identity, self._say))
            case Goodbye():
                raise _farewell(frame)
            case Welcome():
                pass

    def _say(self, frame: Frame) -> None:
        """And the state with it, so that the hub knows what is free."""
        self._outbox.put(frame)
        self._outbox.put(Ping(state=self._machine.shelf.state(self._now())))

    def _beside(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._side.add(task)
        task.add_done_callback(self._side.discard)

    async def _pulse(self) -> None:
        """The member's state once a second: that it still lives, too."""
        while True:
            await asyncio.sleep(PULSE_SECONDS)
            self._outbox.put(Ping(state=self._machine.shelf.state(self._now())))

    async def _part(self) -> None:
        """When the member wants to go: no more asks, and the last words of those that are begun."""
        await self._leave.wait()
        self._outbox.put(Leave())
        await self._answering.leave(self._grace)
        await self._outbox.emptied()


def _farewell(frame: Goodbye) -> Unavailable | NotAuthorized:
    if frame.final:
        return NotAuthorized(f"the hub does not let this machine serve: {frame.reason}")
    return Unavailable(f"the hub ended the connection: {frame.reason}")
