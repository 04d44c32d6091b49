"""``POST /v1/responses``: an answer to input items, without state: nothing is kept, and nothing can be gone on with."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from commonweal.core.completion import Request as ModelRequest
from commonweal.serve.api.asking import AskRoute
from commonweal.serve.api.asks import answer
from commonweal.serve.api.context import Caller
from commonweal.serve.api.errors import documented
from commonweal.serve.api.responses_answer import Shape
from commonweal.serve.api.responses_body import ResponseBody
from commonweal.serve.api.responses_events import ResponseEvents
from commonweal.serve.api.responses_request import response_request
from commonweal.serve.api.turn import Turn, turn_of

router = APIRouter(route_class=AskRoute, tags=["responses"])


@router.post("/v1/responses", responses=documented(400, 401, 404, 413, 429, 503))
async def create_response(request: Request, body: ResponseBody, caller: Caller) -> Response:
    """An answer to the input. With `stream`, as typed events. Nothing is stored."""
    turn = await turn_of(request, body, caller)
    asked = response_request(body, turn.model)
    if body.stream:
        events = ResponseEvents(Shape(turn=turn, body=body, request=asked))
        return turn.stream(events.frames(), last_words=events.last_words)
    return turn.json(await response_answer(turn, asked, body))


async def response_answer(turn: Turn, request: ModelRequest, body: ResponseBody) -> dict[str, Any]:
    """A whole answer in OpenAI's shape."""
    found = await answer(turn.serve.desk, turn.ask(request))
    turn.charge(found.usage)
    shape, choice = Shape(turn=turn, body=body, request=request), found.choices[0]
    calls = [shape.call(number, call) for number, call in enumerate(shape.allowed(choice.tool_calls))]
    output: list[dict[str, Any]] = []
    if choice.text or not calls:
        status = "incomplete" if choice.finish == "length" else "completed"
        output.append(shape.message(status, [shape.part(choice.text, choice.tokens)]))
    return shape.response("completed", output + calls, usage=found.usage, finish=choice.finish)
