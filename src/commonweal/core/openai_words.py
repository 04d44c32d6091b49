"""What servers that speak OpenAI's API say, and how: for whoever asks one (evaluation, a member that fronts one). Pure.

Source: the OpenAI API reference, and what vLLM, SGLang, llama.cpp, Ollama and transformers add to it or leave out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from commonweal.core.completion import Finish, Tool

MOST_ALTERNATIVES = 20
"""The most ``top_logprobs`` that the protocol allows in a chat."""

FINISHES: Mapping[str | None, Finish] = {
    "stop": "stop",
    "eos": "stop",
    "length": "length",
    "max_tokens": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
}
"""What the words for the end of an answer mean; one that is not here is a stop."""

_TOO_LONG = re.compile(
    r"context[ _]?(?:length|window|size|limit)|maximum context|context_length_exceeded|n_ctx"
    r"|(?:prompt|input|request|inputs)\b.{0,60}\b(?:too long|too large|exceed)|too many (?:input )?tokens"
    r"|longer than the (?:model|maximum)|reduce the length|exceed.{0,40}context",
    re.IGNORECASE | re.DOTALL,
)


def says_too_long(status: int, said: str) -> bool:
    """Whether a refusal is for the length of the prompt."""
    return status == 413 or (status in (400, 422) and _TOO_LONG.search(said) is not None)


def tool_forms(tools: Sequence[Tool]) -> list[dict[str, Any]]:
    """Tools as a chat's body has them."""
    return [
        {
            "type": "function",
            "function": {
                "name": tool.name,
                "description": tool.description,
                "parameters": dict(tool.parameters),
            },
        }
        for tool in tools
    ]


def message_of(body: bytes) -> str:
    """What the server says is wrong, as one short line: the shapes of OpenAI, vLLM, FastAPI and llama.cpp."""
    text = body[:65536].decode("utf-8", "replace")
    try:
        value: Any = json.loads(text)
    except (ValueError, RecursionError):
        return _line(text)
    for key in ("error", "detail", "message"):
        if isinstance(value, dict) and value.get(key):
            value = value[key]
    if isinstance(value, dict):
        value = " ".join(str(part) for part in (value.get("code"), value.get("type")) if part)
    return _line(_with_code(text, value if isinstance(value, str) else json.dumps(value)))


def _with_code(text: str, said: str) -> str:
    """OpenAI's stable codes stand beside the message; they are what is recognized."""
    codes = re.findall(r'"code":\s*"([a-z_]{3,40})"', text)
    return said + "".join(f" ({code})" for code in codes if code not in said)


def _line(text: str) -> str:
    line = " ".join(re.sub(r"<[^>]*>", " ", text[:2000]).split())
    return line[:400]
