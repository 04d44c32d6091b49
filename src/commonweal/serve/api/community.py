"""The community loop over HTTP: conversations, what is said of answers, and what an account may do with all that is its
own. Asking and reviewing have modules of their own, included here: the whole is :data:`router`."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

import sqlalchemy as sa
from fastapi import APIRouter, Query
from fastapi.responses import JSONResponse

from commonweal.serve.api import community_asking, community_datasets, community_improving, community_review
from commonweal.serve.api.community_bodies import (
    ChangeConversation,
    Choosing,
    Ideal,
    NewConversation,
    Thumb,
    comparison_view,
    conversation_view,
    feedback_view,
    turn_view,
)
from commonweal.serve.api.context import Caller, Serve, ServeDep
from commonweal.serve.api.errors import OpenAIRoute, documented
from commonweal.serve.api.storable import Id, listed
from commonweal.serve.community import comparing, conversations, feedback, portability, withdrawal
from commonweal.serve.community.records import Conversation
from commonweal.serve.community.review import Kind
from commonweal.serve.community.sight import blind
from commonweal.serve.community.terms import LICENCES, MEANINGS, Terms, terms

router = APIRouter(prefix="/v1/community", tags=["community"], route_class=OpenAIRoute)

READ_BY = (
    "The machine that answers can read what you write, and it may belong to any member of this pool. "
    "Ask for trusted machines only, and it is the operator's or your own."
)


@router.get("/terms", responses=documented(401))
def told(caller: Caller) -> dict[str, Any]:
    """What can be chosen and said: consents with their licences and meaning, reasons of thumbs, who reads along."""
    return {
        "object": "community.terms",
        "consents": [
            {"id": consent, "licences": list(known), "meaning": MEANINGS[consent]}
            for consent, known in LICENCES.items()
        ],
        "reasons": {"up": list(feedback.REASONS[1]), "down": list(feedback.REASONS[-1])},
        "read_by": READ_BY,
        "account": caller.name,
        "operator": caller.role == "admin",
    }


@router.post("/conversations", status_code=201, responses=documented(400, 401))
def begin(body: NewConversation, serve: ServeDep, caller: Caller) -> dict[str, Any]:
    """An empty conversation, under the terms that its user chooses."""
    with serve.database.transaction() as connection:
        made = conversations.open_conversation(
            connection,
            caller.name,
            terms=terms(body.consent, body.licence),
            title=body.title,
            now=serve.clock.now(),
        )
    return conversation_view(made)


@router.get("/conversations", responses=documented(400, 401))
def mine(
    serve: ServeDep,
    caller: Caller,
    limit: Annotated[int, Query(ge=1, le=100)] = 30,
    before: Annotated[float | None, Query(ge=0, le=1e12, allow_inf_nan=False)] = None,
) -> dict[str, Any]:
    """The caller's conversations, those spoken in last first; ``before`` is the ``updated`` of the last one seen."""
    with serve.database.transaction() as connection:
        found = conversations.of_account(connection, caller.name, limit=limit + 1, before=before)
    return listed([conversation_view(one) for one in found[:limit]], more=len(found) > limit)


@router.get("/conversations/{conversation}", responses=documented(401, 404))
def one(conversation: Id, serve: ServeDep, caller: Caller) -> dict[str, Any]:
    """A conversation with all its messages, and what was said of them."""
    with serve.database.transaction() as connection:
        found = conversations.find(connection, conversation, caller.name)
        return conversation_view(found) | _within(connection, found.id)


def _within(connection: sa.Connection, conversation: str) -> dict[str, Any]:
    hidden = blind(connection, conversation)
    return {
        "messages": [turn_view(turn, hidden) for turn in conversations.turns(connection, conversation)],
        "feedback": [feedback_view(given) for given in feedback.of_conversation(connection, conversation)],
        "comparisons": [comparison_view(c) for c in comparing.of_conversation(connection, conversation)],
    }


@router.patch("/conversations/{conversation}", responses=documented(400, 401, 404))
def change(conversation: Id, body: ChangeConversation, serve: ServeDep, caller: Caller) -> dict[str, Any]:
    """Another title, or other terms for all of it. Whoever allows less has it taken out of every data set that goes
    beyond."""
    now = serve.clock.now()
    with serve.database.transaction() as connection:
        found = conversations.find(connection, conversation, caller.name)
        after = conversations.change(
            connection, found, title=body.title, terms=_changed(found, body), now=now
        )
        if after.terms != found.terms:
            withdrawal.withdraw_beyond(connection, serve.blobs, found.id, after.terms, now)
    return conversation_view(after)


def _changed(found: Conversation, body: ChangeConversation) -> Terms | None:
    if body.consent is None and body.licence is None:
        return None
    consent = body.consent or found.terms.consent
    kept = found.terms.licence if consent == found.terms.consent else None
    return terms(consent, body.licence or kept)


