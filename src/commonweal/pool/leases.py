"""Leases: a unit is lent to one member at a time, under a fencing number.

Every function is one short step inside the caller's transaction. A lease that is lost stays lost: whoever hands
in under an old fencing number changes nothing and is told so. Taking a unit is a compare-and-set, so any number
of hub processes may lend from one queue without waiting for each other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import sqlalchemy as sa

from commonweal.core.errors import Conflict, NotFound
from commonweal.core.ids import MemberId, new_id
from commonweal.core.work import Amount, WorkUnit
from commonweal.pool import wire
from commonweal.pool.scheduler import MemberFacts, Offer, UnitFacts, choose, smoothed
from commonweal.pool.schema import attempts, jobs, members, rates, units

CANDIDATES = 32
WORK_CHANNEL = "commonweal_work"
DONE_CHANNEL = "commonweal_done"


class StaleLease(Conflict):
    code = "stale_lease"


def enqueue(
    connection: sa.Connection,
    job: str,
    planned: tuple[WorkUnit, ...],
    *,
    deadline: float,
    pickup_seconds: float,
    now: float,
) -> None:
    """Queue units and wake one waiting member for each."""
    for unit in planned:
        row = _row(job, unit) | {
            "deadline": deadline,
            "pickup_until": now + pickup_seconds,
            "created": now,
        }
        connection.execute(units.insert().values(row))
        announce(connection, row["id"], unit.needs.role, unit.prefers)


def announce(connection: sa.Connection, unit: str, role: str, prefers: str | None) -> None:
    """Wake the member that the unit prefers, or one member with the role. Delivered at commit."""
    connection.execute(sa.select(sa.func.pg_notify(WORK_CHANNEL, f"{unit} {role} {prefers or '-'}")))


def lease(
    connection: sa.Connection, member: MemberId, body: wire.LeaseRequest, *, ttl: float, now: float
) -> wire.Lease | None:
    """Lend the best unit for ``member``, or None. A repeated request gets the same lease again."""
    again = _leased_before(connection, member, body.request_id, ttl)
    if again is not None:
        return again
    candidates = _candidates(connection, member, list(body.roles))
    if not candidates:
        return None
    facts = _facts(connection, member, body)
    busy = _busy(connection, {unit.job for unit in candidates})
    for offer in choose(facts, candidates, busy, now):
        taken = _take(connection, member, offer, body.request_id, ttl=ttl, now=now)
        if taken is not None:
            return taken
    return None


def renew(
    connection: sa.Connection, member: MemberId, progress: wire.Progress, *, ttl: float, now: float
) -> bool:
    """Keep a lease; False if it is lost."""
    done = connection.execute(
        units.update()
        .where(_held(member, progress.unit, progress.fence))
        .values(leased_until=now + ttl, progress=progress.amount_done)
    )
    return done.rowcount == 1


def submit(
    connection: sa.Connection, member: MemberId, unit: str, body: wire.Submit, *, now: float
) -> wire.Submitted:
    """Hand in a unit. Raises StaleLease when the lease is no longer this member's."""
    result = {
        "report": body.report,
        "blobs": dict(body.blobs),
        "amount_done": body.amount_done,
        "seconds": body.seconds,
    }
    done = connection.execute(
        units.update()
        .where(_held(member, unit, body.fence))
        .values(status="submitted", result=result, submitted_at=now, progress=body.amount_done)
        .returning(units.c.job, units.c.leased_at)
    ).first()
    if done is None:
        return _already_handed_in(connection, member, unit, body.fence)
    _measure_rate(connection, member, done.job, body, elapsed=now - done.leased_at)
    connection.execute(sa.select(sa.func.pg_notify(DONE_CHANNEL, done.job)))
    return wire.Submitted(duplicate=False)


def give_back(
    connection: sa.Connection, member: MemberId, unit: str, body: wire.Release, *, now: float
) -> None:
    """Hand a lease back undone; the unit goes to another member. Nothing happens if it was lost before."""
    row = connection.execute(
        sa.select(units).where(_held(member, unit, body.fence)).with_for_update()
    ).first()
    if row is None:
        return
    if body.failure == "out_of_memory":
        limit = sa.func.least(sa.func.coalesce(members.c.memory_limit, row.memory), row.memory)
        connection.execute(members.update().where(members.c.id == member).values(memory_limit=limit))
    outcome = body.failure or "released"
    requeue(connection, row, outcome=f"{outcome}: {body.message}" if body.message else outcome, now=now)


