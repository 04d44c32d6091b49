"""``POST /v1/chat/completions``: the next turn of a chat, whole or as server-sent events.

A tool call is streamed when it is complete: first its name, then its arguments.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from commonweal.core.completion import LOGPROB_FLOOR, Choice, Token, ToolCall
from commonweal.core.completion import Request as ModelRequest
from commonweal.core.streaming import Ended, Piece, Usage
from commonweal.serve.api.asking import AskRoute
from commonweal.serve.api.asks import answer, checked, events_of, usage_json
from commonweal.serve.api.chat_body import ChatBody
from commonweal.serve.api.chat_request import chat_request
from commonweal.serve.api.complaints import ApiError
from commonweal.serve.api.context import Caller
from commonweal.serve.api.errors import documented
from commonweal.serve.api.streams import DONE, data_frame
from commonweal.serve.api.turn import Turn, turn_of
from commonweal.serve.tools.wanted import wanted
from commonweal.serve.tools.workbench import Equipped

router = APIRouter(route_class=AskRoute, tags=["chat"])


@router.post("/v1/chat/completions", responses=documented(400, 401, 404, 413, 429, 503))
async def chat_completions(request: Request, body: ChatBody, caller: Caller) -> Response:
    """The next turn of a chat. With `stream`, as server-sent events that end in `[DONE]`."""
    turn = await turn_of(request, body, caller)
    asked = chat_request(body, turn.model)
    if body.stream:
        return turn.stream(chat_frames(turn, asked, body, equipped(turn, body)))
    return turn.json(await chat_answer(turn, asked, body))


def equipped(turn: Turn, body: ChatBody) -> Equipped | None:
    """A desk with the hub's tools that the body names on it; None where it names none. Raises UserError."""
    tools = wanted(None if body.commonweal is None else body.commonweal.tools)
    if not tools:
        return None
    if turn.serve.workbench is None:
        raise ApiError("This hub runs no tools.", param="commonweal.tools", code="unsupported")
    return turn.serve.workbench.equipped(tools, turn.model.window)


async def chat_answer(turn: Turn, request: ModelRequest, body: ChatBody) -> dict[str, Any]:
    """A whole answer in OpenAI's shape."""
    tools = equipped(turn, body)
    found = await answer(tools or turn.serve.desk, turn.ask(request))
    turn.charge(found.usage)
    return {
        **turn.head(turn.named("chatcmpl-"), "chat.completion"),
        "choices": [_choice(index, choice, body) for index, choice in enumerate(found.choices)],
        "usage": usage_json(found.usage),
        "commonweal": {**turn.read_by(), **(tools.told() if tools else {})},
    }


def _choice(index: int, choice: Choice, body: ChatBody) -> dict[str, Any]:
    calls = _allowed(choice.tool_calls, body)
    message: dict[str, Any] = {
        "role": "assistant",
        "content": choice.text or (None if calls else ""),
        "refusal": None,
    }
    if calls:
        message["tool_calls"] = [_call(call) for call in calls]
    return {
        "index": index,
        "message": message,
        "logprobs": chat_logprobs(choice.tokens) if body.logprobs else None,
        "finish_reason": choice.finish,
    }


def _allowed(calls: Sequence[ToolCall], body: ChatBody) -> Sequence[ToolCall]:
    return calls[:1] if body.parallel_tool_calls is False else calls


def _call(call: ToolCall) -> dict[str, Any]:
    return {
        "id": call.id,
        "type": "function",
        "function": {"name": call.name, "arguments": call.arguments},
    }


async def chat_frames(
    turn: Turn, request: ModelRequest, body: ChatBody, tools: Equipped | None = None
) -> AsyncGenerator[bytes, None]:
    """An answer as server-sent events. Nothing is sent before the model's first event. What ``tools`` did is told by
    chunks without a text, in their ``commonweal``."""
    head = turn.head(turn.named("chatcmpl-"), "chat.completion.chunk")
    if body.includes_usage:
        head["usage"] = None
    begun: set[int] = set()

    def frame(
        index: int, delta: dict[str, Any], finish: str | None = None, logprobs: Any = None, **more: Any
    ) -> bytes:
        if index not in begun:
            begun.add(index)
            delta = {"role": "assistant", "content": "", "refusal": None} | delta
        choice = {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": finish}
        return data_frame({**head, "choices": [choice], **more})

    async with aclosing(events_of(tools or turn.serve.desk, [turn.ask(request)])) as events:
        async for _, event in events:
            if tools and (news := tools.fresh()):
                yield frame(0, {}, commonweal=news)
            match event:
                case Piece(index=index, text=text, tokens=tokens):
                    told = chat_logprobs(tokens) if body.logprobs and tokens else None
                    if text or told:
                        yield frame(index, {"content": text}, logprobs=told)
                case Ended(index=index):
                    checked(event)
                    for at, call in enumerate(_allowed(event.tool_calls, body)):
                        for delta in _call_deltas(at, call):
                            yield frame(index, {"tool_calls": [delta]})
                    yield frame(index, {}, finish=event.finish)
                case Usage():
                    turn.charge(event)
                    if body.includes_usage:
                        yield data_frame(
                            {**head, "choices": [], "usage": usage_json(event), "commonweal": turn.read_by()}
                        )
    yield DONE


def _call_deltas(at: int, call: ToolCall) -> list[dict[str, Any]]:
    return [
        {
            "index": at,
            "id": call.id,
            "type": "function",
            "function": {"name": call.name, "arguments": ""},
        },
        {"index": at, "function": {"arguments": call.arguments}},
    ]


def chat_logprobs(tokens: Sequence[Token]) -> dict[str, Any]:
    """Log-probabilities as chat tells them, the likeliest alternative first."""
    return {"content": [_token(token) for token in tokens], "refusal": None}


def _token(token: Token) -> dict[str, Any]:
    top = sorted(token.top.items(), key=lambda item: -item[1])
    return _logprob(token.text, token.logprob) | {
        "top_logprobs": [_logprob(text, logprob) for text, logprob in top]
    }


def _logprob(text: str, logprob: float | None) -> dict[str, Any]:
    """``bytes`` are null where the token is a part of a character."""
    value = LOGPROB_FLOOR if logprob is None else max(logprob, LOGPROB_FLOOR)
    return {
        "token": text,
        "logprob": value,
        "bytes": None if "\ufffd" in text else list(text.encode()),
    }
