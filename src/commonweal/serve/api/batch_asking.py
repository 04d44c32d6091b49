"""A batch's lines, answered by the functions that the routes use: the same checks, the same answers, the same errors.

What differs: nobody waits, so each asks with a low priority, and the account's limits a minute do not count.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from commonweal.serve.api.asking import AskBody, as_model_error, parsed
from commonweal.serve.api.chat import chat_answer
from commonweal.serve.api.chat_body import ChatBody
from commonweal.serve.api.chat_request import chat_request
from commonweal.serve.api.complaints import complaint
from commonweal.serve.api.completions import completion_answer
from commonweal.serve.api.completions_body import CompletionBody, completion_requests
from commonweal.serve.api.context import Account, Serve
from commonweal.serve.api.embeddings import EmbeddingBody, embedding_answer, embedding_requests
from commonweal.serve.api.responses import response_answer
from commonweal.serve.api.responses_body import ResponseBody
from commonweal.serve.api.responses_request import response_request
from commonweal.serve.api.turn import Turn
from commonweal.serve.batches.loop import Reply, is_busy


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """How an endpoint's requests are read and answered."""

    body: type[AskBody]
    answer: Callable[[Turn, Any], Awaitable[dict[str, Any]]]


async def _chat(turn: Turn, body: ChatBody) -> dict[str, Any]:
    return await chat_answer(turn, chat_request(body, turn.model), body)


async def _completion(turn: Turn, body: CompletionBody) -> dict[str, Any]:
    return await completion_answer(turn, completion_requests(body, turn.model), body)


async def _embedding(turn: Turn, body: EmbeddingBody) -> dict[str, Any]:
    return await embedding_answer(turn, embedding_requests(body, turn.model), body)


async def _response(turn: Turn, body: ResponseBody) -> dict[str, Any]:
    return await response_answer(turn, response_request(body, turn.model), body)


ASKED: Mapping[str, Asked] = {
    "/v1/chat/completions": Asked(body=ChatBody, answer=_chat),
    "/v1/completions": Asked(body=CompletionBody, answer=_completion),
    "/v1/embeddings": Asked(body=EmbeddingBody, answer=_embedding),
    "/v1/responses": Asked(body=ResponseBody, answer=_response),
}


class RouteAnswerer:
    """Answers a line as its route would."""

    def __init__(self, serve: Serve) -> None:
        self._serve = serve

    async def answer(
        self, endpoint: str, body: Mapping[str, Any], *, owner: str, request_id: str, priority: int
    ) -> Reply:
        """The answer, or the error as it goes over the wire."""
        asked = ASKED[endpoint]
        try:
            found = parsed(asked.body, orjson.dumps(body))
            turn = await self._turn(found, Account(name=owner), request_id, priority)
            return Reply(status=200, body=await asked.answer(turn, found))
        except Exception as error:  # whatever it is, it is this line's answer
            told = complaint(as_model_error(error))
            return Reply(status=told.status, body=told.body(), again=is_busy(told.status, told.code))

    async def _turn(self, body: AskBody, account: Account, request_id: str, priority: int) -> Turn:
        return Turn(
            serve=self._serve,
            account=account,
            id=request_id,
            model=await self._serve.model(body.model, account),
            trusted=body.commonweal is not None and body.commonweal.trusted,
            priority=priority,
            created=int(self._serve.clock.now()),
        )


def answerer(serve: Serve) -> RouteAnswerer:
    """For batches, with counts of requests and tokens of its own: what is asked at night must not use up the day's."""
    return RouteAnswerer(Serve(**{name: getattr(serve, name) for name in _PARTS}))


_PARTS = ("desk", "database", "blobs", "clock", "identify", "options", "models", "workbench")