def expire(connection: sa.Connection, now: float) -> int:
    """Take back the leases whose members fell silent; returns how many."""
    lost = connection.execute(
        sa.select(units)
        .where(units.c.status == "leased", units.c.leased_until < now)
        .with_for_update(skip_locked=True)
        .limit(500)
    ).all()
    for row in lost:
        requeue(connection, row, outcome="expired", now=now)
    return len(lost)


def open_to_all(connection: sa.Connection, now: float) -> int:
    """Offer to everyone the units whose preferred member did not come in time."""
    rows = connection.execute(
        units.update()
        .where(units.c.status == "queued", units.c.prefers.is_not(None), units.c.pickup_until < now)
        .values(prefers=None)
        .returning(units.c.id, units.c.role)
    ).all()
    for row in rows:
        announce(connection, row.id, row.role, None)
    return len(rows)


def requeue(connection: sa.Connection, row: sa.Row[Any], *, outcome: str, now: float) -> None:
    """End an attempt. The unit is queued again, unless it has used up its attempts or its group would have to
    wait for it: who takes over a grouped unit must be done when the others are."""
    connection.execute(
        attempts.insert().values(
            unit=row.id,
            fence=row.fence,
            member=row.member,
            leased_at=row.leased_at,
            ended_at=now,
            outcome=outcome[:500],
        )
    )
    target = row.amount["target_seconds"]
    deadline = min(row.deadline, row.leased_at + 1.2 * target) if row.group else row.deadline
    worthwhile = deadline - now > 0.3 * target and row.attempt < row.max_attempts
    connection.execute(
        units.update()
        .where(units.c.id == row.id)
        .values(
            status="queued" if worthwhile else "dropped",
            failure=outcome[:500],
            member=None,
            request_id=None,
            prefers=None,
            deadline=deadline,
            pickup_until=now,
            progress=0,
        )
    )
    if worthwhile:
        announce(connection, row.id, row.role, None)
    connection.execute(sa.select(sa.func.pg_notify(DONE_CHANNEL, row.job)))


def _row(job: str, unit: WorkUnit) -> dict[str, Any]:
    return {
        "id": new_id("unit"),
        "job": job,
        "key": unit.key,
        "group": unit.group,
        "kind": unit.kind,
        "payload": dict(unit.payload),
        "amount": asdict(unit.amount),
        "role": unit.needs.role,
        "memory": unit.needs.memory_bytes,
        "min_reputation": unit.needs.min_reputation,
        "prefers": unit.prefers,
        "excludes": list(unit.excludes),
        "max_attempts": unit.max_attempts,
    }


def _held(member: MemberId, unit: str, fence: int) -> sa.ColumnElement[bool]:
    return sa.and_(
        units.c.id == unit, units.c.member == member, units.c.fence == fence, units.c.status == "leased"
    )


def _leased_before(
    connection: sa.Connection, member: MemberId, request_id: str, ttl: float
) -> wire.Lease | None:
    row = connection.execute(
        sa.select(units).where(
            units.c.member == member, units.c.request_id == request_id, units.c.status == "leased"
        )
    ).first()
    return None if row is None else _as_lease(row, seconds=row.deadline - row.leased_at, ttl=ttl)


