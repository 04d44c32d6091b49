"""The review queue in the database: what waits for a person, and the way of everything that did.

A decision has its effect in the same transaction: a flagged message that is fine is shown, and a data set is rid of
feedback that was accepted once and is refused now (by :mod:`commonweal.serve.community.withdrawal`, which the caller
asks for).
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from commonweal.core.errors import NotFound
from commonweal.serve.community.review import AUTO, Review, Standing, Status, decided, step_from
from commonweal.serve.community.schema import messages, reviews


def submit(connection: sa.Connection, review: Review) -> None:
    """Enter a review; of a subject that has one, it begins anew."""
    row = asdict(review) | {
        "because": list(review.because),
        "history": [asdict(step) for step in review.history],
    }
    subject = "feedback" if review.feedback is not None else "message"
    new = insert(reviews).values(row)
    again: dict[str, Any] = {name: new.excluded[name] for name in ("because", "status", "created")}
    again["history"] = reviews.c.history.op("||")(new.excluded.history)
    connection.execute(new.on_conflict_do_update(index_elements=[subject], set_=again))


def standing(connection: sa.Connection, account: str) -> Standing:
    """How people (not the rules) judged the feedback of an account."""
    last = reviews.c.history[-1]["by"].astext
    statement = (
        sa.select(reviews.c.status, sa.func.count().label("n"))
        .where(reviews.c.account == account, reviews.c.feedback.is_not(None), last != AUTO)
        .group_by(reviews.c.status)
    )
    counts = {row.status: row.n for row in connection.execute(statement)}
    return Standing(accepted=counts.get("accepted", 0), refused=counts.get("refused", 0))


def queue(
    connection: sa.Connection, status: Status | None, *, limit: int, after: str | None = None
) -> tuple[Review, ...]:
    """Reviews, the oldest first; ``after`` is the last that was seen."""
    statement = sa.select(reviews)
    if status is not None:
        statement = statement.where(reviews.c.status == status)
    if after is not None:
        seen = find(connection, after)
        later = sa.tuple_(reviews.c.created, reviews.c.id) > sa.tuple_(
            sa.literal(seen.created), sa.literal(seen.id)
        )
        statement = statement.where(later)
    ordered = statement.order_by(reviews.c.created, reviews.c.id).limit(limit)
    return tuple(_review(row) for row in connection.execute(ordered))


def counts(connection: sa.Connection) -> dict[Status, int]:
    """How many are in each state."""
    statement = sa.select(reviews.c.status, sa.func.count().label("n")).group_by(reviews.c.status)
    found: dict[Status, int] = {"pending": 0, "accepted": 0, "refused": 0}
    return found | {row.status: row.n for row in connection.execute(statement)}


def find(connection: sa.Connection, review: str) -> Review:
    """Raises NotFound."""
    row = connection.execute(sa.select(reviews).where(reviews.c.id == review).with_for_update()).first()
    if row is None:
        raise NotFound(f"no review '{review[:80]}'", hint="its author may have deleted what it was of")
    return _review(row)


def decide(
    connection: sa.Connection, review: str, status: Status, *, by: str, why: str, now: float
) -> Review:
    """Accept or refuse. Raises NotFound, Conflict and UserError."""
    after = decided(find(connection, review), status, by=by, why=why, now=now)
    values = {"status": after.status, "history": [asdict(step) for step in after.history]}
    connection.execute(sa.update(reviews).where(reviews.c.id == review).values(values))
    if after.message is not None:
        shown = sa.update(messages).where(messages.c.id == after.message)
        connection.execute(shown.values(withheld=status != "accepted"))
    return after


def _review(row: Any) -> Review:
    return Review(
        id=row.id,
        conversation=row.conversation,
        account=row.account,
        message=row.message,
        feedback=row.feedback,
        because=tuple(row.because),
        status=row.status,
        history=tuple(step_from(step) for step in row.history),
        created=row.created,
    )
