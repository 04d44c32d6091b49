"""Fine-tuning jobs as their owners see and steer them. The loop moves them: :mod:`commonweal.serve.tuning.loop`.

A row has two states. ``status`` is what the owner is told; ``stage`` is what the loop does next:

    check -> submit -> watch -> publish -> over
         \\        \\        \\         `-> over (failed)
          `---------`---------`-> stop -> over (cancelled)

Whoever changes a row raises its version, and the loop keeps nothing that it found out about an older version. Once the
job is in the pool the pool's word counts, but for a ``wish`` of the owner that it is yet to be told of. Another
account's job is not found.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import sqlalchemy as sa

from commonweal.core.errors import Conflict, NotFound, Overloaded
from commonweal.core.hashing import BlobHash
from commonweal.core.ids import new_id
from commonweal.serve.paging import page
from commonweal.serve.tuning.recipe import Recipe
from commonweal.serve.tuning.schema import tuning_checkpoints, tuning_events, tuning_jobs

Status = Literal["validating_files", "queued", "running", "paused", "succeeded", "failed", "cancelled"]
Stage = Literal["check", "submit", "watch", "publish", "stop", "over"]
Level = Literal["info", "warn", "error"]

MOST_OPEN = 16
"""Jobs of one account that are not over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TuningJob:
    """One row. ``error`` has code, message and param; ``spent`` is in micro-credits."""

    id: str
    owner: str
    status: Status
    stage: Stage
    wish: Literal["pause", "resume"] | None
    version: int
    recipe: Recipe
    metadata: Mapping[str, str]
    created: float
    finished: float | None
    estimated_finish: float | None
    error: Mapping[str, Any] | None
    round: int
    steps: int | None
    trained_tokens: int | None
    spent: int
    model: str | None
    result_file: str | None
    trouble: int
    not_before: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """A page of something."""

    rows: tuple[Any, ...]
    more: bool


def enter(
    connection: sa.Connection, recipe: Recipe, owner: str, metadata: Mapping[str, str], now: float
) -> TuningJob:
    """A new job. Raises Overloaded where the account has too many that are not over."""
    lock = sa.func.hashtextextended(f"tuning of {owner}", 0)
    connection.execute(sa.select(sa.func.pg_advisory_xact_lock(lock)))
    query = sa.select(sa.func.count()).where(tuning_jobs.c.owner == owner, tuning_jobs.c.stage != "over")
    if connection.execute(query).scalar_one() >= MOST_OPEN:
        raise Overloaded(
            f"{MOST_OPEN} fine-tuning jobs of this account are under way",
            retry_after=60.0,
            hint="wait for one to end, or cancel one",
        )
    job = new_id("ftjob")
    connection.execute(
        sa.insert(tuning_jobs).values(
            id=job,
            owner=owner,
            status="validating_files",
            stage="check",
            recipe=recipe.to_json(),
            metadata=dict(metadata),
            created=now,
        )
    )
    tell(connection, job, f"Created fine-tuning job: {job}", now)
    tell(connection, job, f"Validating training file: {recipe.training_file}", now)
    return find(connection, job, owner)


def find(connection: sa.Connection, job: str, owner: str) -> TuningJob:
    """One job. Raises NotFound."""
    row = connection.execute(
        sa.select(tuning_jobs).where(tuning_jobs.c.id == job, tuning_jobs.c.owner == owner)
    ).first()
    if row is None:
        raise NotFound(f"no fine-tuning job '{job[:80]}'", hint="GET /v1/fine_tuning/jobs lists yours")
    return read(row)


def every(
    connection: sa.Connection,
    owner: str,
    *,
    metadata: Mapping[str, str] | None,
    after: str | None,
    limit: int,
) -> Listed:
    """An account's jobs, the newest first: those that have ``metadata``."""
    conditions = [tuning_jobs.c.owner == owner]
    if metadata:
        conditions.append(tuning_jobs.c.metadata.contains(dict(metadata)))
    found = page(connection, tuning_jobs, *conditions, after=after, limit=limit)
    return Listed(rows=tuple(read(row) for row in found.rows), more=found.more)


def events(connection: sa.Connection, job: str, owner: str, *, after: str | None, limit: int) -> Listed:
    """What was told of a job, the latest first."""
    find(connection, job, owner)
    found = page(
        connection,
        tuning_events,
        tuning_events.c.job == job,
        after=after,
        limit=limit,
        order="number",
    )
    return Listed(rows=tuple(found.rows), more=found.more)


def checkpoints(connection: sa.Connection, job: str, owner: str, *, after: str | None, limit: int) -> Listed:
    """The states of a job that are served, the latest first."""
    find(connection, job, owner)
    found = page(
        connection,
        tuning_checkpoints,
        tuning_checkpoints.c.job == job,
        after=after,
        limit=limit,
        order="step",
    )
    return Listed(rows=tuple(found.rows), more=found.more)


