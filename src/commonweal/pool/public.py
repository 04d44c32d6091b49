"""What anybody may know of the pool: the questions that its public pages ask.

Invariant: nothing here tells a key, an account, a balance, an address, what a machine says of its hardware, or the
message of a job (which may name its owner, and what that has). Every question is one statement, bounded by its limit
or by what goes on now, never by what once was.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import sqlalchemy as sa

from commonweal.core.errors import NotFound
from commonweal.pool import wire
from commonweal.pool.census import count_by, shown_state
from commonweal.pool.schema import jobs, members, rates, units

HERE = ("working", "idle", "paused")
"""The states of a machine that is here."""

Which = Literal["here", "all"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """``rate`` is amount a second at ``job``, as measured there last."""

    job: str
    rate: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """A member, by the name that it gave itself. ``upload`` and ``download`` are bytes a second, None before they were
    measured; ``accepted`` and ``refused`` count what it handed in."""

    id: str
    name: str
    state: str
    version: str
    roles: Sequence[str]
    joined: float
    last_seen: float
    upload: float | None
    download: float | None
    accepted: int
    refused: int
    speed: Speed | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What one machine does at this moment: ``done`` of ``asked``, since ``since``, until ``until`` at most."""

    machine: str
    job: str
    handed_in: bool
    asked: int
    done: int
    since: float


@dataclass(frozen=True, slots=True, kw_only=True)
class JobLine:
    """A job in a list. ``state`` is its own JSON without what grows with the job."""

    id: str
    kind: str
    name: str
    status: wire.JobStatus
    created: float
    updated: float
    rounds: int
    state: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class JobDetail:
    """A job in full. ``paused_by_budget`` tells the one reason to pause that is not a person's."""

    id: str
    kind: str
    name: str
    status: wire.JobStatus
    paused_by_budget: bool
    created: float
    updated: float
    rounds: int
    spent: int
    spec: Mapping[str, Any]
    state: Mapping[str, Any]
    planned: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """How many units of a job wait for a machine, are lent to one, and are handed in."""

    job: str
    queued: int = 0
    leased: int = 0
    submitted: int = 0


_JOB_LINES = sa.select(
    jobs.c.id,
    jobs.c.kind,
    jobs.c.name,
    jobs.c.status,
    jobs.c.created,
    jobs.c.updated,
    jobs.c.rounds,
    sa.func.jsonb_build_object(
        *(part for name in ("step", "round", "totals", "losses") for part in (name, jobs.c.state[name]))
    ).label("state"),
)


def machines_by_state(connection: sa.Connection, now: float) -> Mapping[str, int]:
    return count_by(connection, shown_state(now))


def jobs_by_status(connection: sa.Connection) -> Mapping[str, int]:
    return count_by(connection, jobs.c.status)


def machines(connection: sa.Connection, *, now: float, which: Which, first: int, limit: int) -> list[Machine]:
    """Some of them, by name."""
    found = _machines(now).order_by(sa.func.lower(members.c.name), members.c.id)
    if which == "here":
        found = found.where(shown_state(now).in_(HERE))
    return _with_speeds(connection, connection.execute(found.offset(first).limit(limit)).all())


def newest_machines(connection: sa.Connection, *, now: float, limit: int) -> list[Machine]:
    """Those that registered last."""
    found = _machines(now).order_by(members.c.joined.desc(), members.c.id).limit(limit)
    return [_machine(row, None) for row in connection.execute(found)]


def machines_where(
    connection: sa.Connection, where: sa.ColumnElement[bool], *, now: float, limit: int
) -> list[Machine]:
    """The members that fit, those seen last first."""
    found = _machines(now).where(where).order_by(members.c.last_seen.desc(), members.c.id)
    return _with_speeds(connection, connection.execute(found.limit(limit)).all())


def machine(connection: sa.Connection, member: str, now: float) -> Machine:
    """Raises NotFound."""
    found = machines_where(connection, members.c.id == member, now=now, limit=1)
    if not found:
        raise NotFound(f"no machine '{member[:40]}' in this pool")
    return found[0]


def names(connection: sa.Connection, ids: Collection[str]) -> Mapping[str, str]:
    """What these members call themselves."""
    if not ids:
        return {}
    found = sa.select(members.c.id, members.c.name).where(members.c.id.in_(ids))
    return {row.id: row.name for row in connection.execute(found)}


def jobs_of(connection: sa.Connection, member: str, limit: int) -> list[str]:
    """The jobs that a machine was measured at, the latest first."""
    found = sa.select(rates.c.job).where(rates.c.member == member).order_by(rates.c.measured.desc())
    return list(connection.execute(found.limit(limit)).scalars())


