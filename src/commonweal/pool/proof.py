"""The proof of the books, for all who ask, at the price of one replay at a time.

A replay reads every journal there is, so anyone with a key could keep a hub busy by asking. Here those who ask
while a replay is under way share it, and its outcome is the answer for a while after. It says what it holds for:
the head of the chain and the time. It is kept no longer than its cost allows, and never in part: only a replay from
the first journal on finds a past that was changed after it was proven once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from commonweal.core.clock import Clock
from commonweal.core.database import Database
from commonweal.ledger.audit import Verification, verify
from commonweal.ledger.chain import seal

KEPT_SECONDS = 60.0
_REST = 20
"""An outcome is kept for so many times as long as the replay took: so replays use a twentieth of a core at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """What a replay found that was begun ``at`` and took ``seconds``."""

    found: Verification
    at: float
    seconds: float

    def holds(self, now: float) -> bool:
        """Whether it is still good as an answer. One from the future was made before the clock was set back."""
        return 0 <= now - self.at < self.seconds + max(KEPT_SECONDS, _REST * self.seconds)


def replay(database: Database) -> Verification:
    """Give what waits for it its place in the chain, then audit all there is. Blocks for as long as that takes."""
    with database.transaction() as connection:
        seal(connection)
    with database.transaction() as connection:
        return verify(connection)


class Prover:
    """Lives on the hub's event loop. ``replay`` blocks, and is run in a thread."""

    def __init__(self, replay: Callable[[], Verification], clock: Clock) -> None:
        self._replay, self._clock = replay, clock
        self._last: Proof | None = None
        self._under_way: asyncio.Task[Proof] | None = None

    async def prove(self, *, anew: bool = False) -> Proof:
        """The last proof while it is good, or a new one. ``anew``: none that is over. One under way will do: whoever
        repeats a call that took too long would otherwise never be answered.

        Raises what the replay raised.
        """
        if self._last is not None and self._last.holds(self._clock.now()) and not anew:
            return self._last
        if self._under_way is None:
            self._under_way = asyncio.create_task(self._prove())
            self._under_way.add_done_callback(self._over)
        return await asyncio.shield(self._under_way)  # who goes away does not end it for the others

    async def _prove(self) -> Proof:
        at = self._clock.now()
        found = await asyncio.to_thread(self._replay)
        return Proof(found=found, at=at, seconds=max(0.0, self._clock.now() - at))

    def _over(self, task: asyncio.Task[Proof]) -> None:
        self._under_way = None
        if not task.cancelled() and task.exception() is None:
            self._last = task.result()
