"""Batches as their owners see and steer them. The loop works on them: :mod:`commonweal.serve.batches.loop`.

    validating -> in_progress -> finalizing -> completed
        `-> failed      |-> (its time is over)  -> expired
                        `-> cancelling          -> cancelled

An answer is a row as soon as it is there; once all are in the output files their rows go. Another account's batch is
not found.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from commonweal.core.errors import Conflict, NotFound, Overloaded
from commonweal.core.hashing import BlobHash
from commonweal.core.ids import new_id
from commonweal.serve.batches.schema import answers, batches
from commonweal.serve.files.shelf import StoredFile
from commonweal.serve.paging import page

Status = Literal[
    "validating", "failed", "in_progress", "finalizing", "completed", "expired", "cancelling", "cancelled"
]
OPEN = ("validating", "in_progress", "finalizing", "cancelling")
WINDOW_SECONDS = 86_400.0
MOST_OPEN = 32
"""Batches of one account that are not over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """``usage`` sums over the answers: prompt, completion and cached tokens."""

    completed: int = 0
    failed: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """One row, with its counts. ``times`` says when each status was reached."""

    id: str
    owner: str
    status: Status
    endpoint: str
    input_file: str
    blob: BlobHash
    metadata: Mapping[str, str] | None
    created: float
    expires: float
    times: Mapping[str, float]
    total: int
    keep_seconds: float | None
    errors: Sequence[Mapping[str, Any]] | None
    counted: Counts
    output_file: str | None
    error_file: str | None
    model: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """One line's answer: the text of its line in the output file (``good``) or the error file."""

    line: int
    good: bool
    body: str
    usage: Mapping[str, int] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """A page of batches."""

    found: tuple[Batch, ...]
    more: bool


def enter(
    connection: sa.Connection,
    file: StoredFile,
    *,
    endpoint: str,
    metadata: Mapping[str, str] | None,
    keep_seconds: float | None,
    now: float,
) -> Batch:
    """A new batch of a file's owner. Raises Overloaded where the account has too many that are not over."""
    lock = sa.func.hashtextextended(f"batches of {file.owner}", 0)
    connection.execute(sa.select(sa.func.pg_advisory_xact_lock(lock)))
    query = sa.select(sa.func.count()).where(batches.c.owner == file.owner, batches.c.status.in_(OPEN))
    if connection.execute(query).scalar_one() >= MOST_OPEN:
        raise Overloaded(
            f"{MOST_OPEN} batches of this account are under way",
            retry_after=60.0,
            hint="wait for one to end, or cancel one",
        )
    batch = new_id("batch")
    connection.execute(
        sa.insert(batches).values(
            id=batch,
            owner=file.owner,
            status="validating",
            endpoint=endpoint,
            input_file=file.id,
            blob=file.blob,
            metadata=None if metadata is None else dict(metadata),
            created=now,
            expires=now + WINDOW_SECONDS,
            times={},
            keep_seconds=keep_seconds,
        )
    )
    return find(connection, batch, file.owner)


def find(connection: sa.Connection, batch: str, owner: str) -> Batch:
    """One batch. Raises NotFound."""
    row = connection.execute(
        sa.select(batches).where(batches.c.id == batch, batches.c.owner == owner)
    ).first()
    if row is None:
        raise NotFound(f"no batch '{batch[:80]}'", hint="GET /v1/batches lists yours")
    return _batches(connection, [row])[0]


def every(connection: sa.Connection, owner: str, *, after: str | None, limit: int) -> Listed:
    """An account's batches, the newest first."""
    found = page(connection, batches, batches.c.owner == owner, after=after, limit=limit)
    return Listed(found=_batches(connection, found.rows), more=found.more)