@router.delete("/conversations/{conversation}", responses=documented(401, 404))
def forget(conversation: Id, serve: ServeDep, caller: Caller) -> dict[str, Any]:
    """Delete a conversation, here and in every data set."""
    with serve.database.transaction() as connection:
        gone = withdrawal.forget_conversation(
            connection, serve.blobs, conversation, caller.name, serve.clock.now()
        )
    return {"id": conversation, "object": "conversation.deleted", "deleted": True} | asdict(gone)


@router.put("/messages/{message}/thumb", responses=documented(400, 401, 404))
def rate(message: Id, body: Thumb, serve: ServeDep, caller: Caller) -> dict[str, Any]:
    """A thumb for an answer, in the place of the one before."""
    now = serve.clock.now()
    with serve.database.transaction() as connection:
        given = feedback.thumb(
            conversations.find_turn(connection, message, caller.name),
            caller.name,
            rating=body.rating,
            reasons=tuple(body.reasons),
            comment=body.comment,
            now=now,
        )
        return feedback_view(_given(serve, connection, given, now))


@router.put("/messages/{message}/ideal", responses=documented(400, 401, 404))
def amend(message: Id, body: Ideal, serve: ServeDep, caller: Caller) -> dict[str, Any]:
    """The answer as it should have been."""
    now = serve.clock.now()
    with serve.database.transaction() as connection:
        given = feedback.edit(
            conversations.find_turn(connection, message, caller.name),
            caller.name,
            ideal=body.content,
            comment=body.comment,
            now=now,
        )
        return feedback_view(_given(serve, connection, given, now))


@router.delete("/messages/{message}/thumb", responses=documented(401, 404))
def unrate(message: Id, serve: ServeDep, caller: Caller) -> dict[str, Any]:
    """Take a thumb back, also out of the data sets."""
    return _taken_back(serve, caller.name, message, "thumb")


@router.delete("/messages/{message}/ideal", responses=documented(401, 404))
def unamend(message: Id, serve: ServeDep, caller: Caller) -> dict[str, Any]:
    """Take an edit back, also out of the data sets."""
    return _taken_back(serve, caller.name, message, "edit")


@router.post("/comparisons/{comparison}", responses=documented(400, 401, 404, 409))
def choose(comparison: Id, body: Choosing, serve: ServeDep, caller: Caller) -> dict[str, Any]:
    """Which of two drafts is better. Their models are told with the answer."""
    with serve.database.transaction() as connection:
        chosen = comparing.choose(
            connection,
            comparison,
            caller.name,
            body.choice,
            comment=body.comment,
            moderator=serve.community.moderator,
            rules=serve.community.rules,
            now=serve.clock.now(),
        )
    return comparison_view(chosen.comparison) | {
        "messages": [turn_view(turn) for turn in chosen.turns],
        "feedback": feedback_view(chosen.feedback),
    }


@router.get("/me", responses=documented(401))
def export(serve: ServeDep, caller: Caller) -> JSONResponse:
    """Everything that is kept of the caller, to take along."""
    with serve.database.transaction() as connection:
        found = portability.everything(connection, caller.name, serve.clock.now())
    return JSONResponse(
        found, headers={"Content-Disposition": 'attachment; filename="commonweal-my-data.json"'}
    )


@router.delete("/me", responses=documented(401))
def forget_me(serve: ServeDep, caller: Caller) -> dict[str, Any]:
    """Delete every conversation of the caller, here and in every data set. Credits and keys stay."""
    with serve.database.transaction() as connection:
        gone = withdrawal.forget_account(connection, serve.blobs, caller.name, serve.clock.now())
    return {"object": "community.deleted", "deleted": True} | asdict(gone)


def _given(
    serve: Serve, connection: sa.Connection, given: feedback.Feedback, now: float
) -> feedback.Feedback:
    """What was said before is in the data sets no more: it is reviewed anew."""
    community = serve.community
    kept = feedback.give(connection, given, moderator=community.moderator, rules=community.rules, now=now)
    withdrawal.withdraw_feedback(connection, serve.blobs, (kept.id,), now)
    return kept


def _taken_back(serve: Serve, account: str, message: str, kind: Kind) -> dict[str, Any]:
    now = serve.clock.now()
    with serve.database.transaction() as connection:
        conversations.find_turn(connection, message, account)
        gone = feedback.take_back(connection, message, account, kind)
        if gone is not None:
            withdrawal.withdraw_feedback(connection, serve.blobs, (gone,), now)
    return {"id": gone, "object": "feedback.deleted", "deleted": gone is not None}


for part in (community_asking, community_review, community_datasets, community_improving):
    router.include_router(part.router)
