"""How fast members' links are, by what the hub saw of their transfers.

Bytes that come through the hub are timed here. Of bytes that went straight to the store, and of downloads that fit
into the buffers between the hub and the member, only the member knows how long they took: its word is taken for that,
within what the hub saw (how many bytes there were, since when, and how long sending them took). So no claim makes a
link faster than the hub could send, nor slower than the clock allows, and none counts without bytes that moved. What a
member can still do is to move its bytes slowly; what that may cost others is bounded where rounds are planned
(:mod:`~commonweal.pool.scheduler`, and the job's own plan).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from commonweal.core.ids import MemberId
from commonweal.pool import wire
from commonweal.pool.scheduler import smoothed
from commonweal.pool.schema import members, transfers

LEAST_BYTES = 16_384
"""Less says more about the time that a request takes than about the link."""

BUFFERED_BYTES = 8 * 2**20
"""Of a download of so many bytes most must have left before sending ends: it is timed here. A smaller one may wait in
the buffers of the network for a slow link, long after the hub has handed it over."""

_FASTEST = 1e11
_SEEN = sa.select(transfers).join(members, members.c.id == transfers.c.member)


def uploaded(connection: sa.Connection, member: MemberId, size: int, seconds: float) -> None:
    """``size`` bytes came through the hub in so many seconds."""
    if size >= LEAST_BYTES:
        _measured(connection, member, "upload", size, seconds)


def awaited(connection: sa.Connection, member: MemberId, now: float) -> None:
    """The member was told where in the store to upload to."""
    since = sa.case((transfers.c.up_bytes > 0, transfers.c.up_since), else_=now)
    _note(connection, member, {"up_since": now}, {"up_since": since})


def stored(connection: sa.Connection, member: MemberId, size: int, now: float) -> None:
    """``size`` bytes of the member's have arrived in the store."""
    more = {
        "up_bytes": transfers.c.up_bytes + size,
        "up_since": sa.func.coalesce(transfers.c.up_since, now),
    }
    _note(connection, member, {"up_bytes": size, "up_since": now}, more)


def downloaded(
    connection: sa.Connection, member: MemberId, size: int, *, began: float, seconds: float
) -> None:
    """``size`` bytes were sent to the member; 0 ``seconds`` if it was told where in the store they are."""
    if size >= BUFFERED_BYTES and seconds > 0:
        _measured(connection, member, "download", size, seconds)
        return
    first = {"down_bytes": size, "down_seconds": seconds, "down_since": began}
    more = {
        "down_bytes": transfers.c.down_bytes + size,
        "down_seconds": transfers.c.down_seconds + seconds,
        "down_since": sa.case((transfers.c.down_bytes > 0, transfers.c.down_since), else_=began),
    }
    _note(connection, member, first, more)


def claimed(connection: sa.Connection, member: MemberId, moved: wire.Transfers, now: float) -> None:
    """Take in how long the member says that transfers took which only it could time."""
    if max(moved.up_bytes, moved.down_bytes) < LEAST_BYTES:
        return
    seen = connection.execute(_SEEN.where(members.c.id == member).with_for_update(key_share=True)).first()
    if seen is None:
        return
    spent: dict[str, float] = {}
    if (size := min(moved.up_bytes, seen.up_bytes)) >= LEAST_BYTES:
        _measured(connection, member, "upload", size, _within(moved.up_seconds, 0.0, now - seen.up_since))
        spent |= {"up_bytes": seen.up_bytes - size}
    if (size := min(moved.down_bytes, seen.down_bytes)) >= LEAST_BYTES:
        seconds = _within(moved.down_seconds, seen.down_seconds, now - seen.down_since)
        _measured(connection, member, "download", size, seconds)
        spent |= {"down_bytes": seen.down_bytes - size, "down_seconds": 0.0}
    if spent:
        connection.execute(transfers.update().where(transfers.c.member == member).values(spent))


def _within(seconds: float, least: float, most: float) -> float:
    return max(least, min(seconds, max(0.0, most)))


def _measured(
    connection: sa.Connection, member: MemberId, way: Literal["upload", "download"], size: int, seconds: float
) -> None:
    """Smooth a speed in. The row is locked: of two transfers that end at once none is lost."""
    column = members.c[way]
    old = connection.scalar(sa.select(column).where(members.c.id == member).with_for_update(key_share=True))
    speed = min(size / max(seconds, size / _FASTEST), _FASTEST)
    connection.execute(members.update().where(members.c.id == member).values({way: smoothed(old, speed)}))


def _note(
    connection: sa.Connection,
    member: MemberId,
    first: Mapping[str, float],
    more: Mapping[str, Any],
) -> None:
    new = insert(transfers).values(member=member, **first)
    connection.execute(new.on_conflict_do_update(index_elements=["member"], set_=more))
