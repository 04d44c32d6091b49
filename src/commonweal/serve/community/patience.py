"""Asking for somebody who does not watch: again and again while nobody has time, and then give up."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, Final, cast

from commonweal.core.completion import Completion, CompletionFailed, FailureKind, Request
from commonweal.core.errors import CommonwealError, Overloaded, Unavailable
from commonweal.core.ids import new_id
from commonweal.core.streaming import collected
from commonweal.serve.desk import Ask, Desk

PRIORITY: Final = -5
"""Before batches, after everybody who waits for an answer; at the price of who does not wait."""

PASSING: Final[frozenset[FailureKind]] = frozenset({"rate_limited", "server_error", "timeout", "unreachable"})
"""Failures of a request that the next try may not meet."""

_LONGEST_PAUSE = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """``at_once``: asks at the desk at a time. One is asked again for ``seconds``, first after ``pause``."""

    at_once: int = 8
    seconds: float = 600.0
    pause: float = 0.5


@dataclass(slots=True, kw_only=True)
class Asker:
    """Asks ``desk`` on the account of ``account``. ``answered`` counts. For one event loop."""

    desk: Desk
    account: str
    patience: Patience
    answered: int = 0
    _places: asyncio.Semaphore = field(init=False)

    def __post_init__(self) -> None:
        self._places = asyncio.Semaphore(self.patience.at_once)

    async def __call__(self, request: Request) -> Completion:
        """Raises what the desk raises, in the end."""
        deadline = asyncio.get_running_loop().time() + self.patience.seconds
        pause = self.patience.pause
        while True:
            try:
                async with self._places:
                    found = await self._once(request)
                self.answered += 1
                return found
            except CommonwealError as error:
                if not passing(error) or asyncio.get_running_loop().time() + pause > deadline:
                    raise
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    async def _once(self, request: Request) -> Completion:
        ask = Ask(id=new_id("req"), account=self.account, request=request, priority=PRIORITY)
        async with aclosing(cast(Any, self.desk.stream(ask))) as events:
            found = await collected(events, model=request.model)
        if any(choice.finish == "error" for choice in found.choices):
            raise CompletionFailed("server_error", "the model failed while it generated this answer")
        return found


def passing(error: Exception) -> bool:
    """Whether asking again may help."""
    if isinstance(error, CompletionFailed):
        return error.kind in PASSING
    return isinstance(error, Overloaded | Unavailable)
