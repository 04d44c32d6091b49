"""Leases: a unit is lent to one member at a time, under a fencing number.

Every function is one short step inside the caller's transaction. A lease that is lost stays lost: whoever hands
in under an old fencing number changes nothing and is told so. Taking a unit is a compare-and-set, so any number
of hub processes may lend from one queue without waiting for each other.

Rows are locked in one order everywhere, the member's before its units', so nothing here can deadlock with a fold.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, insert

from commonweal.core.errors import Conflict, NotFound
from commonweal.core.ids import MemberId, new_id
from commonweal.core.work import WorkUnit
from commonweal.pool import quota, wire
from commonweal.pool.candidates import busy, candidates, member_facts
from commonweal.pool.scheduler import (
    Offer,
    UnitFacts,
    choose,
    latest_start,
    patience,
    retry_until,
    smoothed,
)
from commonweal.pool.schema import attempts, members, rates, units

_TRIES = 4  # other processes may be faster at every unit that was found
RATE_IS_GOOD_FOR = 3600.0
"""Seconds after which a measured speed is forgotten: a member that was once too slow gets another chance."""
_LEAST_SECONDS = 1e-3  # measurements below it are not believed: no speed is infinite
WORK_CHANNEL = "commonweal_work"
DONE_CHANNEL = "commonweal_done"

# Part of every poll, so built once: see ``candidates``.
_LEASED_BEFORE = sa.select(units).where(
    units.c.member == sa.bindparam("holder"),
    units.c.request_id == sa.bindparam("request"),
    units.c.status == "leased",
)


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
    same = {"deadline": deadline, "pickup_until": now + pickup_seconds, "created": now}
    rows = [_row(job, unit) | same for unit in planned]
    if rows:
        connection.execute(units.insert(), rows)
    announce(connection, ((row["id"], row["role"], row["prefers"]) for row in rows))


def announce(connection: sa.Connection, found: Iterable[tuple[str, str, str | None]]) -> None:
    """For each (unit, role, preferred member): wake that member, or one with the role. Delivered at commit."""
    payloads = [f"{unit} {role} {prefers or '-'}" for unit, role, prefers in found]
    if payloads:
        each = sa.func.unnest(sa.cast(payloads, ARRAY(sa.Text))).column_valued("payload")
        connection.execute(sa.select(sa.func.pg_notify(WORK_CHANNEL, each)))


def announce_queued(connection: sa.Connection, job: str) -> None:
    """Wake members for what a job has queued: while it was paused nobody could take it."""
    queued = sa.select(units.c.id, units.c.role, units.c.prefers).where(
        units.c.job == job, units.c.status == "queued"
    )
    announce(connection, ((row.id, row.role, row.prefers) for row in connection.execute(queued)))


def notice(connection: sa.Connection, job: str) -> None:
    """Tell the foremen that something happened to a job. Delivered at commit."""
    connection.execute(sa.select(sa.func.pg_notify(DONE_CHANNEL, job)))


def lease(
    connection: sa.Connection, member: MemberId, body: wire.LeaseRequest, *, ttl: float, now: float
) -> wire.Lease | None:
    """Lend the best unit for ``member``, or None. A repeated request gets the same lease again.

    Two reads when there is nothing to do. When there is, the member's row is locked: of its requests that come
    at the same time, each sees what the one before it got.
    """
    again = _leased_before(connection, member, body.request_id, ttl=ttl, now=now)
    if again is not None:
        return again
    if not candidates(connection, member, body, now):
        return None
    connection.execute(sa.select(members.c.id).where(members.c.id == member).with_for_update(key_share=True))
    again = _leased_before(connection, member, body.request_id, ttl=ttl, now=now)
    if again is not None:
        return again
    for _ in range(_TRIES):
        found = candidates(connection, member, body, now)
        if not found:
            return None
        taken = _take_best(connection, member, body, found, ttl=ttl, now=now)
        if taken is not None:
            return taken
    return None


def is_queued(connection: sa.Connection, unit: str) -> bool:
    """Whether a unit is still to be had."""
    return connection.scalar(sa.select(units.c.status).where(units.c.id == unit)) == "queued"


def renew(
    connection: sa.Connection, member: MemberId, progress: wire.Progress, *, ttl: float, now: float
) -> bool:
    """Keep a lease; False if it is lost. No heartbeat keeps it for longer than ``ttl`` after the unit's
    deadline, so a member that only says that it works holds nobody up for ever."""
    done = connection.execute(
        units.update()
        .where(_held(member, progress.unit, progress.fence))
        .values(
            leased_until=sa.func.least(sa.cast(now, sa.Double), units.c.deadline) + ttl,
            progress=progress.amount_done,
        )
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
    missed = connection.scalar(
        sa.select(members.c.missed)
        .where(members.c.id == member, members.c.missed > 0)
        .with_for_update(key_share=True)
    )
    done = connection.execute(
        units.update()
        .where(_held(member, unit, body.fence))
        .values(status="submitted", result=result, submitted_at=now, progress=body.amount_done)
        .returning(units.c.job, units.c.leased_at, units.c.asked)
    ).first()
    if done is None:
        return _already_handed_in(connection, member, unit, body.fence)
    quota.forget(connection, body.blobs.values())
    if missed:
        connection.execute(members.update().where(members.c.id == member).values(missed=0))
    _measure_rate(connection, member, done, body, now)
    notice(connection, done.job)
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
    """Offer to everyone the units whose preferred member did not come in time. Who takes over a grouped unit must
    be done when the others are, so its deadline is brought forward."""
    usual = units.c.created + patience(1.0) * units.c.amount["target_seconds"].as_float()
    rows = connection.execute(
        units.update()
        .where(units.c.status == "queued", units.c.prefers.is_not(None), units.c.pickup_until < now)
        .values(
            prefers=None,
            deadline=sa.case(
                (units.c.group != "", sa.func.least(units.c.deadline, usual)), else_=units.c.deadline
            ),
        )
        .returning(units.c.id, units.c.role)
    ).all()
    announce(connection, ((row.id, row.role, None) for row in rows))
    return len(rows)


def hurry(connection: sa.Connection, job: str, pickup_seconds: float) -> bool:
    """Shorten the time of the units of a group that nobody came for while others started; False if none did.
    A unit that is being taken at this moment keeps its time."""
    started = connection.execute(
        sa.select(sa.func.min(units.c.leased_at)).where(
            units.c.job == job, units.c.status.in_(["leased", "submitted"]), units.c.group != ""
        )
    ).scalar()
    if started is None:
        return False
    late = (
        sa.select(units.c.id)
        .where(units.c.job == job, units.c.status == "queued", units.c.group != "")
        .with_for_update(skip_locked=True)
    )
    time_for_it = units.c.amount["target_seconds"].as_float() * patience(1.0)
    until = sa.func.least(units.c.deadline, latest_start(started, pickup_seconds) + time_for_it)
    connection.execute(units.update().where(units.c.id.in_(late)).values(deadline=until))
    return True


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
    until = retry_until(
        grouped=bool(row.group),
        deadline=row.deadline,
        leased_at=row.leased_at,
        target_seconds=row.amount["target_seconds"],
        attempts_left=row.max_attempts - row.attempt,
        now=now,
    )
    connection.execute(
        units.update()
        .where(units.c.id == row.id)
        .values(
            status="dropped" if until is None else "queued",
            failure=outcome[:500],
            member=None,
            request_id=None,
            prefers=None,
            deadline=row.deadline if until is None else until,
            pickup_until=now,
            progress=0,
        )
    )
    if until is not None:
        announce(connection, [(row.id, row.role, None)])
    notice(connection, row.job)


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
    connection: sa.Connection, member: MemberId, request_id: str, *, ttl: float, now: float
) -> wire.Lease | None:
    row = connection.execute(_LEASED_BEFORE, {"holder": member, "request": request_id}).first()
    if row is None:
        return None
    until = min(row.deadline, row.leased_at + patience(row.amount["target_seconds"]))
    return _as_lease(row, seconds=max(0.0, until - now), ttl=ttl)


def _take_best(
    connection: sa.Connection,
    member: MemberId,
    body: wire.LeaseRequest,
    found: Sequence[UnitFacts],
    *,
    ttl: float,
    now: float,
) -> wire.Lease | None:
    among = {unit.job for unit in found}
    facts = member_facts(connection, member, body, among, measured_since=now - RATE_IS_GOOD_FOR)
    for offer in choose(facts, found, busy(connection, among), now):
        taken = _take(connection, member, offer, body.request_id, ttl=ttl, now=now)
        if taken is not None:
            return taken
    return None


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
            deadline=sa.func.least(units.c.deadline, sa.cast(offer.waited_until, sa.Double)),
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
    connection: sa.Connection, member: MemberId, unit: sa.Row[Any], body: wire.Submit, now: float
) -> None:
    """Speed at a job, from what was done in the time that it took. A member cannot claim to have computed for
    longer than it had the lease, nor more than it was asked for; one that claims less time is asked for more
    than it can do, to its own loss."""
    done, seconds = min(body.amount_done, unit.asked), min(body.seconds, now - unit.leased_at)
    if done <= 0 or seconds <= 0:
        return
    mine = sa.and_(rates.c.member == member, rates.c.job == unit.job)
    old = connection.execute(sa.select(rates.c.rate).where(mine)).scalar()
    rate = smoothed(old, done / max(seconds, _LEAST_SECONDS))
    connection.execute(
        insert(rates)
        .values(member=member, job=unit.job, rate=rate, samples=1, measured=now)
        .on_conflict_do_update(
            index_elements=["member", "job"],
            set_={"rate": rate, "samples": rates.c.samples + 1, "measured": now},
        )
    )
