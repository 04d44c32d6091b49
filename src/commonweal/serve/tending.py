"""A loop that starts a task for whatever has something to be done, and looks again at every tick."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Sequence

from commonweal.core.errors import CommonwealError

log = logging.getLogger(__name__)


async def tend(
    what: str,
    waiting: Callable[[], Sequence[str]],
    drive: Callable[[str], Awaitable[None]],
    *,
    every: float,
) -> None:
    """``drive`` each of what is ``waiting`` (asked in a thread), one task an id, until cancelled. What ``drive`` raises
    is logged, and the id is driven again at a later tick."""
    going: dict[str, asyncio.Task[None]] = {}
    try:
        while True:
            with contextlib.suppress(CommonwealError):  # the database is away: at the next tick
                for one in await asyncio.to_thread(waiting):
                    if one not in going:
                        going[one] = asyncio.create_task(_driven(what, one, drive), name=one)
            going = {one: task for one, task in going.items() if not task.done()}
            await asyncio.sleep(every)
    finally:
        for task in going.values():
            task.cancel()
        await asyncio.gather(*going.values(), return_exceptions=True)


async def _driven(what: str, one: str, drive: Callable[[str], Awaitable[None]]) -> None:
    try:
        await drive(one)
    except CommonwealError as error:
        log.warning("%s.waits id=%s error=%s", what, one, error)
    except Exception:
        log.exception("%s.failed id=%s", what, one)
