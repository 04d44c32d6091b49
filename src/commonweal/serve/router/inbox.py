"""The events of one ask, on their way from a worker to who asked.

Bounded: who reads too slowly is cut off rather than kept in memory. One reader; writers on the same event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from commonweal.serve.gateway.frames import Done, Failure, Said
from commonweal.serve.router.worker import Lender

WORKER_LOST = "worker_lost"
TOO_SLOW = "too_slow"
LARGEST = 8 << 20
"""Bytes that wait for a reader, as they came over the wire."""


class Inbox:
    """``ended`` once the last was said. ``seated`` is who answers, as soon as that is known."""

    __slots__ = ("_said", "_size", "_woken", "begun", "ended", "heard", "seated")

    def __init__(self, now: float) -> None:
        self._said: list[Said] = []
        self._size = 0
        self._woken: asyncio.Future[None] | None = None
        self.ended = False
        self.begun = False
        self.heard = now
        self.seated: Lender | None = None

    def say(self, said: Sequence[Said], size: int, now: float) -> bool:
        """More of the answer; ``size`` is what it took on the wire. False if the reader is cut off."""
        if self.ended:
            return True
        self.heard = now
        self._size += size
        if self._size > LARGEST:
            self.end(Failure(kind=TOO_SLOW, message="the answer was read too slowly, and is dropped"))
            return False
        self._said.extend(said)
        if said:
            last = said[-1]
            self.ended = isinstance(last, Done | Failure)
            self.begun = self.begun or not isinstance(said[0], Done | Failure)
        self._wake()
        return True

    def end(self, why: Failure) -> None:
        """Nothing more will come."""
        if not self.ended:
            self._said.append(why)
            self.ended = True
            self._wake()

    async def take(self) -> list[Said]:
        """Everything that was said since the last time; waits for the first."""
        while not self._said:
            self._woken = asyncio.get_running_loop().create_future()
            await self._woken
        said, self._said, self._size = self._said, [], 0
        return said

    def _wake(self) -> None:
        if self._woken is not None and not self._woken.done():
            self._woken.set_result(None)
