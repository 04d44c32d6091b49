"""Requests as the bodies that an OpenAI-compatible server reads. Pure; knows no network and no answer.

Source: the OpenAI API reference (completions, chat completions), and what llama.cpp and vLLM add to it.
"""

from __future__ import annotations

import json
from base64 import b64encode
from typing import Any

import orjson

from commonweal.core.completion import Message, Request
from commonweal.core.openai_words import MOST_ALTERNATIVES, tool_forms
from commonweal.evals.completers.dialect import Dialect

_encode = json.JSONEncoder(separators=(",", ":")).encode

COMPLETIONS = "/completions"
CHAT = "/chat/completions"
MODELS = "/models"


def path_of(request: Request) -> str:
    """Which of the server's addresses answers ``request``."""
    return CHAT if request.messages is not None else COMPLETIONS


def body_of(request: Request, dialect: Dialect, *, stream: bool = False) -> bytes:
    """The body for :func:`path_of`."""
    if request.kind == "score":
        made = _score(request, dialect)
    elif request.messages is not None:
        made = _chat(request, dialect)
    else:
        made = _completion(request, dialect)
    if stream:
        made["stream"] = True
        if dialect.usage:
            made["stream_options"] = {"include_usage": True}
    try:
        return orjson.dumps(made)
    except TypeError:  # half a surrogate pair, which json escapes
        return _encode(made).encode()


def _score(request: Request, dialect: Dialect) -> dict[str, Any]:
    """The prompt and its continuation, echoed with their log-probabilities and nothing generated."""
    return {
        "model": request.model,
        "prompt": (request.prompt or "") + request.continuation,
        "max_tokens": dialect.echo_tokens,
        "temperature": 0.0,
        "echo": True,
        "logprobs": 1,
    }


def _completion(request: Request, dialect: Dialect) -> dict[str, Any]:
    made = _sampling(request, dialect)
    made["prompt"] = request.prompt
    made["max_tokens"] = request.max_tokens
    if request.logprobs is not None:
        made["logprobs"] = request.logprobs
    return made


def _chat(request: Request, dialect: Dialect) -> dict[str, Any]:
    made = _sampling(request, dialect)
    made["messages"] = [_message(message) for message in request.messages or ()]
    made[dialect.limit] = request.max_tokens
    if request.logprobs is not None:
        made["logprobs"] = True
        if request.logprobs:
            made["top_logprobs"] = min(request.logprobs, MOST_ALTERNATIVES)
    if request.tools:
        made["tools"] = tool_forms(request.tools)
    return made


def _sampling(request: Request, dialect: Dialect) -> dict[str, Any]:
    made: dict[str, Any] = {"model": request.model, "temperature": request.temperature}
    if request.top_p != 1.0:
        made["top_p"] = request.top_p
    if request.n != 1 and dialect.n:
        made["n"] = request.n
    if request.stop and dialect.stops:
        made["stop"] = list(request.stop[: dialect.stops])
    if request.seed is not None and dialect.seed:
        made["seed"] = request.seed + request.sample
    return made


def _message(message: Message) -> dict[str, Any]:
    made: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.images:
        made["content"] = [
            {"type": "image_url", "image_url": {"url": _data_url(image.media_type, image.data)}}
            for image in message.images
        ]
        if message.content:
            made["content"].append({"type": "text", "text": message.content})
    if message.tool_calls:
        made["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in message.tool_calls
        ]
    if message.tool_call_id is not None:
        made["tool_call_id"] = message.tool_call_id
    return made


def _data_url(media_type: str, data: bytes) -> str:
    return f"data:{media_type};base64,{b64encode(data).decode('ascii')}"
