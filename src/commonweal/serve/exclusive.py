"""The database's lock for those who run in an event loop: one process at a time does a thing."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from commonweal.core.database import Database


@contextlib.asynccontextmanager
async def exclusive(database: Database, name: str) -> AsyncIterator[bool]:
    """The database's lock, without holding up the event loop; let go even where the task is cancelled while it waits
    for it. Yields False at once if another has it."""
    lock = database.exclusive(name)
    entering = asyncio.ensure_future(asyncio.to_thread(lock.__enter__))
    try:
        yield await asyncio.shield(entering)
    finally:
        with contextlib.suppress(Exception):
            await entering
            await asyncio.shield(asyncio.to_thread(lock.__exit__, None, None, None))
