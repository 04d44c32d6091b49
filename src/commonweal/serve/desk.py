"""Where the API asks, and does not care who answers: one protocol, and what is asked.

Behind it (``serve.router``, ``serve.billing``): the model is found, credits are held, a worker is chosen, its tokens
are counted and paid. A route sees events or one error of :mod:`commonweal.core.errors`:

    NotFound              no such model, for this account (the hint has the near names)
    InsufficientCredits   the account cannot pay the most that this may cost
    Overloaded            nobody is free soon; ``retry_after`` seconds
    Unavailable           nobody serves the model, and nobody can load it
    CompletionFailed      the request itself cannot be answered (too long, unsupported), or its worker was lost when
                          part of the answer was out already
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Protocol

from commonweal.core.completion import Request
from commonweal.core.streaming import Event


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """A request, and for whom. ``id`` is unique, shown to the caller and kept in the books. ``trusted`` demands workers
    of the operator's or of the account itself: others can read what they serve. A larger ``priority`` goes first, but
    waiting raises it too; batches ask with a negative one."""

    id: str
    account: str
    request: Request
    trusted: bool = False
    priority: int = 0


class Desk(Protocol):
    """Answers what is asked. Closing the iterator stops the work, pays for what was made and gives back the rest."""

    def stream(self, ask: Ask) -> AsyncIterator[Event]: ...
