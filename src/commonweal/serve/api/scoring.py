"""``POST /serve/v1/score``: how likely a model finds a given answer. OpenAI's API has no such question (echo is for
prompts of text, not for chats), and evaluation by likelihood needs it: one forward pass, and the same number each time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response
from pydantic import Field

from commonweal.core.completion import Message, Role, Token
from commonweal.core.completion import Request as ModelRequest
from commonweal.serve.api.asking import AskBody, AskRoute, Strict
from commonweal.serve.api.asks import answer
from commonweal.serve.api.complaints import ApiError
from commonweal.serve.api.context import Caller
from commonweal.serve.api.errors import documented
from commonweal.serve.api.turn import turn_of

router = APIRouter(route_class=AskRoute, tags=["scoring"])


class ScoredMessage(Strict):
    """One turn of the chat before the answer."""

    role: Role
    content: str = ""


class ScoreBody(AskBody):
    """Either ``prompt`` or ``messages``, and the answer to be scored."""

    continuation: str = Field(min_length=1)
    prompt: str | None = None
    messages: list[ScoredMessage] | None = None


@router.post("/serve/v1/score", responses=documented(400, 401, 404, 413, 429, 503))
async def score(request: Request, body: ScoreBody, caller: Caller) -> Response:
    """The log-probability (nats) of ``continuation`` after the prompt or the chat, and of each of its tokens."""
    if (body.prompt is None) == (body.messages is None):
        raise ApiError("Give either 'prompt' or 'messages'.", param="messages")
    turn = await turn_of(request, body, caller)
    asked = ModelRequest(
        model=turn.model.name,
        kind="score",
        prompt=body.prompt,
        messages=None
        if body.messages is None
        else tuple(Message(role=m.role, content=m.content) for m in body.messages),
        continuation=body.continuation,
        max_tokens=0,
        logprobs=0,
    )
    found = await answer(turn.serve.desk, turn.ask(asked))
    turn.charge(found.usage)
    return turn.json(_told(turn.head(turn.named("score-"), "score"), found.choices[0].tokens))


def _told(head: dict[str, Any], tokens: Sequence[Token]) -> dict[str, Any]:
    logprobs = [token.logprob for token in tokens if token.logprob is not None]
    return head | {
        "logprob": sum(logprobs) if logprobs else None,
        "tokens": [{"token": token.text, "logprob": token.logprob} for token in tokens],
    }
