"""What a user says of an answer: a thumb with reasons, the answer as it should have been, or which of two drafts is
better. One of each kind an answer and account; saying it again replaces what was said, and it is reviewed anew."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from commonweal.core.errors import UserError
from commonweal.core.ids import new_id
from commonweal.serve.community import reviews
from commonweal.serve.community.moderation import Moderator
from commonweal.serve.community.records import Turn
from commonweal.serve.community.review import Kind, Rules, because, opened
from commonweal.serve.community.schema import feedback

Rating = Literal[-1, 1]

REASONS: dict[Rating, tuple[str, ...]] = {
    1: ("correct", "clear", "complete", "well_written", "followed_the_request", "honest_about_limits"),
    -1: (
        "wrong",
        "made_up",
        "incomplete",
        "unclear",
        "ignored_the_request",
        "too_long",
        "refused_without_need",
        "harmful",
        "broken_format",
    ),
}
"""The fixed list: what a thumb may be because of."""

LONGEST_COMMENT = 4000
LONGEST_IDEAL = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Feedback:
    """``message`` is the answer that is spoken of; of a choice it is the better draft and ``other`` the worse (either,
    of a tie)."""

    id: str
    account: str
    conversation: str
    message: str
    kind: Kind
    created: float
    rating: Rating | None = None
    reasons: tuple[str, ...] = ()
    comment: str = ""
    ideal: str | None = None
    other: str | None = None
    tie: bool = False


def thumb(
    turn: Turn, account: str, *, rating: Rating, reasons: tuple[str, ...], comment: str, now: float
) -> Feedback:
    """Raises UserError for what is no answer, and for a reason that is not of this thumb."""
    _an_answer(turn)
    for reason in reasons:
        if reason not in REASONS[rating]:
            raise UserError(
                f"'{reason[:40]}' is no reason for a thumb {'up' if rating > 0 else 'down'}",
                hint="one of " + ", ".join(REASONS[rating]),
            )
    return Feedback(
        id=new_id("fdb"),
        account=account,
        conversation=turn.conversation,
        message=turn.id,
        kind="thumb",
        created=now,
        rating=rating,
        reasons=tuple(dict.fromkeys(reasons)),
        comment=comment.strip(),
    )


def edit(turn: Turn, account: str, *, ideal: str, comment: str, now: float) -> Feedback:
    """Raises UserError for what is no answer, and for an ideal that is empty or the answer itself."""
    _an_answer(turn)
    if not ideal.strip():
        raise UserError("the ideal answer is empty", hint="write what the answer should have been")
    if ideal.strip() == turn.content.strip():
        raise UserError("the ideal answer is the answer itself", hint="if it was ideal, give it a thumb up")
    return Feedback(
        id=new_id("fdb"),
        account=account,
        conversation=turn.conversation,
        message=turn.id,
        kind="edit",
        created=now,
        ideal=ideal.strip(),
        comment=comment.strip(),
    )


def choice(better: Turn, worse: Turn, account: str, *, tie: bool, comment: str, now: float) -> Feedback:
    return Feedback(
        id=new_id("fdb"),
        account=account,
        conversation=better.conversation,
        message=better.id,
        other=worse.id,
        kind="choice",
        tie=tie,
        created=now,
        comment=comment.strip(),
    )


def give(
    connection: sa.Connection, given: Feedback, *, moderator: Moderator, rules: Rules, now: float
) -> Feedback:
    """Write it down and enter it for review, or have the rules accept it. Returns it with the id that it has."""
    row = {name: getattr(given, name) for name in Feedback.__dataclass_fields__} | {
        "reasons": list(given.reasons)
    }
    new = insert(feedback).values(row)
    said = ("rating", "reasons", "comment", "ideal", "other", "tie", "created")
    kept = connection.execute(
        new.on_conflict_do_update(
            index_elements=["message", "account", "kind"], set_={name: new.excluded[name] for name in said}
        ).returning(feedback)
    ).one()
    written = _feedback(kept)
    words = "\n".join(filter(None, (written.comment, written.ideal)))
    flags = moderator.flags(words, "prompt") if words else ()
    why = because(written.kind, flags, reviews.standing(connection, written.account), rules)
    review = opened(
        id=new_id("rev"),
        conversation=written.conversation,
        account=written.account,
        feedback=written.id,
        because=why,
        now=now,
    )
    reviews.submit(connection, review)
    return written


def take_back(connection: sa.Connection, message: str, account: str, kind: Kind) -> str | None:
    """Delete feedback; returns its id, or None where there was none."""
    gone = (
        sa.delete(feedback)
        .where(feedback.c.message == message, feedback.c.account == account, feedback.c.kind == kind)
        .returning(feedback.c.id)
    )
    return connection.execute(gone).scalar()


def of_conversation(connection: sa.Connection, conversation: str) -> tuple[Feedback, ...]:
    rows = sa.select(feedback).where(feedback.c.conversation == conversation).order_by(feedback.c.created)
    return tuple(_feedback(row) for row in connection.execute(rows))


def _an_answer(turn: Turn) -> None:
    if turn.role != "assistant":
        raise UserError("only answers are rated and edited", hint="name a message of the assistant")


def _feedback(row: Any) -> Feedback:
    return Feedback(**dict(row._mapping) | {"reasons": tuple(row.reasons)})
