"""The pool as people see it: its members and its totals. Reads only."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from commonweal.core.errors import NotFound
from commonweal.ledger.schema import accounts as balances
from commonweal.pool import wire
from commonweal.pool.schema import jobs, members, units

AWAY_AFTER_SECONDS = 60.0


def list_members(connection: sa.Connection, *, now: float, limit: int) -> list[wire.MemberRow]:
    """Members, the most recently seen first."""
    earned = balances.c.available + balances.c.held + balances.c.escrow
    rows = connection.execute(
        sa.select(members, sa.func.coalesce(earned, 0).label("earned"))
        .outerjoin(balances, balances.c.account == sa.literal("member:") + members.c.id)
        .order_by(members.c.last_seen.desc(), members.c.id)
        .limit(limit)
    )
    return [_view(row, now) for row in rows]


def ban(connection: sa.Connection, member: str, *, banned: bool) -> None:
    """Give a member no more work (or again some). Raises NotFound."""
    state = "banned" if banned else "idle"
    if connection.execute(members.update().where(members.c.id == member).values(state=state)).rowcount == 0:
        raise NotFound(f"no member {member}", hint="see them all with: commonweal members")


def status(connection: sa.Connection, *, version: str, now: float) -> wire.Status:
    """Totals by state."""
    present = members.c.last_seen >= now - AWAY_AFTER_SECONDS
    state = sa.case(
        (sa.and_(members.c.state.in_(["idle", "working", "paused"]), ~present), "away"), else_=members.c.state
    )
    return wire.Status(
        version=version,
        members=_counts(connection, state),
        jobs=_counts(connection, jobs.c.status),
        units=_counts(connection, units.c.status),
    )


def _counts(connection: sa.Connection, column: sa.ColumnElement[Any]) -> dict[str, int]:
    labelled = column.label("label")
    rows = connection.execute(sa.select(labelled, sa.func.count().label("n")).group_by(labelled))
    return {row.label: row.n for row in rows}


def _view(row: sa.Row[Any], now: float) -> wire.MemberRow:
    silent = now - row.last_seen > AWAY_AFTER_SECONDS
    return wire.MemberRow(
        id=row.id,
        name=row.name,
        state="away" if silent and row.state in ("idle", "working", "paused") else row.state,
        client_version=row.client_version,
        roles=row.roles,
        platform=row.platform,
        joined=row.joined,
        last_seen=row.last_seen,
        reputation=row.reputation,
        accepted=row.accepted,
        refused=row.refused,
        upload=row.upload,
        download=row.download,
        free_memory=row.free_memory,
        earned=row.earned,
    )
