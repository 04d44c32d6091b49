"""Jobs as users see them: submit, list, pause, resume, cancel."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from commonweal.core.blobs import Blobs
from commonweal.core.errors import Conflict, NotFound, UserError
from commonweal.core.hashing import BlobHash
from commonweal.core.ids import JobId, new_id
from commonweal.core.work import JobFactory, Json
from commonweal.ledger.accounts import AccountId
from commonweal.ledger.holds import release
from commonweal.pool import accounts, quota, wire
from commonweal.pool.access import Caller
from commonweal.pool.foreman import drop_units
from commonweal.pool.leases import announce_queued, notice
from commonweal.pool.schema import jobs, rounds

_CHECKS_AT_ONCE = 8
_REQUESTS_KEPT = 100
"""Requests to resume a job that are known again: retries come within minutes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A job that can be entered: its blobs are there and its own code accepts its specification."""

    id: JobId
    body: wire.NewJob
    state: Json


def prepare_job(body: wire.NewJob, factories: dict[str, JobFactory], blobs: Blobs) -> Prepared:
    """Check a job, outside any transaction: it may have many blobs, and its code may take its time.

    Raises UserError (unknown kind, missing blobs, a specification that the job's own code refuses).
    """
    factory = factories.get(body.kind)
    if factory is None:
        raise UserError(
            f"kind: this hub runs no '{body.kind}' jobs", hint="it runs: " + ", ".join(sorted(factories))
        )
    with ThreadPoolExecutor(max_workers=_CHECKS_AT_ONCE) as pool:
        there = pool.map(lambda blob: blobs.has(BlobHash(blob)), body.blobs)
        for blob, found in zip(body.blobs, there, strict=True):
            if not found:
                raise UserError(f"blobs: {blob[:12]} was not uploaded", hint="upload it, then submit again")
    job_id = JobId(new_id("job"))
    try:
        state = factory(job_id, body.spec).start()
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"spec: a '{body.kind}' job cannot be made of it: {type(error).__name__}: {error}"
        ) from error
    return Prepared(id=job_id, body=body, state=state)


def submit_job(connection: sa.Connection, prepared: Prepared, caller: Caller, now: float) -> wire.JobView:
    """Enter a job and set its budget aside. The same ``request_id`` gets the same job again.

    Raises InsufficientCredits.
    """
    job_id, body = prepared.id, prepared.body
    found = connection.execute(
        insert(jobs)
        .values(
            id=job_id,
            kind=body.kind,
            name=body.name,
            owner=caller.owner,
            status="running",
            spec=body.spec,
            state=prepared.state,
            keeps=[],
            spec_blobs=list(body.blobs),
            budget=body.budget,
            created=now,
            updated=now,
            request_id=caller.request(body.request_id),
        )
        .on_conflict_do_nothing(index_elements=["request_id"])
        .returning(jobs.c.id)
    ).first()
    if found is None:
        return _by_request(connection, caller.request(body.request_id))
    quota.forget(connection, body.blobs)
    hold = accounts.fund(connection, job_id, caller.owner, body.budget, number=0, now=now)
    connection.execute(jobs.update().where(jobs.c.id == job_id).values(hold=hold))
    notice(connection, job_id)
    return find_job(connection, job_id)


def list_jobs(connection: sa.Connection, *, status: str | None, limit: int) -> list[wire.JobView]:
    """The newest jobs first."""
    query = sa.select(jobs).order_by(jobs.c.created.desc(), jobs.c.id).limit(limit)
    if status is not None:
        query = query.where(jobs.c.status == status)
    return [_view(row) for row in connection.execute(query)]


def find_job(connection: sa.Connection, job: str) -> wire.JobView:
    """One job. Raises NotFound."""
    return _view(_row(connection, job))


def list_rounds(connection: sa.Connection, job: str, *, after: int, limit: int) -> list[wire.RoundView]:
    """Round records with a number above ``after``, oldest first."""
    rows = connection.execute(
        sa.select(rounds)
        .where(rounds.c.job == job, rounds.c.number > after)
        .order_by(rounds.c.number)
        .limit(limit)
    )
    return [wire.RoundView(number=row.number, at=row.at, record=row.record) for row in rows]


def cancel(connection: sa.Connection, job: str, caller: Caller, now: float) -> wire.JobView:
    """Stop a job for good: its units are withdrawn and what is left of its budget goes back."""
    row = _owned(connection, job, caller)
    if row.status in ("running", "paused"):
        accounts.settle(connection, row, now)
        drop_units(connection, job)
        _update(connection, row, now, status="cancelled", plan=None, message=f"cancelled by {caller.owner}")
    return find_job(connection, job)


def pause(connection: sa.Connection, job: str, caller: Caller, now: float) -> wire.JobView:
    """Lend no more units of a job until it is resumed. Units under way are handed in and kept."""
    row = _owned(connection, job, caller)
    if row.status == "running":
        _update(connection, row, now, status="paused", message=f"paused by {caller.owner}")
    elif row.status != "paused":
        raise Conflict(f"job {job} is {row.status}", hint="only a running job can be paused")
    return find_job(connection, job)


def resume(
    connection: sa.Connection, job: str, caller: Caller, body: wire.Resume, now: float
) -> wire.JobView:
    """Go on with a paused job; ``budget`` micro-credits are added to what it may spend, once a ``request_id``."""
    row, request = _owned(connection, job, caller), body.request_id and caller.request(body.request_id)
    if request in row.resumed_by:
        return _view(row)
    if row.status not in ("paused", "running"):
        raise Conflict(f"job {job} is {row.status}", hint="only a paused job can be resumed")
    if row.status == "running" and not body.budget:
        return _view(row)
    changes: dict[str, Any] = {"status": "running", "message": ""}
    if request is not None:
        changes["resumed_by"] = [*row.resumed_by, request][-_REQUESTS_KEPT:]
    if body.budget:
        changes |= _more(connection, row, body.budget, now)
    _update(connection, row, now, **changes)
    notice(connection, job)
    announce_queued(connection, job)
    return find_job(connection, job)


def _more(connection: sa.Connection, row: sa.Row[Any], budget: int, now: float) -> dict[str, Any]:
    """Replace the job's hold by one of what is left of it and ``budget`` more."""
    left = 0
    if row.hold is not None:
        back = release(connection, row.hold, key=f"{row.hold}:rest", memo=row.id, now=now)
        left = 0 if back is None else sum(p.microcredits for p in back.postings if p.microcredits > 0)
    number = 1 + (int(row.hold.rsplit(":", 1)[1]) if row.hold else 0)
    hold = accounts.fund(connection, row.id, AccountId(row.owner), left + budget, number=number, now=now)
    return {"hold": hold, "budget": row.budget + budget}


def _row(connection: sa.Connection, job: str) -> sa.Row[Any]:
    row = connection.execute(sa.select(jobs).where(jobs.c.id == job)).first()
    if row is None:
        raise _unknown(job)
    return row


def _unknown(job: str) -> NotFound:
    return NotFound(f"no job {job}", hint="see them all with: commonweal jobs")


def _owned(connection: sa.Connection, job: str, caller: Caller) -> sa.Row[Any]:
    """The job, locked, if the caller may change it. A fold under way finds it changed, and is dropped."""
    row = connection.execute(sa.select(jobs).where(jobs.c.id == job).with_for_update(key_share=True)).first()
    if row is None:
        raise _unknown(job)
    if caller.role != "admin" and row.owner != caller.owner:
        raise NotFound(f"no job {job} of yours", hint="only its owner and the operator may change a job")
    return row


def _by_request(connection: sa.Connection, request_id: str) -> wire.JobView:
    return _view(connection.execute(sa.select(jobs).where(jobs.c.request_id == request_id)).one())


def _update(connection: sa.Connection, row: sa.Row[Any], now: float, **values: Sequence[Any] | Any) -> None:
    connection.execute(
        jobs.update().where(jobs.c.id == row.id).values(updated=now, version=row.version + 1, **values)
    )


def _view(row: sa.Row[Any]) -> wire.JobView:
    return wire.JobView(
        id=row.id,
        kind=row.kind,
        name=row.name,
        owner=row.owner,
        status=row.status,
        message=row.message,
        created=row.created,
        updated=row.updated,
        rounds=row.rounds,
        spent=row.spent,
        budget=row.budget,
        spec=row.spec,
        state=row.state,
    )
