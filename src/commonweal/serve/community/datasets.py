"""Data sets in the store: built from what is in the database now, kept by version, listed, read.

Files are blobs and stored before the row that names them. A version is its content: built again from the same feedback
it is the same data set, and nothing is written.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from commonweal import __version__
from commonweal.core.blobs import Blobs
from commonweal.core.database import Database
from commonweal.core.errors import NotFound
from commonweal.core.hashing import BlobHash
from commonweal.serve.community import conversations, feedback, withdrawal
from commonweal.serve.community.building import BuildOptions, Built, build
from commonweal.serve.community.evidence import Evidence, evidence
from commonweal.serve.community.schema import conversations as conversation_rows
from commonweal.serve.community.schema import dataset_items, datasets, reviews
from commonweal.serve.community.schema import feedback as feedback_rows
from commonweal.serve.community.scrubbing import Scrubber


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSet:
    """``files`` are the bytes as they are now, ``withdrawn`` the feedback that was in them and is no more."""

    id: str
    built_by: str
    created: float
    manifest: Mapping[str, Any]
    files: Mapping[str, BlobHash]
    withdrawn: tuple[str, ...] = ()


def gather(connection: sa.Connection) -> Iterator[Evidence]:
    """All feedback that its users allow to be used, with its review's state; one conversation after another."""
    allowed = (
        sa.select(conversation_rows.c.id)
        .where(conversation_rows.c.consent != "none")
        .where(sa.exists().where(feedback_rows.c.conversation == conversation_rows.c.id))
        .order_by(conversation_rows.c.id)
    )
    for conversation in connection.execute(allowed).scalars().all():
        turns = {turn.id: turn for turn in conversations.turns(connection, conversation)}
        states = sa.select(reviews.c.feedback, reviews.c.status).where(
            reviews.c.conversation == conversation, reviews.c.feedback.is_not(None)
        )
        status = {row.feedback: row.status for row in connection.execute(states)}
        for given in feedback.of_conversation(connection, conversation):
            yield evidence(given, status.get(given.id, "pending"), turns)


def make(
    database: Database, blobs: Blobs, options: BuildOptions, scrubber: Scrubber, *, by: str, now: float
) -> DataSet:
    """Build a data set and keep it. Raises UserError where no feedback can be used."""
    with database.transaction() as connection:
        found = list(gather(connection))
    built = build(found, options, scrubber, code=__version__)
    files = {name: blobs.put(data) for name, data in built.files.items()}
    with database.transaction() as connection:
        return _keep(connection, blobs, built, files, by=by, now=now)


def _keep(
    connection: sa.Connection,
    blobs: Blobs,
    built: Built,
    files: Mapping[str, BlobHash],
    *,
    by: str,
    now: float,
) -> DataSet:
    """What was deleted, refused or forbidden since it was read is taken out again at once."""
    name = f"ds_{built.version[:16]}"
    row = {"id": name, "built_by": by, "created": now, "manifest": dict(built.manifest), "files": dict(files)}
    withdrawal.lock(connection)
    connection.execute(
        insert(datasets)
        .values(row)
        .on_conflict_do_update(index_elements=["id"], set_={"files": dict(files)})  # whole again
    )
    items = [asdict(item) | {"dataset": name} for item in built.items]
    new = insert(dataset_items).values(items)
    connection.execute(
        new.on_conflict_do_update(index_elements=["dataset", "file", "line"], set_={"withdrawn": None})
    )
    withdrawal.withdraw_what_is_not_allowed(connection, blobs, name, now)
    return find(connection, name)


def find(connection: sa.Connection, dataset: str) -> DataSet:
    """Raises NotFound."""
    row = connection.execute(sa.select(datasets).where(datasets.c.id == dataset)).first()
    if row is None:
        raise NotFound(f"no data set '{dataset[:80]}'", hint="GET /v1/community/datasets lists them")
    return _dataset(connection, row)


def every(connection: sa.Connection) -> tuple[DataSet, ...]:
    """All data sets, the newest first."""
    rows = connection.execute(sa.select(datasets).order_by(datasets.c.created.desc(), datasets.c.id)).all()
    return tuple(_dataset(connection, row) for row in rows)


def read(blobs: Blobs, dataset: DataSet, file: str) -> bytes:
    """A file of a data set. Raises NotFound."""
    if file not in dataset.files:
        raise NotFound(f"{dataset.id} has no file '{file[:80]}'", hint="it has " + ", ".join(dataset.files))
    return blobs.get(dataset.files[file])


def named_blobs(connection: sa.Connection) -> frozenset[BlobHash]:
    """The files of all data sets: the collection of garbage leaves them."""
    rows = connection.execute(sa.select(datasets.c.files)).scalars()
    return frozenset(BlobHash(blob) for files in rows for blob in files.values())


def _dataset(connection: sa.Connection, row: Any) -> DataSet:
    gone = (
        sa.select(dataset_items.c.feedback)
        .where(dataset_items.c.dataset == row.id, dataset_items.c.withdrawn.is_not(None))
        .distinct()
        .order_by(dataset_items.c.feedback)
    )
    withdrawn = tuple(connection.execute(gone).scalars())
    return DataSet(**dict(row._mapping), withdrawn=withdrawn)