def cancel(connection: sa.Connection, batch: str, owner: str, now: float) -> Batch:
    """Ask no more of a batch; what was answered is kept. Again changes nothing. Raises Conflict for one that is
    over."""
    connection.execute(
        sa.select(batches.c.id).where(batches.c.id == batch, batches.c.owner == owner).with_for_update()
    )
    found = find(connection, batch, owner)
    if found.status in ("cancelling", "cancelled"):
        return found
    if found.status not in ("validating", "in_progress"):
        raise Conflict(
            f"batch {batch} is {found.status}", hint="only a batch that is under way can be cancelled"
        )
    moved(connection, found, "cancelling", now)
    return find(connection, batch, owner)


def under_way(connection: sa.Connection) -> list[str]:
    """The batches that are not over, the oldest first."""
    query = sa.select(batches.c.id).where(batches.c.status.in_(OPEN)).order_by(batches.c.created)
    return list(connection.execute(query).scalars())


def look(connection: sa.Connection, batch: str) -> Batch:
    """A batch, whoever owns it, without its counts."""
    return _batch(connection.execute(sa.select(batches).where(batches.c.id == batch)).one(), Counts())


def moved(connection: sa.Connection, batch: Batch, to: Status, now: float, **values: Any) -> bool:
    """Give a batch that is still in the status that it was read in another; False if it is not."""
    done = connection.execute(
        sa.update(batches)
        .where(batches.c.id == batch.id, batches.c.status == batch.status)
        .values(status=to, times={**batch.times, to: now}, **values)
    )
    return done.rowcount == 1


def keep(connection: sa.Connection, batch: str, answer: Answered) -> bool:
    """Store a line's answer; False if it has one already, which stays."""
    made = connection.execute(
        insert(answers)
        .values(
            batch=batch,
            line=answer.line,
            good=answer.good,
            body=answer.body,
            usage=None if answer.usage is None else dict(answer.usage),
        )
        .on_conflict_do_nothing()
        .returning(answers.c.line)
    )
    return made.first() is not None


def answered(connection: sa.Connection, batch: str) -> set[int]:
    """The lines that have an answer."""
    return set(connection.execute(sa.select(answers.c.line).where(answers.c.batch == batch)).scalars())


def count(connection: sa.Connection, batch: str) -> Counts:
    """The sums over a batch's answers."""
    return _counts(connection, [batch]).get(batch, Counts())


def forget_answers(connection: sa.Connection, batch: str) -> None:
    connection.execute(sa.delete(answers).where(answers.c.batch == batch))


def named_blobs(connection: sa.Connection) -> frozenset[BlobHash]:
    """The inputs of batches that are not over: the collection of garbage leaves them."""
    query = sa.select(batches.c.blob).where(batches.c.status.in_(OPEN))
    return frozenset(BlobHash(blob) for blob in connection.execute(query).scalars())


def _batches(connection: sa.Connection, rows: Sequence[sa.Row[Any]]) -> tuple[Batch, ...]:
    counts = _counts(connection, [row.id for row in rows if row.counted is None])
    return tuple(_batch(row, counts.get(row.id, Counts())) for row in rows)


def _batch(row: sa.Row[Any], counts: Counts) -> Batch:
    values = dict(row._mapping)
    if values["counted"] is not None:
        counts = Counts(**values["counted"])
    return Batch(**values | {"counted": counts})


def _counts(connection: sa.Connection, wanted: Sequence[str]) -> dict[str, Counts]:
    if not wanted:
        return {}

    def tokens(name: str) -> sa.ColumnElement[int]:
        return sa.func.coalesce(sa.func.sum(answers.c.usage[name].as_integer()), 0).label(name)

    columns = (
        answers.c.batch,
        sa.func.count().filter(answers.c.good).label("completed"),
        sa.func.count().filter(~answers.c.good).label("failed"),
        tokens("prompt_tokens"),
        tokens("completion_tokens"),
        tokens("cached_tokens"),
    )
    query = sa.select(*columns).where(answers.c.batch.in_(wanted)).group_by(answers.c.batch)
    return {
        row.batch: Counts(**{name: int(getattr(row, name)) for name in Counts.__slots__})
        for row in connection.execute(query)
    }
