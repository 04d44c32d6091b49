"""The pool as people see it: its members and its totals, and the operator's word on a member."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from commonweal.core.errors import NotFound
from commonweal.ledger.schema import accounts as balances
from commonweal.pool import accounts, wire
from commonweal.pool.leases import requeue
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


def ban(connection: sa.Connection, member: str, *, banned: bool, now: float) -> None:
    """Refuse a member everything and give what it was lent to others (or let it come back). Raises NotFound."""
    here = members.c.id == member
    state = connection.execute(
        sa.select(members.c.state).where(here).with_for_update(key_share=True)
    ).scalar()
    if state is None:
        raise _unknown(member)
    if banned == (state == "banned"):
        return
    connection.execute(members.update().where(here).values(state="banned" if banned else "left"))
    if banned:
        for row in _lent_to(connection, member):
            requeue(connection, row, outcome="banned", now=now)


def trust(connection: sa.Connection, member: str, *, trusted: bool) -> None:
    """The operator's word for a machine. Raises NotFound."""
    found = connection.execute(members.update().where(members.c.id == member).values(trusted=trusted))
    if not found.rowcount:
        raise _unknown(member)


def _unknown(member: str) -> NotFound:
    return NotFound(f"no member {member}", hint="see them all with: commonweal members")


def _lent_to(connection: sa.Connection, member: str) -> Sequence[sa.Row[Any]]:
    lent = sa.select(units).where(units.c.member == member, units.c.status == "leased")
    return connection.execute(lent.order_by(units.c.id).with_for_update()).all()


def status(connection: sa.Connection, *, version: str, now: float) -> wire.Status:
    """Totals by state."""
    return wire.Status(
        version=version,
        members=count_by(connection, shown_state(now)),
        jobs=count_by(connection, jobs.c.status),
        units=count_by(connection, units.c.status),
    )


def shown_state(now: float) -> sa.ColumnElement[str]:
    """A member's state as people see it: who is silent is away."""
    silent = members.c.last_seen < now - AWAY_AFTER_SECONDS
    return sa.case(
        (sa.and_(members.c.state.in_(["idle", "working", "paused"]), silent), "away"), else_=members.c.state
    )


def count_by(connection: sa.Connection, column: sa.ColumnElement[Any]) -> dict[str, int]:
    """How many rows have which value."""
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
        owner=row.owner,
        trusted=row.trusted or row.owner == accounts.OPERATOR,
        upload=row.upload,
        download=row.download,
        free_memory=row.free_memory,
        earned=row.earned,
    )