def cancel(connection: sa.Connection, job: str, owner: str, now: float) -> TuningJob:
    """Stop a job for good; the loop withdraws it from the pool and counts what was done. Again changes nothing.
    Raises Conflict for one that ended otherwise."""
    found = _locked(connection, job, owner)
    if found.status == "cancelled":
        return found
    if found.status in ("succeeded", "failed") or found.stage == "publish":
        raise Conflict(f"job {job} has {_ended(found)}", hint="only a job that is under way can be cancelled")
    changed(connection, found, status="cancelled", stage="stop", finished=now, not_before=0.0, trouble=0)
    tell(connection, job, "The job was cancelled", now)
    return find(connection, job, owner)


def pause(connection: sa.Connection, job: str, owner: str, now: float) -> TuningJob:
    """Do no more of a job until it is resumed. Raises Conflict for one that is over."""
    found = _locked(connection, job, owner)
    if found.status == "paused":
        return found
    if found.stage not in ("check", "submit", "watch"):
        raise Conflict(f"job {job} has {_ended(found)}", hint="only a job that is under way can be paused")
    changed(connection, found, status="paused", wish="pause", estimated_finish=None)
    tell(connection, job, "The job was paused", now)
    return find(connection, job, owner)


def resume(connection: sa.Connection, job: str, owner: str, now: float) -> TuningJob:
    """Go on with a paused job. Raises Conflict for one that is not paused."""
    found = _locked(connection, job, owner)
    if found.stage in ("check", "submit", "watch") and found.status != "paused":
        return found
    if found.status != "paused":
        raise Conflict(f"job {job} has {_ended(found)}", hint="only a paused job can be resumed")
    changed(connection, found, status=_before_pause(found), wish="resume", not_before=0.0, trouble=0)
    tell(connection, job, "The job was resumed", now)
    return find(connection, job, owner)


def tell(
    connection: sa.Connection,
    job: str,
    message: str,
    now: float,
    *,
    level: Level = "info",
    data: Mapping[str, Any] | None = None,
) -> None:
    """Enter an event; one with ``data`` is of metrics."""
    connection.execute(
        sa.insert(tuning_events).values(
            id=new_id("ftevent"),
            job=job,
            created=now,
            level=level,
            type="message" if data is None else "metrics",
            message=message[:2000],
            data=None if data is None else dict(data),
        )
    )


def changed(connection: sa.Connection, job: TuningJob, **values: Any) -> bool:
    """Change a job that is still as it was read; False if it is not, and then nothing was changed."""
    done = connection.execute(
        sa.update(tuning_jobs)
        .where(tuning_jobs.c.id == job.id, tuning_jobs.c.version == job.version)
        .values(version=job.version + 1, **values)
    )
    return done.rowcount == 1


def under_way(connection: sa.Connection, now: float, *, job: str | None = None) -> list[TuningJob]:
    """The jobs that the loop has something to do for; or ``job`` alone, if it is one of them."""
    query = sa.select(tuning_jobs).where(tuning_jobs.c.stage != "over", tuning_jobs.c.not_before <= now)
    if job is not None:
        query = query.where(tuning_jobs.c.id == job)
    return [read(row) for row in connection.execute(query.order_by(tuning_jobs.c.created))]


def named_blobs(connection: sa.Connection) -> frozenset[BlobHash]:
    """The files of jobs that are not over: the collection of garbage leaves them."""
    recipe = tuning_jobs.c.recipe
    query = sa.select(recipe["training"].astext, recipe["validation"].astext).where(
        tuning_jobs.c.stage != "over"
    )
    return frozenset(BlobHash(blob) for row in connection.execute(query) for blob in row if blob)


def read(row: sa.Row[Any]) -> TuningJob:
    values = dict(row._mapping)
    return TuningJob(**values | {"recipe": Recipe.from_json(values["recipe"])})


def _locked(connection: sa.Connection, job: str, owner: str) -> TuningJob:
    """The job, which nobody else changes until the transaction ends."""
    connection.execute(
        sa.select(tuning_jobs.c.id)
        .where(tuning_jobs.c.id == job, tuning_jobs.c.owner == owner)
        .with_for_update()
    )
    return find(connection, job, owner)


def _before_pause(job: TuningJob) -> Status:
    """What a job that is not paused is told to be, by how far it is."""
    if job.stage == "check":
        return "validating_files"
    return "running" if job.round >= 0 else "queued"


def _ended(job: TuningJob) -> str:
    return {"publish": "been trained: it is being published"}.get(job.stage, f"ended: it is {job.status}")