def queue(connection: sa.Connection) -> list[Waiting]:
    """By job, of what is not folded yet."""
    open_ = sa.select(units.c.job, units.c.status, sa.func.count().label("n")).where(
        units.c.status.in_(["queued", "leased", "submitted"])
    )
    found: dict[str, dict[str, int]] = {}
    for row in connection.execute(open_.group_by(units.c.job, units.c.status)):
        found.setdefault(row.job, {})[row.status] = row.n
    return [Waiting(job=job, **counts) for job, counts in sorted(found.items())]


def at_work(
    connection: sa.Connection, *, job: str | None = None, member: str | None = None, limit: int
) -> list[Part]:
    """Who does what now: of one job, or of one machine."""
    found = sa.select(units).where(units.c.status.in_(["leased", "submitted"]), units.c.member.is_not(None))
    if job is not None:
        found = found.where(units.c.job == job)
    if member is not None:
        found = found.where(units.c.member == member)
    rows = connection.execute(found.order_by(units.c.key).limit(limit))
    return [
        Part(
            machine=row.member,
            job=row.job,
            handed_in=row.status == "submitted",
            asked=row.asked,
            done=min(row.asked, (row.result or {}).get("amount_done", row.progress)),
            since=row.leased_at,
        )
        for row in rows
    ]


def job_list(
    connection: sa.Connection, *, running: bool = False, first: int = 0, limit: int
) -> list[JobLine]:
    """The newest first; only those that are not over if ``running``."""
    found = _JOB_LINES.order_by(jobs.c.created.desc(), jobs.c.id).offset(first).limit(limit)
    if running:
        found = found.where(jobs.c.status.in_(["running", "paused"]))
    return [JobLine(**row) for row in connection.execute(found).mappings()]


def job_lines(connection: sa.Connection, ids: Collection[str]) -> Mapping[str, JobLine]:
    """Those of these ids."""
    found = connection.execute(_JOB_LINES.where(jobs.c.id.in_(ids))).mappings()
    return {row["id"]: JobLine(**row) for row in found}


def job_detail(connection: sa.Connection, job: str) -> JobDetail:
    """Raises NotFound."""
    row = connection.execute(sa.select(jobs).where(jobs.c.id == job)).first()
    if row is None:
        raise NotFound(f"no job '{job[:40]}' in this pool")
    return JobDetail(
        id=row.id,
        kind=row.kind,
        name=row.name,
        status=row.status,
        paused_by_budget=row.status == "paused" and row.message.startswith("budget used up"),
        created=row.created,
        updated=row.updated,
        rounds=row.rounds,
        spent=row.spent,
        spec=row.spec,
        state=row.state,
        planned=(row.plan or {}).get("since"),
    )


def job_specs(connection: sa.Connection, ids: Collection[str]) -> Mapping[str, tuple[str, Mapping[str, Any]]]:
    """Kind and specification, which never change, of these jobs. Not to be shown as they are: they name files, and the
    text that losses are measured on."""
    if not ids:
        return {}
    found = sa.select(jobs.c.id, jobs.c.kind, jobs.c.spec).where(jobs.c.id.in_(ids))
    return {row.id: (row.kind, row.spec) for row in connection.execute(found)}


def _machines(now: float) -> sa.Select[Any]:
    return sa.select(members, shown_state(now).label("shown"))


def _with_speeds(connection: sa.Connection, rows: Sequence[sa.Row[Any]]) -> list[Machine]:
    latest = sa.func.row_number().over(partition_by=rates.c.member, order_by=rates.c.measured.desc())
    ranked = (
        sa.select(rates.c.member, rates.c.job, rates.c.rate, latest.label("place"))
        .where(rates.c.member.in_([row.id for row in rows]))
        .subquery()
    )
    found = connection.execute(sa.select(ranked).where(ranked.c.place == 1))
    speeds = {row.member: Speed(job=row.job, rate=row.rate) for row in found}
    return [_machine(row, speeds.get(row.id)) for row in rows]


def _machine(row: sa.Row[Any], speed: Speed | None) -> Machine:
    return Machine(
        id=row.id,
        name=row.name,
        state=row.shown,
        version=row.client_version,
        roles=row.roles,
        joined=row.joined,
        last_seen=row.last_seen,
        upload=row.upload,
        download=row.download,
        accepted=row.accepted,
        refused=row.refused,
        speed=speed,
    )
