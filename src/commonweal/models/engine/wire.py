"""The OpenAI protocol from the asking side: a request as a body, a stream's chunks as events. Pure.

Source: the OpenAI API reference, and what vLLM, SGLang, llama.cpp and Ollama add to it or leave out.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from commonweal.core.completion import (
    LOGPROB_FLOOR,
    CompletionFailed,
    FailureKind,
    Finish,
    Message,
    Request,
    Token,
    ToolCall,
)
from commonweal.core.openai_words import FINISHES, MOST_ALTERNATIVES, message_of, says_too_long, tool_forms
from commonweal.core.streaming import Ended, Event, Piece, Usage


def path_of(request: Request) -> str:
    """Where the request is posted, below the base URL."""
    if request.kind == "embed":
        return "embeddings"
    return "completions" if request.messages is None else "chat/completions"


def body_of(request: Request, model: str, *, logprobs: bool) -> dict[str, Any]:
    """The body for :func:`path_of`. ``logprobs`` asks for the tokens' log-probabilities, even if the request does not.
    Raises CompletionFailed for what the protocol has no words for."""
    if request.kind == "embed":
        return {"model": model, "input": request.prompt, "encoding_format": "float"}
    if request.kind == "score":
        return _score(request, model)
    made: dict[str, Any] = {
        "model": model,
        "temperature": request.temperature,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    given = {
        "top_p": None if request.top_p == 1.0 else request.top_p,
        "n": None if request.n == 1 else request.n,
        "stop": list(request.stop) or None,
        "seed": None if request.seed is None else request.seed + request.sample,
        "frequency_penalty": request.penalties[0] or None,
        "presence_penalty": request.penalties[1] or None,
        "logit_bias": {str(token): value for token, value in request.bias} or None,
        "max_tokens": None if request.fit and request.messages is not None else request.max_tokens,
        "response_format": None if request.schema is None else _format(request.schema),
    }
    made |= {key: value for key, value in given.items() if value is not None}
    wanted = request.logprobs or 0
    if request.messages is None:
        made["prompt"] = list(request.ids) or request.prompt
        if logprobs:
            made["logprobs"] = max(1, wanted)
        return made
    made["messages"] = [_message(message) for message in request.messages]
    if logprobs:
        made["logprobs"] = True
        if wanted:
            made["top_logprobs"] = min(wanted, MOST_ALTERNATIVES)
    return made | _tools(request)


@dataclass(slots=True)
class _Choice:
    calls: list[dict[str, str]] = field(default_factory=list)
    ended: bool = False
    finish: Finish = "stop"


class Chunks:
    """The events of one stream; feed it the data of each server-sent event, then :meth:`end`."""

    def __init__(self, request: Request) -> None:
        self._wanted = request.logprobs or 0
        self._choices: dict[int, _Choice] = {}
        self._tokens = 0
        self._usage: Mapping[str, Any] = {}
        self._finished = False

    def add(self, data: str) -> Iterator[Event]:
        """Raises CompletionFailed where the chunk is an error, or none of the protocol's."""
        if data.strip() == "[DONE]":
            self._finished = True
            return
        try:
            value = json.loads(data)
            if value.get("error"):
                raise CompletionFailed("server_error", f"the server broke off: {_said(value)}")
            self._usage = value.get("usage") or self._usage
            for delta in value.get("choices") or ():
                yield from self._delta(delta)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError, IndexError) as error:
            raise CompletionFailed("malformed", f"the stream is not one of completions ({error!r})") from None

    def end(self, seconds: float) -> Iterator[Event]:
        """The stream is over. Raises CompletionFailed where it was cut off."""
        if not self._choices or not (self._finished or all(c.ended for c in self._choices.values())):
            raise CompletionFailed("server_error", "the server's stream ended before its end")
        for index in sorted(self._choices):
            choice = self._choices[index]
            calls = tuple([ToolCall(**call) for call in choice.calls])
            yield Ended(index=index, finish="tool_calls" if calls else choice.finish, tool_calls=calls)
        details = self._usage.get("prompt_tokens_details") or {}
        yield Usage(
            prompt_tokens=_count(self._usage.get("prompt_tokens"), 0),
            completion_tokens=_count(self._usage.get("completion_tokens"), self._tokens),
            cached_tokens=_count(details.get("cached_tokens"), 0),
            seconds=seconds,
        )

    def _delta(self, delta: Mapping[str, Any]) -> Iterator[Event]:
        index = int(delta.get("index", 0))
        choice = self._choices.setdefault(index, _Choice())
        message = delta.get("delta") or {}
        text = delta.get("text") or message.get("content") or ""
        tokens = _tokens(delta.get("logprobs"), self._wanted)
        if text and not tokens:
            tokens = (Token(text=text),)  # a server that tells no tokens: a chunk counts as one
        for call in message.get("tool_calls") or ():
            _add_call(choice.calls, call)
        if text or tokens:
            self._tokens += len(tokens)
            yield Piece(index=index, text=text, tokens=tokens)
        if delta.get("finish_reason"):
            choice.ended, choice.finish = True, FINISHES.get(delta["finish_reason"], "stop")


