"""Asking in a conversation: one answer as a stream of events, or two drafts at once.

The stream's events are JSON objects with a ``type``: ``began`` (the user's message as it was kept, and the id of the
answer), ``delta`` (more text), ``done`` (the answer as it was kept: model, tokens, cost, seconds), ``error``. Closing
the connection stops the answer.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import anyio.to_thread
from fastapi import APIRouter, Request
from fastapi.responses import Response

from commonweal.serve.api.community_bodies import AskedBody, AskedOne, AskedTwo, comparison_view, turn_view
from commonweal.serve.api.complaints import ApiError, Complaint
from commonweal.serve.api.context import Account, Caller, Serve, ServeDep
from commonweal.serve.api.errors import OpenAIRoute, documented
from commonweal.serve.api.rates import estimated_tokens
from commonweal.serve.api.storable import Id
from commonweal.serve.api.streams import EventStream, data_frame
from commonweal.serve.community import comparing
from commonweal.serve.community.answering import Aid, Answering, Began, Finished, More
from commonweal.serve.community.asking import Flagged, Question, ask
from commonweal.serve.community.records import Turn
from commonweal.serve.tools.wanted import wanted

router = APIRouter(route_class=OpenAIRoute)

_SEEDS = 2**53  # as whole numbers in JavaScript


@router.post("/conversations/{conversation}/messages", responses=documented(400, 401, 404, 409, 429, 503))
async def say(
    conversation: Id, body: AskedOne, request: Request, serve: ServeDep, caller: Caller
) -> Response:
    """Ask a model in a conversation, or ask again for another answer."""
    await _admit(serve, caller, request)
    wants = wanted(body.tools)
    if wants and serve.workbench is None:
        raise ApiError("This hub runs no tools.", param="tools", code="unsupported")
    question = await anyio.to_thread.run_sync(_asked, serve, caller, conversation, body, [body.model])
    aid = serve.workbench.equipped(wants, question.models[0].window) if serve.workbench and wants else None
    return EventStream(
        _frames(serve, question, aid, trusted=body.trusted),
        patience=serve.options.patience_seconds,
        keep_alive=serve.options.keep_alive_seconds,
        last_words=_failed,
    )


@router.post(
    "/conversations/{conversation}/drafts",
    status_code=201,
    responses=documented(400, 401, 404, 409, 429, 503),
)
async def drafts(
    conversation: Id, body: AskedTwo, request: Request, serve: ServeDep, caller: Caller
) -> dict[str, Any]:
    """Two drafts to compare. Which model wrote which is told after the choice."""
    await _admit(serve, caller, request)
    question = await anyio.to_thread.run_sync(_asked, serve, caller, conversation, body, body.models)
    made = await comparing.compare(
        _answering(serve), question, seed=secrets.randbelow(_SEEDS), trusted=body.trusted
    )
    for turn in made.turns:
        _charge(serve, question, turn)
    hidden = frozenset({made.comparison.id})
    return comparison_view(made.comparison) | {
        "user": turn_view(question.user),
        "drafts": [turn_view(turn, hidden) for turn in made.turns],
    }


async def _admit(serve: Serve, caller: Account, request: Request) -> None:
    serve.rates.admit(caller.name, estimated_tokens(await request.body()))


def _asked(serve: Serve, caller: Account, conversation: str, body: AskedBody, models: list[str]) -> Question:
    with serve.database.transaction() as connection:
        question = ask(
            connection,
            conversation,
            caller.name,
            content=body.content,
            parent=body.parent,
            models=models,
            parameters=body.parameters(),
            moderator=serve.community.moderator,
            now=serve.clock.now(),
        )
    if isinstance(question, Flagged):
        raise question
    return question


def _answering(serve: Serve) -> Answering:
    return Answering(
        desk=serve.desk, database=serve.database, clock=serve.clock, moderator=serve.community.moderator
    )


async def _frames(
    serve: Serve, question: Question, aid: Aid | None, *, trusted: bool
) -> AsyncGenerator[bytes, None]:
    async with aclosing(_answering(serve).stream(question, trusted=trusted, aid=aid)) as told:
        async for event in told:
            match event:
                case Began(user=user, answer=answer):
                    yield data_frame({"type": "began", "user": turn_view(user), "answer": answer})
                case More(text=text):
                    yield data_frame({"type": "delta", "text": text})
                case Finished(turn=turn):
                    _charge(serve, question, turn)
                    yield data_frame({"type": "done", "message": turn_view(turn)})


def _charge(serve: Serve, question: Question, turn: Turn) -> None:
    if turn.spent is not None:
        tokens = (turn.spent.prompt_tokens or 0) + turn.spent.completion_tokens
        serve.rates.charge(question.conversation.account, tokens)


def _failed(told: Complaint) -> bytes:
    return data_frame({"type": "error"} | told.body())
