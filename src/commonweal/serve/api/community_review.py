"""The review queue over HTTP: what waits for a person, with what it is about. For the operator alone."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any, Literal

import sqlalchemy as sa
from fastapi import APIRouter, Query

from commonweal.serve.api.community_bodies import Deciding, review_view
from commonweal.serve.api.context import Caller, ServeDep, operator
from commonweal.serve.api.errors import OpenAIRoute, documented
from commonweal.serve.api.storable import After, Id, listed
from commonweal.serve.community import conversations, feedback, reviews, withdrawal
from commonweal.serve.community.records import path
from commonweal.serve.community.review import Review

router = APIRouter(route_class=OpenAIRoute)


@router.get("/reviews", responses=documented(400, 401, 404))
def queue(
    serve: ServeDep,
    caller: Caller,
    status: Literal["pending", "accepted", "refused"] = "pending",
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    after: After = None,
) -> dict[str, Any]:
    """The queue, the oldest first, each with what was said; and how many there are of each status."""
    operator(caller)
    with serve.database.transaction() as connection:
        found = reviews.queue(connection, status, limit=limit + 1, after=after)
        shown = [review_view(review) | _about(connection, review) for review in found[:limit]]
        counts = reviews.counts(connection)
    return listed(shown, more=len(found) > limit) | {"counts": counts}


@router.post("/reviews/{review}", responses=documented(400, 401, 404, 409))
def decide(review: Id, body: Deciding, serve: ServeDep, caller: Caller) -> dict[str, Any]:
    """Accept or refuse. What is refused after it was accepted is taken out of the data sets."""
    operator(caller)
    now = serve.clock.now()
    with serve.database.transaction() as connection:
        after = reviews.decide(connection, review, body.status, by=caller.name, why=body.why, now=now)
        gone: tuple[str, ...] = ()
        if body.status == "refused" and after.feedback is not None:
            gone = withdrawal.withdraw_feedback(connection, serve.blobs, (after.feedback,), now)
        if body.status == "refused" and after.message is not None:
            gone = withdrawal.withdraw_conversation(connection, serve.blobs, after.conversation, now)
        counts = reviews.counts(connection)
    return review_view(after) | {"datasets": list(gone), "counts": counts}


def _about(connection: sa.Connection, review: Review) -> dict[str, Any]:
    """The messages up to the one in question, and the feedback: what a person needs to judge."""
    turns = {turn.id: turn for turn in conversations.turns(connection, review.conversation)}
    given = next(
        (f for f in feedback.of_conversation(connection, review.conversation) if f.id == review.feedback),
        None,
    )
    last = given.message if given is not None else review.message
    other = None if given is None or given.other is None else turns[given.other]
    return {
        "messages": [
            {"id": turn.id, "role": turn.role, "content": turn.content, "flags": turn.flags}
            for turn in path(turns, last)
        ],
        "other": None if other is None else other.content,
        "feedback": None if given is None else asdict(given),
    }
