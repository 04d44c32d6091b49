"""Asks in the hands of a member: each a task that asks the engine and says what it says.

At most ``slots`` run at once; one beyond that waits and counts as not begun, so that it can be handed back when the
member leaves. A failure of the engine ends its own ask and nothing else.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import replace
from typing import Any, cast

from commonweal.core.completion import CompletionFailed
from commonweal.core.errors import CommonwealError, Overloaded
from commonweal.core.streaming import Piece
from commonweal.serve.gateway.frames import HANDED_BACK, AskFrame, Done, Failure, Speed
from commonweal.serve.worker.engine import Engine
from commonweal.serve.worker.outbox import Outbox
from commonweal.serve.worker.shelf import Shelf

log = logging.getLogger(__name__)


class Answering:
    """The asks of one connection."""

    def __init__(
        self, engine: Engine, shelf: Shelf, outbox: Outbox, slots: int, now: Callable[[], float]
    ) -> None:
        self._engine, self._shelf, self._outbox, self._now = engine, shelf, outbox, now
        self._slots = asyncio.Semaphore(slots)
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._begun: set[int] = set()
        self.leaving = False

    @property
    def running(self) -> int:
        return len(self._tasks)

    def begin(self, ask: AskFrame) -> None:
        task = asyncio.create_task(self._answer(ask), name=f"serve-ask-{ask.number}")
        self._tasks[ask.number] = task
        task.add_done_callback(lambda _: self._over(ask.number))

    def cancel(self, number: int) -> None:
        """Nobody wants to hear it: stop."""
        task = self._tasks.get(number)
        if task is not None:
            task.cancel()
        self._outbox.drop(number)

    async def leave(self, grace: float) -> None:
        """Hand back what is not begun, and give the rest ``grace`` seconds."""
        self.leaving = True
        for number in [each for each in self._tasks if each not in self._begun]:
            self._tasks[number].cancel()
            await self._outbox.add(number, Failure(kind=HANDED_BACK, message="this member is leaving"))
        if self._tasks:
            await asyncio.wait(list(self._tasks.values()), timeout=grace)

    async def stop(self) -> None:
        """End everything now."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _answer(self, ask: AskFrame) -> None:
        try:
            async with self._slots:
                await self._begin(ask)
        except CompletionFailed as error:
            await self._outbox.add(ask.number, Failure(kind=error.kind, message=error.message))
        except Overloaded as error:
            await self._outbox.add(ask.number, Failure(kind="rate_limited", message=error.message))
        except CommonwealError as error:
            await self._outbox.add(ask.number, Failure(kind="server_error", message=error.message))
        except Exception as error:  # the engine is broken for this one; the others may go on
            log.exception("serve.engine_failed model=%s", ask.identity)
            await self._outbox.add(ask.number, Failure(kind="server_error", message=type(error).__name__))

    async def _begin(self, ask: AskFrame) -> None:
        if self.leaving or not self._shelf.has(ask.identity):
            why = "it is leaving" if self.leaving else "the model is not loaded here"
            await self._outbox.add(ask.number, Failure(kind=HANDED_BACK, message=why))
            return
        self._begun.add(ask.number)
        self._shelf.asked(ask.identity)
        began, first, tokens = self._now(), None, 0
        speed: Speed | None = None
        try:
            events = self._engine.stream(replace(ask.request, model=ask.identity))
            async with aclosing(cast(Any, events)):
                async for event in events:
                    await self._outbox.add(ask.number, event)
                    if first is None:
                        first = self._now()
                    if isinstance(event, Piece):
                        tokens += len(event.tokens) or 1
            await self._outbox.add(ask.number, Done())
            if first is not None and tokens > 1:
                took = max(self._now() - first, 1e-6)
                speed = Speed(tokens=(tokens - 1) / took, first=first - began)
        finally:
            self._shelf.answered(ask.identity, self._now(), speed)

    def _over(self, number: int) -> None:
        self._tasks.pop(number, None)
        self._begun.discard(number)
