"""Deleted on request: gone from the tables, out of every data set that had it, and listed there as withdrawn.

The files of those data sets are written anew without the lines; the old bytes are named by nothing any more, so the
collection of garbage deletes them. What a model has learned from a data set it keeps: a data set's manifest and a
model's lineage say which model that is.

New blobs are stored before the rows name them, and all rows change in one transaction.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from commonweal.core.blobs import Blobs
from commonweal.core.hashing import BlobHash
from commonweal.serve.community import conversations
from commonweal.serve.community.building import without
from commonweal.serve.community.schema import conversations as conversation_rows
from commonweal.serve.community.schema import dataset_items, datasets
from commonweal.serve.community.schema import feedback as feedback_rows
from commonweal.serve.community.schema import reviews as review_rows
from commonweal.serve.community.terms import Terms


@dataclass(frozen=True, slots=True, kw_only=True)
class Withdrawn:
    """What was deleted, and the data sets that are now without it."""

    conversations: int
    feedback: int
    datasets: tuple[str, ...]


def forget_conversation(
    connection: sa.Connection, blobs: Blobs, conversation: str, account: str, now: float
) -> Withdrawn:
    """Delete a conversation and all that was said of it. Raises NotFound, also for another's."""
    found = conversations.find(connection, conversation, account)
    return _forget(connection, blobs, (found.id,), now)


def forget_account(connection: sa.Connection, blobs: Blobs, account: str, now: float) -> Withdrawn:
    """Delete all that an account ever said. Its credits and keys are others' to keep."""
    mine = sa.select(conversation_rows.c.id).where(conversation_rows.c.account == account)
    return _forget(connection, blobs, tuple(connection.execute(mine).scalars()), now)


def withdraw_feedback(
    connection: sa.Connection, blobs: Blobs, feedback: Sequence[str], now: float
) -> tuple[str, ...]:
    """Take feedback out of every data set that has it; returns their ids. It stays in the tables."""
    return _withdraw(connection, blobs, dataset_items.c.feedback.in_(feedback), now)


def withdraw_conversation(
    connection: sa.Connection, blobs: Blobs, conversation: str, now: float
) -> tuple[str, ...]:
    """As :func:`withdraw_feedback`, all of a conversation's: its user takes the consent back."""
    return _withdraw(connection, blobs, dataset_items.c.conversation == conversation, now)


def withdraw_beyond(
    connection: sa.Connection, blobs: Blobs, conversation: str, terms: Terms, now: float
) -> tuple[str, ...]:
    """Take a conversation out of the data sets that its new terms do not allow: of all of them if it may not be used,
    of those that are published if it may not be, or is under another licence now."""
    beyond: sa.ColumnElement[bool] = dataset_items.c.conversation == conversation
    if terms.consent != "none":
        public = sa.select(datasets.c.id).where(datasets.c.manifest["options"]["consent"].astext == "publish")
        beyond = sa.and_(beyond, dataset_items.c.dataset.in_(public))
    return _withdraw(connection, blobs, beyond, now)


def withdraw_what_is_not_allowed(
    connection: sa.Connection, blobs: Blobs, dataset: str, now: float
) -> tuple[str, ...]:
    """What was deleted, refused or forbidden while a data set was built: the build had read it before."""
    public = sa.select(datasets.c.manifest["options"]["consent"].astext).where(datasets.c.id == dataset)
    enough = sa.or_(
        conversation_rows.c.consent == "publish",
        sa.and_(conversation_rows.c.consent == "improve", public.scalar_subquery() == "improve"),
    )
    allowed = (
        sa.select(feedback_rows.c.id)
        .join(review_rows, review_rows.c.feedback == feedback_rows.c.id)
        .join(conversation_rows, conversation_rows.c.id == feedback_rows.c.conversation)
        .where(review_rows.c.status == "accepted", enough)
    )
    gone = sa.and_(dataset_items.c.dataset == dataset, dataset_items.c.feedback.not_in(allowed))
    return _withdraw(connection, blobs, gone, now)


def _forget(connection: sa.Connection, blobs: Blobs, gone: tuple[str, ...], now: float) -> Withdrawn:
    said = sa.select(sa.func.count()).where(feedback_rows.c.conversation.in_(gone))
    count = connection.execute(said).scalar_one()
    # First the tables: who builds a data set meanwhile finds no consent for what it read before.
    connection.execute(sa.delete(conversation_rows).where(conversation_rows.c.id.in_(gone)))
    touched = _withdraw(connection, blobs, dataset_items.c.conversation.in_(gone), now)
    return Withdrawn(conversations=len(gone), feedback=count, datasets=touched)


def lock(connection: sa.Connection) -> None:
    """One at a time writes and withdraws the items of data sets: who writes them sees every deletion that ended before,
    and who deletes sees every item."""
    key = sa.func.hashtextextended("community data sets", 0)
    connection.execute(sa.select(sa.func.pg_advisory_xact_lock(key)))


def _withdraw(
    connection: sa.Connection, blobs: Blobs, which: sa.ColumnElement[bool], now: float
) -> tuple[str, ...]:
    lock(connection)
    marked = connection.execute(
        sa.update(dataset_items)
        .where(which, dataset_items.c.withdrawn.is_(None))
        .values(withdrawn=now)
        .returning(dataset_items.c.dataset, dataset_items.c.file, dataset_items.c.line)
    ).all()
    lines: defaultdict[str, defaultdict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for row in marked:
        lines[row.dataset][row.file].add(row.line)
    for dataset in sorted(lines):
        files = dict(
            connection.execute(sa.select(datasets.c.files).where(datasets.c.id == dataset)).scalar_one()
        )
        for name, gone in lines[dataset].items():
            files[name] = blobs.put(without(blobs.get(BlobHash(files[name])), frozenset(gone)))
        connection.execute(sa.update(datasets).where(datasets.c.id == dataset).values(files=files))
    return tuple(sorted(lines))
