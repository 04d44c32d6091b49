"""Members that wait for work, and the wake-ups that PostgreSQL sends: one for each unit, never all.

Lives on the hub's event loop. A unit's announcement wakes the member that it prefers if that one waits here,
or else the one that has waited longest with the unit's role. A woken member that could not take the unit passes
the wake on to the next, so no unit is left lying while somebody could do it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field

import psycopg

from commonweal.core.database import PATIENCE

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Waiter:
    """One waiting request."""

    member: str
    roles: frozenset[str]
    woken: asyncio.Event = field(default_factory=asyncio.Event)
    by: Announcement | None = None


@dataclass(frozen=True, slots=True)
class Announcement:
    """A unit is to be had."""

    unit: str
    role: str
    prefers: str | None
    tried: frozenset[str] = frozenset()


class WaitingRoom:
    """The requests that wait in this process, in order of arrival."""

    def __init__(self) -> None:
        self._waiters: dict[int, Waiter] = {}

    def enter(self, member: str, roles: frozenset[str]) -> Waiter:
        waiter = Waiter(member, roles)
        self._waiters[id(waiter)] = waiter
        return waiter

    def leave(self, waiter: Waiter) -> None:
        """Go. An announcement that came too late for this waiter is for another."""
        self._waiters.pop(id(waiter), None)
        if waiter.by is not None:
            self.wake(waiter.by)

    def heard(self, waiter: Waiter) -> Announcement | None:
        """What woke the waiter; from now on it can be woken again. To be called *before* looking for work, so
        that what is announced while it looks is not missed."""
        by, waiter.by = waiter.by, None
        waiter.woken.clear()
        return by

    def wake(self, announcement: Announcement) -> None:
        """Wake the best waiter for a unit, if there is one."""
        for waiter in self._waiters.values():
            fits = waiter.member == announcement.prefers if announcement.prefers else True
            if (
                fits
                and announcement.role in waiter.roles
                and not waiter.woken.is_set()
                and waiter.member not in announcement.tried
            ):
                waiter.by = announcement
                waiter.woken.set()
                return

    def pass_on(self, waiter: Waiter, heard: Announcement | None) -> None:
        """The waiter did not take the unit that woke it: let the next one try."""
        if heard is not None:
            self.wake(Announcement(heard.unit, heard.role, heard.prefers, heard.tried | {waiter.member}))

    def wake_all(self) -> None:
        """After the connection to PostgreSQL was lost, announcements may have been missed."""
        for waiter in self._waiters.values():
            waiter.woken.set()

    def __len__(self) -> int:
        return len(self._waiters)


async def listen(
    dsn: str, channels: dict[str, Callable[[str], None]], *, reconnected: Callable[[], None]
) -> None:
    """Deliver PostgreSQL notifications to ``channels`` until cancelled; reconnects when the server returns."""
    delay = 0.2
    while True:
        try:
            connection = await psycopg.AsyncConnection.connect(dsn, autocommit=True, **PATIENCE)
            async with connection:
                for channel in channels:
                    await connection.execute(
                        psycopg.sql.SQL("listen {}").format(psycopg.sql.Identifier(channel))
                    )
                reconnected()
                delay = 0.2
                async for notification in connection.notifies():
                    _deliver(channels, notification)
        except (psycopg.Error, OSError) as error:
            log.warning("listen.lost error=%s", error)
        await asyncio.sleep(delay)
        delay = min(delay * 2, 5.0)


def _deliver(channels: dict[str, Callable[[str], None]], notification: psycopg.Notify) -> None:
    """Anyone with the database's password may notify: what cannot be understood is not for us."""
    try:
        channels[notification.channel](notification.payload)
    except ValueError:
        log.warning("listen.odd channel=%s payload=%.80r", notification.channel, notification.payload)


def parse_announcement(payload: str) -> Announcement:
    """The payload that :func:`commonweal.pool.leases.announce` sends."""
    unit, role, prefers = payload.split(" ")
    return Announcement(unit, role, None if prefers == "-" else prefers)