def _candidates(connection: sa.Connection, member: MemberId, roles: list[str]) -> list[UnitFacts]:
    rows = connection.execute(
        sa.select(units)
        .join(jobs, jobs.c.id == units.c.job)
        .where(units.c.status == "queued", units.c.role.in_(roles), jobs.c.status == "running")
        .where(sa.or_(units.c.prefers.is_(None), units.c.prefers == member))
        .order_by((units.c.prefers == member).desc().nulls_last(), units.c.created)
        .limit(CANDIDATES)
    ).all()
    return [
        UnitFacts(
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
        for row in rows
    ]


def _facts(connection: sa.Connection, member: MemberId, body: wire.LeaseRequest) -> MemberFacts:
    row = connection.execute(
        sa.select(members.c.reputation, members.c.memory_limit, members.c.roles).where(members.c.id == member)
    ).one()
    speeds: Mapping[str, float] = {
        r.job: r.rate for r in connection.execute(sa.select(rates).where(rates.c.member == member))
    }
    taken = connection.execute(
        sa.select(units.c.job, units.c.group)
        .where(units.c.member == member, units.c.status.in_(["leased", "submitted"]))
        .union(
            sa.select(units.c.job, units.c.group)
            .join(attempts, attempts.c.unit == units.c.id)
            .where(attempts.c.member == member, units.c.status.in_(["queued", "leased", "submitted"]))
        )
    )
    memory = body.free_memory if row.memory_limit is None else min(body.free_memory, row.memory_limit - 1)
    return MemberFacts(
        id=member,
        roles=frozenset(body.roles) & frozenset(row.roles),
        kinds=frozenset(body.kinds),
        memory=memory,
        reputation=row.reputation,
        rates=speeds,
        groups=frozenset((r.job, r.group) for r in taken if r.group),
    )


def _busy(connection: sa.Connection, among: set[str]) -> dict[str, int]:
    rows = connection.execute(
        sa.select(units.c.job, sa.func.count().label("n"))
        .where(units.c.status == "leased", units.c.job.in_(among))
        .group_by(units.c.job)
    )
    return {row.job: row.n for row in rows}


def _take(
    connection: sa.Connection, member: MemberId, offer: Offer, request_id: str, *, ttl: float, now: float
) -> wire.Lease | None:
    """Take the offered unit if it is still there. SKIP LOCKED: another process may be taking it right now."""
    free = connection.execute(
        sa.select(units.c.id)
        .where(units.c.id == offer.unit, units.c.status == "queued")
        .with_for_update(skip_locked=True)
    ).first()
    if free is None:
        return None
    row = connection.execute(
        units.update()
        .where(units.c.id == offer.unit)
        .values(
            status="leased",
            member=member,
            request_id=request_id,
            asked=offer.amount,
            fence=units.c.fence + 1,
            attempt=units.c.attempt + 1,
            leased_at=now,
            leased_until=now + ttl,
        )
        .returning(units)
    ).one()
    return _as_lease(row, seconds=offer.seconds, ttl=ttl)


def _as_lease(row: sa.Row[Any], *, seconds: float, ttl: float) -> wire.Lease:
    return wire.Lease(
        unit=row.id,
        fence=row.fence,
        job=row.job,
        unit_key=row.key,
        kind=row.kind,
        payload=row.payload,
        amount=row.asked,
        seconds=seconds,
        ttl=ttl,
    )


def _already_handed_in(connection: sa.Connection, member: MemberId, unit: str, fence: int) -> wire.Submitted:
    row = connection.execute(sa.select(units).where(units.c.id == unit)).first()
    if row is None:
        raise NotFound(f"no unit {unit}")
    if row.member == member and row.fence == fence and row.submitted_at is not None:
        return wire.Submitted(duplicate=True)
    raise StaleLease(
        f"the lease on {row.key} was lost: nothing was changed",
        hint="ask for new work; hand in sooner or send heartbeats",
    )


def _measure_rate(
    connection: sa.Connection, member: MemberId, job: str, body: wire.Submit, *, elapsed: float
) -> None:
    """Speed at a job, from what was done in the time that it took. A member cannot claim to have computed for
    longer than it had the lease; one that claims less is asked for more than it can do, to its own loss."""
    seconds = min(body.seconds, elapsed)
    if body.amount_done <= 0 or seconds <= 0:
        return
    old = connection.execute(
        sa.select(rates.c.rate).where(rates.c.member == member, rates.c.job == job)
    ).scalar()
    rate = smoothed(old, body.amount_done / seconds)
    if old is None:
        connection.execute(rates.insert().values(member=member, job=job, rate=rate, samples=1))
    else:
        connection.execute(
            rates.update()
            .where(rates.c.member == member, rates.c.job == job)
            .values(rate=rate, samples=rates.c.samples + 1)
        )
