"""What the member says, on its way to the hub: batched when it is busy, at once when it is not.

Events of all asks go into one buffer. The sender takes all of it and sends one frame, no sooner than ``linger`` after
the last one: a lone token goes at once, and the tokens of thirty-two streams go together. When the hub reads slowly the
buffer fills, and those who add to it wait: no memory is filled on this side.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from time import monotonic

from commonweal.serve.gateway.frames import Events, Frame, Said, encode

LINGER = 0.004
MOST = 4096
"""Events that may wait."""
_MOST_OF_A_FRAME = 1024


class Outbox:
    """One sender (:meth:`run`), many that add. After :meth:`end` nothing is sent any more."""

    def __init__(self, send: Callable[[bytes], Awaitable[None]], *, linger: float = LINGER) -> None:
        self._send, self._linger = send, linger
        self._events: dict[int, list[Said]] = {}
        self._count = 0
        self._frames: list[Frame] = []
        self._more, self._room = asyncio.Event(), asyncio.Event()
        self._room.set()
        self._idle = asyncio.Event()
        self._idle.set()
        self.ended = False

    async def add(self, number: int, said: Said) -> None:
        """Something about the ask ``number``; waits while there is no room."""
        while not self._room.is_set() and not self.ended:
            await self._room.wait()
        self._events.setdefault(number, []).append(said)
        self._count += 1
        if self._count >= MOST:
            self._room.clear()
        self._idle.clear()
        self._more.set()

    def put(self, frame: Frame) -> None:
        """A frame of its own, before the events that wait."""
        self._frames.append(frame)
        self._idle.clear()
        self._more.set()

    def drop(self, number: int) -> None:
        """The ask was cancelled: nobody wants to hear it."""
        self._count -= len(self._events.pop(number, ()))

    async def run(self) -> None:
        """Send until the connection ends (the error of ``send`` passes) or :meth:`end`."""
        last = 0.0
        while not (self.ended and not self._frames and not self._events):
            await self._more.wait()
            if (early := last + self._linger - monotonic()) > 0:
                await asyncio.sleep(early)
            self._more.clear()
            for data in self._take():
                await self._send(data)
            last = monotonic()
            if not self._events and not self._frames:
                self._idle.set()

    def end(self) -> None:
        """Send what is there, and no more."""
        self.ended = True
        self._more.set()
        self._room.set()

    async def emptied(self) -> None:
        """Wait until everything was sent."""
        await self._idle.wait()

    def _take(self) -> list[bytes]:
        frames, self._frames = self._frames, []
        events, self._events, self._count = self._events, {}, 0
        self._room.set()
        made = [encode(frame) for frame in frames]
        batch: list[tuple[int, list[Said]]] = []
        size = 0
        for number, said in events.items():
            for start in range(0, len(said), _MOST_OF_A_FRAME):
                part = said[start : start + _MOST_OF_A_FRAME]
                batch.append((number, part))
                size += len(part)
                if size >= _MOST_OF_A_FRAME:
                    made.append(encode(Events(asks=batch)))
                    batch, size = [], 0
        if batch:
            made.append(encode(Events(asks=batch)))
        return made
