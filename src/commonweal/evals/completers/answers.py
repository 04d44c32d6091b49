"""What an OpenAI-compatible server answered, as completions. Pure; what is not as the protocol says is Malformed.

The text is cut at the request's stop strings here too, because servers differ in whether they keep them, and some
know none.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from commonweal.core.completion import (
    LOGPROB_FLOOR,
    Choice,
    Completion,
    Request,
    Timing,
    Token,
    ToolCall,
)
from commonweal.core.openai_words import FINISHES


class Malformed(Exception):
    """The answer is not what the protocol says."""


class NoLogprobs(Exception):
    """A scored answer came without the prompt's log-probabilities: the server tells none, or knows no echo."""


def completion_from(payload: Any, request: Request, timing: Timing, attempts: int) -> Completion:
    """The completion in a whole answer's JSON. Raises Malformed or NoLogprobs."""
    try:
        listed = payload["choices"]
        if not listed:
            raise Malformed("the list of choices is empty")
        if request.kind == "score":
            choices: tuple[Choice, ...] = (_scored(listed[0], request, payload.get("usage") or {}),)
        elif request.messages is not None:
            choices = tuple([_chat_choice(choice, request) for choice in listed])
        else:
            choices = tuple([_choice(choice, request) for choice in listed])
        usage = payload.get("usage") or {}
        return Completion(
            choices=choices,
            model=str(payload.get("model") or ""),
            prompt_tokens=_count(usage.get("prompt_tokens")),
            completion_tokens=_count(usage.get("completion_tokens")),
            timing=timing,
            attempts=attempts,
        )
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise Malformed(f"the answer is not a completion ({error!r})") from None


def cut_at_stop(text: str, stops: Sequence[str]) -> int:
    """How many characters come before the first stop string.

    >>> cut_at_stop("Paris\\nNext", ["\\n", "."])
    5
    """
    end = len(text)
    for stop in stops:
        found = text.find(stop, 0, end) if stop else -1
        if found >= 0:
            end = found
    return end


def shortened(tokens: tuple[Token, ...], text: str, end: int) -> tuple[Token, ...]:
    """The tokens that begin before character ``end`` of ``text``."""
    if end == len(text):
        return tokens
    kept, at = 0, 0
    while kept < len(tokens) and at < end:
        at += len(tokens[kept].text)
        kept += 1
    return tokens[:kept]


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and value >= 0 else None


def _choice(value: Mapping[str, Any], request: Request) -> Choice:
    text = value["text"]
    if not isinstance(text, str):
        raise Malformed("a choice's text is not text")
    listed = value.get("logprobs") if request.logprobs is not None else None
    return _made(text, value.get("finish_reason"), _tokens(listed) if listed else (), request)


def _chat_choice(value: Mapping[str, Any], request: Request) -> Choice:
    message = value["message"]
    text = message.get("content") or ""
    if not isinstance(text, str):
        raise Malformed("a message's content is not text")
    listed = (value.get("logprobs") or {}).get("content") if request.logprobs is not None else None
    finish = value.get("finish_reason")
    refusal = message.get("refusal")
    if not text and isinstance(refusal, str) and refusal:
        text = refusal
    calls = tuple([_call(call) for call in message.get("tool_calls") or ()])
    if calls:
        finish = "tool_calls"
    elif not text and not isinstance(finish, str):
        raise Malformed("a choice has neither content nor a reason to have ended")
    tokens = tuple([_chat_token(token) for token in listed]) if listed else ()
    return _made(text, finish, tokens, request, calls)


def _made(
    text: str,
    finish: Any,
    tokens: tuple[Token, ...],
    request: Request,
    calls: tuple[ToolCall, ...] = (),
) -> Choice:
    end = cut_at_stop(text, request.stop) if request.stop else len(text)
    reason = FINISHES.get(finish, "stop")
    if end < len(text):
        tokens = shortened(tokens, text, end)
        text, reason = text[:end], "stop"
    return Choice(
        text=text, finish=reason, tokens=tokens, logprob=_sum(tokens) if tokens else None, tool_calls=calls
    )


def _call(value: Mapping[str, Any]) -> ToolCall:
    function = value["function"]
    return ToolCall(
        id=str(value.get("id") or ""), name=function["name"], arguments=function.get("arguments") or ""
    )


