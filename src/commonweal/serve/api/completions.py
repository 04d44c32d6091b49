"""``POST /v1/completions``: what comes after a text, for one prompt or many, whole or as server-sent events.

``echo`` with ``logprobs``, from which evaluation harnesses read likelihoods, is two asks: the prompt is scored, then
gone on with (unless ``max_tokens`` is 0). The first token's log-probability is null where the model has nothing before
it. Of several prompts, choice ``k * n + i`` is the i-th answer to the k-th prompt.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from commonweal.core.completion import Choice, Token
from commonweal.core.completion import Request as ModelRequest
from commonweal.core.streaming import Ended, Gathered, Piece, Usage
from commonweal.serve.api.asking import AskRoute
from commonweal.serve.api.asks import answers, checked, events_of, total, usage_json
from commonweal.serve.api.completions_body import (
    CompletionBody,
    completion_requests,
    echo_requests,
    legacy_logprobs,
)
from commonweal.serve.api.context import Caller
from commonweal.serve.api.errors import documented
from commonweal.serve.api.streams import DONE, data_frame
from commonweal.serve.api.turn import Turn, turn_of

router = APIRouter(route_class=AskRoute, tags=["completions"])

_FINISHES = {"tool_calls": "stop"}  # completions know no tools


@dataclass(frozen=True, slots=True, kw_only=True)
class Echo:
    """What an answer begins with: the prompt's text and, where those are asked for, its tokens. ``usage`` counts only
    where nothing follows: otherwise the prompt is counted with what does."""

    text: str = ""
    tokens: tuple[Token, ...] = ()
    usage: Usage = Usage(prompt_tokens=0, completion_tokens=0)  # noqa: RUF009  (frozen)


@router.post("/v1/completions", responses=documented(400, 401, 404, 413, 429, 503))
async def completions(request: Request, body: CompletionBody, caller: Caller) -> Response:
    """What comes after a text. With `stream`, as server-sent events that end in `[DONE]`."""
    turn = await turn_of(request, body, caller)
    asked = completion_requests(body, turn.model)
    if body.stream:
        return turn.stream(completion_frames(turn, asked, body))
    return turn.json(await completion_answer(turn, asked, body))


async def completion_answer(
    turn: Turn, requests: Sequence[ModelRequest], body: CompletionBody
) -> dict[str, Any]:
    """A whole answer in OpenAI's shape."""
    echoes = await _echoes(turn, requests, body)
    silent = not requests[0].max_tokens
    found = _nothing(requests, echoes) if silent else await answers(turn.serve.desk, turn.asks(requests))
    usage = total([answer.usage for answer in found])
    turn.charge(usage)
    choices = [
        _choice(echo, choice, body)
        for echo, answer in zip(echoes, found, strict=True)
        for choice in answer.choices
    ]
    return {
        **turn.head(turn.named("cmpl-"), "text_completion"),
        "choices": [{"index": index, **choice} for index, choice in enumerate(choices)],
        "usage": usage_json(usage),
        "commonweal": turn.read_by(),
    }


async def _echoes(turn: Turn, requests: Sequence[ModelRequest], body: CompletionBody) -> list[Echo]:
    """What each prompt's answers begin with. The log-probabilities of a prompt are computed once, whatever ``n`` is."""
    if not body.echo:
        return [Echo()] * len(requests)
    scored = echo_requests(body, requests)
    asks = [turn.ask(request, f"-echo{at}") for at, request in enumerate(scored) if request is not None]
    found = iter(await answers(turn.serve.desk, asks)) if asks else iter(())
    echoes: list[Echo] = []
    for request, score in zip(requests, scored, strict=True):
        if score is None:
            echoes.append(Echo(text=request.prompt or ""))
            continue
        answer = next(found)
        tokens = answer.choices[0].tokens
        text = "".join(token.text for token in tokens) if request.ids else request.prompt or ""
        echoes.append(Echo(text=text, tokens=tokens, usage=answer.usage))
    return echoes


def _nothing(requests: Sequence[ModelRequest], echoes: Sequence[Echo]) -> list[Gathered]:
    """The answers where none were asked for: the prompt is all, and it was read once."""
    return [
        Gathered(
            choices=(Choice(text="", finish="length"),) * request.n,
            usage=replace(
                echo.usage,
                prompt_tokens=echo.usage.prompt_tokens + echo.usage.completion_tokens,
                completion_tokens=0,
            ),
        )
        for request, echo in zip(requests, echoes, strict=True)
    ]


def _choice(echo: Echo, choice: Choice, body: CompletionBody) -> dict[str, Any]:
    return {
        "text": echo.text + choice.text,
        "logprobs": None if body.logprobs is None else legacy_logprobs((*echo.tokens, *choice.tokens)),
        "finish_reason": _FINISHES.get(choice.finish, choice.finish),
    }


async def completion_frames(
    turn: Turn, requests: Sequence[ModelRequest], body: CompletionBody
) -> AsyncGenerator[bytes, None]:
    """An answer as server-sent events. Nothing is sent before the model's first event."""
    head = turn.head(turn.named("cmpl-"), "text_completion")
    if body.includes_usage:
        head["usage"] = None
    n, offsets, usages = requests[0].n, dict[int, int](), list[Usage]()

    def frame(index: int, text: str, finish: str | None = None, tokens: Sequence[Token] = ()) -> bytes:
        offset = offsets.get(index, 0)
        logprobs = legacy_logprobs(tokens, offset) if body.logprobs is not None and tokens else None
        offsets[index] = offset + sum(len(token.text) for token in tokens)
        choice = {"index": index, "text": text, "logprobs": logprobs, "finish_reason": finish}
        return data_frame({**head, "choices": [choice]})

    echoes = await _echoes(turn, requests, body)
    if body.echo:
        for number, echo in enumerate(echoes):
            for index in range(number * n, number * n + n):
                yield frame(index, echo.text, tokens=echo.tokens)
    if not requests[0].max_tokens:
        found = _nothing(requests, echoes)
        usages.extend(answer.usage for answer in found)
        for index in range(len(requests) * n):
            yield frame(index, "", "length")
    else:
        async with aclosing(events_of(turn.serve.desk, turn.asks(requests))) as events:
            async for number, event in events:
                match event:
                    case Piece(index=index, text=text, tokens=tokens) if text or tokens:
                        yield frame(number * n + index, text, tokens=tokens)
                    case Ended(index=index, finish=finish):
                        checked(event)
                        yield frame(number * n + index, "", _FINISHES.get(finish, finish))
                    case Usage():
                        usages.append(event)
    usage = total(usages)
    turn.charge(usage)
    if body.includes_usage:
        yield data_frame({**head, "choices": [], "usage": usage_json(usage), "commonweal": turn.read_by()})
    yield DONE
