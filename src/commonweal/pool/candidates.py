"""What a member may be lent: the reads behind a lease. Taking a unit is the business of ``leases``.

Members that wait ask again and again, so what an empty poll costs decides how many members a hub keeps. Building a
statement of this size takes SQLAlchemy many times as long as PostgreSQL needs to answer it. So each is built once,
when this module is imported, and everything that varies is a parameter: lists too, as arrays, because ``IN`` is
expanded at every call.
"""

from __future__ import annotations

from collections.abc import Set
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY

from commonweal.core.ids import MemberId
from commonweal.core.work import Amount
from commonweal.pool import wire
from commonweal.pool.scheduler import MemberFacts, UnitFacts
from commonweal.pool.schema import attempts, jobs, members, rates, units

CANDIDATES_PER_JOB = 16

_MEMBER = sa.bindparam("member", type_=sa.Text)
_AMONG = sa.any_(sa.bindparam("among", type_=ARRAY(sa.Text)))


def _groups() -> sa.Select[tuple[str, str]]:
    """(job, group) wherever the member has or had a unit that is not folded yet."""
    inner = units.alias("held")
    held = sa.select(inner.c.job, inner.c.group).where(
        inner.c.member == _MEMBER, inner.c.status.in_(["leased", "submitted"])
    )
    had = (
        sa.select(inner.c.job, inner.c.group)
        .join(attempts, attempts.c.unit == inner.c.id)
        .where(attempts.c.member == _MEMBER, inner.c.status.in_(["queued", "leased", "submitted"]))
    )
    both = held.union_all(had).subquery("taken")
    return sa.select(both.c.job, both.c.group)


_GROUPS = _groups()


def _fits() -> list[sa.ColumnElement[bool]]:
    free = sa.bindparam("free_memory", type_=sa.BigInteger)
    return [
        units.c.role == sa.any_(sa.bindparam("roles", type_=ARRAY(sa.Text))),
        units.c.role == sa.any_(members.c.roles),
        units.c.kind == sa.any_(sa.bindparam("kinds", type_=ARRAY(sa.Text))),
        units.c.memory <= sa.func.least(free, members.c.memory_limit - 1),
        units.c.min_reputation <= members.c.reputation,
        sa.all_(units.c.excludes) != _MEMBER,
        sa.or_(units.c.group == "", sa.tuple_(units.c.job, units.c.group).not_in(_GROUPS)),
    ]


def _candidates() -> sa.Select[Any]:
    """The first units of every running job. Filtered here and not only by ``choose``, so that neither a job with
    many units nor units that nobody can do hide those behind them."""
    mine = units.c.prefers == _MEMBER
    unit = (
        sa.select(
            units.c.id, units.c.job, units.c.group, units.c.kind, units.c.role, units.c.memory,
            units.c.min_reputation, units.c.prefers, units.c.excludes, units.c.amount, units.c.deadline,
            units.c.pickup_until, units.c.created,
        )
        .where(units.c.job == jobs.c.id, units.c.status == "queued", sa.or_(mine, units.c.prefers.is_(None)))
        .where(*_fits(), units.c.deadline > sa.bindparam("now", type_=sa.Double))
        .order_by(mine.desc().nulls_last(), units.c.created, units.c.id)
        .limit(CANDIDATES_PER_JOB)
        .lateral("unit")
    )  # fmt: skip
    return (
        sa.select(unit)
        .select_from(jobs.join(members, members.c.id == _MEMBER).join(unit, sa.true()))
        .where(jobs.c.status == "running")
    )


_CANDIDATES = _candidates()
_STANDING = sa.select(
    members.c.reputation, members.c.memory_limit, members.c.roles, members.c.upload, members.c.download,
    members.c.missed,
).where(members.c.id == _MEMBER)  # fmt: skip
_SPEEDS = sa.select(rates.c.job, rates.c.rate).where(
    rates.c.member == _MEMBER,
    rates.c.job == _AMONG,
    rates.c.measured > sa.bindparam("measured_since", type_=sa.Double),
)
_BUSY = (
    sa.select(units.c.job, sa.func.count().label("n"))
    .where(units.c.status == "leased", units.c.job == _AMONG)
    .group_by(units.c.job)
)


def candidates(
    connection: sa.Connection, member: MemberId, body: wire.LeaseRequest, now: float
) -> list[UnitFacts]:
    """The first units of every running job that ``member`` may have, now."""
    asked = {
        "member": member,
        "roles": list(body.roles),
        "kinds": list(body.kinds),
        "free_memory": body.free_memory,
        "now": now,
    }
    return [_unit_facts(row) for row in connection.execute(_CANDIDATES, asked)]


def member_facts(
    connection: sa.Connection,
    member: MemberId,
    body: wire.LeaseRequest,
    among: Set[str],
    *,
    measured_since: float,
) -> MemberFacts:
    """What is to be known of ``member`` to choose ``among`` jobs. Speeds measured before that time are not."""
    row = connection.execute(_STANDING, {"member": member}).one()
    wanted = {"member": member, "among": list(among), "measured_since": measured_since}
    memory = body.free_memory if row.memory_limit is None else min(body.free_memory, row.memory_limit - 1)
    groups = connection.execute(_GROUPS, {"member": member})
    return MemberFacts(
        id=member,
        roles=frozenset(body.roles) & frozenset(row.roles),
        kinds=frozenset(body.kinds),
        memory=memory,
        reputation=row.reputation,
        rates={r.job: r.rate for r in connection.execute(_SPEEDS, wanted)},
        groups=frozenset((r.job, r.group) for r in groups if r.group),
        upload=row.upload,
        download=row.download,
        missed=row.missed,
    )


def busy(connection: sa.Connection, among: Set[str]) -> dict[str, int]:
    """How many members are at work, by job."""
    return {row.job: row.n for row in connection.execute(_BUSY, {"among": list(among)})}


def _unit_facts(row: sa.Row[Any]) -> UnitFacts:
    return UnitFacts(
        id=row.id,
        job=row.job,
        group=row.group,
        kind=row.kind,
        role=row.role,
        memory=row.memory,
        min_reputation=row.min_reputation,
        prefers=row.prefers,
        excludes=frozenset(row.excludes),
        amount=Amount(**row.amount),
        deadline=row.deadline,
        pickup_until=row.pickup_until,
        created=row.created,
    )