def _tokens(value: Mapping[str, Any]) -> tuple[Token, ...]:
    """The completion endpoint's log-probabilities: lists side by side. llama.cpp gives the chat's form here too."""
    if "content" in value:
        return tuple([_chat_token(token) for token in value["content"] or ()])
    texts, numbers = value["tokens"], value["token_logprobs"]
    tops = value.get("top_logprobs") or [None] * len(texts)
    if not len(texts) == len(numbers) == len(tops):
        raise Malformed("the lists of tokens and of log-probabilities differ in length")
    return tuple(
        [
            Token(text=text, logprob=_number(number), top=_top(top))
            for text, number, top in zip(texts, numbers, tops, strict=True)
        ]
    )


def _chat_token(value: Mapping[str, Any]) -> Token:
    top = {entry["token"]: _finite(entry["logprob"]) for entry in value.get("top_logprobs") or ()}
    return Token(text=value["token"], logprob=_number(value["logprob"]), top=top)


def _top(value: Mapping[str, float] | None) -> Mapping[str, float]:
    return {text: _finite(number) for text, number in value.items()} if value else {}


def _number(value: float | None) -> float | None:
    return None if value is None else _finite(value)


def _finite(value: float) -> float:
    if value != value or value > 1e-3 or isinstance(value, bool):
        raise Malformed(f"{value!r} is not a log-probability")
    return max(float(value), LOGPROB_FLOOR)


def _sum(tokens: Sequence[Token]) -> float:
    return math.fsum([token.logprob for token in tokens if token.logprob is not None])


def _scored(value: Mapping[str, Any], request: Request, usage: Mapping[str, Any]) -> Choice:
    """The part of an echoed prompt that is the continuation.

    A token that straddles the boundary (it holds the end of the prompt and the beginning of the continuation)
    belongs to the continuation, whose beginning can be scored in no other way.
    """
    listed = value.get("logprobs")
    if not listed or not listed.get("tokens"):
        raise NoLogprobs
    prompt = request.prompt or ""
    whole = prompt + request.continuation
    tokens = _tokens(listed)
    starts = _starts(listed.get("text_offset"), [token.text for token in tokens], whole)
    if str(value.get("text") or "")[: len(whole)].strip() != whole.strip():
        raise NoLogprobs  # it does not echo
    asked = usage.get("prompt_tokens")
    if isinstance(asked, int) and 0 < asked < len(tokens):
        tokens, starts = tokens[:asked], starts[:asked]
    kept = _between(starts, len(prompt), len(whole))
    chosen = tuple([tokens[i] for i in kept])
    if request.continuation and not chosen:
        raise Malformed("no token of the continuation was echoed")
    return Choice(
        text=request.continuation,
        finish="stop",
        tokens=chosen,
        logprob=_sum(chosen),
        greedy=all(_is_likeliest(token) for token in chosen),
    )


def _starts(offsets: Sequence[int] | None, texts: Sequence[str], whole: str) -> list[int]:
    """Where in ``whole`` each token begins. A token before the text (``<s>``), which some servers count, is put
    before its beginning."""
    starts = list(offsets) if offsets else _running(texts)
    if len(starts) != len(texts) or any(a > b for a, b in pairwise(starts)):
        raise Malformed("the text offsets do not fit the tokens")
    first = texts[0]
    if first and not whole.startswith(first) and len(starts) > 1 and starts[1] - starts[0] == len(first):
        return [start - starts[1] for start in starts]
    return [start - starts[0] for start in starts]


def _running(texts: Sequence[str]) -> list[int]:
    starts, at = [], 0
    for text in texts:
        starts.append(at)
        at += len(text)
    return starts


def _between(starts: Sequence[int], begin: int, end: int) -> list[int]:
    """The tokens that have a character (or, as part of one, none) in ``begin`` to ``end``."""
    ends = [*starts[1:], end]
    return [
        i
        for i, (start, stop) in enumerate(zip(starts, ends, strict=True))
        if start < end and start >= 0 and (start >= begin or stop > begin)
    ]


def _is_likeliest(token: Token) -> bool:
    if token.logprob is None or not token.top:
        return False
    return token.logprob >= max(token.top.values())
