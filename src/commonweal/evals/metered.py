"""A completer whose use is counted: a judge's tokens belong to what an evaluation spends."""

from __future__ import annotations

from commonweal.core.completion import Abilities, Completer, Completion, Request
from commonweal.evals.budget import Spent


class Metered:
    """Asks ``inner`` and adds to ``spent``. Closing it closes ``inner``."""

    def __init__(self, inner: Completer, spent: Spent) -> None:
        self._inner, self._spent = inner, spent

    @property
    def abilities(self) -> Abilities:
        return self._inner.abilities

    async def complete(self, request: Request) -> Completion:
        completion = await self._inner.complete(request)
        self._spent.add(completion)
        return completion

    async def close(self) -> None:
        await self._inner.close()