def scored(payload: Any, request: Request, seconds: float) -> Iterator[Event]:
    """The events of an echoed prompt. Raises CompletionFailed where the server does not echo."""
    try:
        choice = payload["choices"][0]
        listed = choice.get("logprobs") or {}
        texts, offsets = listed.get("tokens") or [], listed.get("text_offset")
        before, whole = len(request.prompt or ""), (request.prompt or "") + request.continuation
        if not texts or str(choice.get("text") or "")[: len(whole)].strip() != whole.strip():
            raise CompletionFailed(
                "unsupported", "this server does not tell the log-probabilities of a prompt"
            )
        if not offsets:
            offsets = [sum(map(len, texts[:i])) for i in range(len(texts))]
        tokens = _tokens(listed, request.logprobs or 1)
        ends = [*offsets[1:], len(whole)]
        kept = [
            i
            for i, start in enumerate(offsets)
            if start < len(whole) and (start >= before or ends[i] > before)
        ]
        chosen = [tokens[i] for i in kept]
        greedy = all(t.logprob is not None and t.top and t.logprob >= max(t.top.values()) for t in chosen)
        yield Piece(tokens=tuple(chosen))
        yield Ended(greedy=greedy)
        usage = payload.get("usage") or {}
        read = _count(usage.get("prompt_tokens"), len(texts))
        yield Usage(prompt_tokens=read, completion_tokens=0, seconds=seconds)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise CompletionFailed("malformed", f"the answer is not a completion ({error!r})") from None


def failure_of(status: int, body: bytes) -> CompletionFailed:
    """What an answer that is no 200 means."""
    said = message_of(body)
    kinds: Mapping[int, FailureKind] = {
        401: "not_authorized",
        403: "not_authorized",
        404: "bad_request",
        405: "unsupported",
        408: "timeout",
        429: "rate_limited",
        501: "unsupported",
    }
    kind = kinds.get(status, "server_error" if status >= 500 else "bad_request")
    if says_too_long(status, said):
        kind = "too_long"
    return CompletionFailed(kind, f"the server answers {status}: {said}"[:500])


def _score(request: Request, model: str) -> dict[str, Any]:
    if request.messages is not None or request.ids:
        raise CompletionFailed("unsupported", "this server scores text, neither chats nor tokens")
    whole = (request.prompt or "") + request.continuation
    return {
        "model": model,
        "prompt": whole,
        "max_tokens": 0,
        "temperature": 0.0,
        "echo": True,
        "logprobs": max(1, request.logprobs or 0),
    }


def _format(schema: str) -> dict[str, Any]:
    try:
        value = json.loads(schema)
    except (ValueError, RecursionError) as error:
        raise CompletionFailed("bad_request", f"the schema is not JSON: {error}") from None
    if not value:
        return {"type": "json_object"}
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": value, "strict": True}}


def _tools(request: Request) -> dict[str, Any]:
    if not request.tools:
        return {}
    named = request.tool_choice not in ("auto", "none", "required")
    choice = {"type": "function", "function": {"name": request.tool_choice}} if named else request.tool_choice
    return {"tools": tool_forms(request.tools), "tool_choice": choice}


def _message(message: Message) -> dict[str, Any]:
    made: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.images:
        urls = [f"data:{i.media_type};base64,{b64encode(i.data).decode('ascii')}" for i in message.images]
        made["content"] = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
        made["content"] += [{"type": "text", "text": message.content}] if message.content else []
    if message.tool_calls:
        made["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in message.tool_calls
        ]
    if message.tool_call_id is not None:
        made["tool_call_id"] = message.tool_call_id
    return made


def _tokens(listed: Any, wanted: int) -> tuple[Token, ...]:
    """Of a chat (``content``), or of a completion: lists side by side. llama.cpp gives the chat's form for both."""
    if not listed:
        return ()
    if "content" in listed:
        return tuple([_chat_token(token, wanted) for token in listed["content"] or ()])
    texts, numbers = listed.get("tokens") or (), listed.get("token_logprobs") or ()
    tops = listed.get("top_logprobs") or [None] * len(texts)
    return tuple(
        [
            Token(text=text, logprob=_number(number), top=_top(top, wanted))
            for text, number, top in zip(texts, numbers, tops, strict=True)
        ]
    )


def _chat_token(value: Mapping[str, Any], wanted: int) -> Token:
    top = {one["token"]: one["logprob"] for one in value.get("top_logprobs") or ()}
    number = value.get("id")
    return Token(
        text=str(value["token"]),
        logprob=_number(value.get("logprob")),
        top=_top(top, wanted),
        id=number if isinstance(number, int) and not isinstance(number, bool) else None,
    )


def _top(value: Mapping[str, Any] | None, wanted: int) -> dict[str, float]:
    likeliest = sorted((value or {}).items(), key=lambda item: -item[1])[:wanted]
    return {text: number for text, raw in likeliest if (number := _number(raw)) is not None}


def _number(value: Any) -> float | None:
    if value is None:
        return None
    number = float(value)
    if number != number or number > 1e-3:
        raise ValueError(f"{value!r} is not a log-probability")
    return max(number, LOGPROB_FLOOR)


def _add_call(calls: list[dict[str, str]], delta: Mapping[str, Any]) -> None:
    index = delta.get("index", 0)
    if not isinstance(index, int) or not 0 <= index <= len(calls):
        raise ValueError(f"a tool call out of order (index {index!r})")
    if index == len(calls):
        calls.append({"id": "", "name": "", "arguments": ""})
    calls[index]["id"] = str(delta.get("id") or calls[index]["id"])
    function = delta.get("function") or {}
    for key in ("name", "arguments"):
        calls[index][key] += str(function.get(key) or "")


def _count(value: Any, otherwise: int) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else otherwise


def _said(value: Mapping[str, Any]) -> str:
    error = value["error"]
    return str(error.get("message") or error if isinstance(error, dict) else error)[:300]
