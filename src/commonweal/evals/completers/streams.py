"""A streamed answer (server-sent events) put together again as the answer that would have come at once. Pure.

Only its pieces' times are new: ``first_token`` is when the first piece that carries text, a log-probability or a
tool call was there. Source: the HTML standard, section 9.2 (server-sent events), and the OpenAI API reference.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from commonweal.evals.completers.answers import Malformed


@dataclass(frozen=True, slots=True, kw_only=True)
class Streamed:
    """``payload`` is as of an answer that was not streamed; ``first_token`` in seconds, None where none came."""

    payload: Mapping[str, Any]
    first_token: float | None


def joined(pieces: Iterable[tuple[float, bytes]]) -> Streamed:
    """Put the events of a stream together. Raises Malformed where they are none, or the stream has no end."""
    try:
        return _joined(pieces)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise Malformed(f"the stream is not one of completions ({error!r})") from None


def events(pieces: Iterable[tuple[float, bytes]]) -> Iterator[tuple[float, str]]:
    """The data of each event, and when its last byte came. A last event without an empty line after it counts too.

    >>> list(events([(0.1, b"data: a\\n\\nda"), (0.2, b"ta: b\\n\\n")]))
    [(0.1, 'a'), (0.2, 'b')]
    """
    rest, seconds, lines = b"", 0.0, []
    for seconds, piece in pieces:
        *whole, rest = (rest + piece).split(b"\n")
        for line in whole:
            line = line.rstrip(b"\r")
            if line.startswith(b"data:"):
                lines.append(line[5:].removeprefix(b" "))
            elif not line and lines:
                yield seconds, _text(lines)
                lines = []
    if rest.startswith(b"data:"):
        lines.append(rest[5:].removeprefix(b" ").rstrip(b"\r"))
    if lines:
        yield seconds, _text(lines)


def _joined(pieces: Iterable[tuple[float, bytes]]) -> Streamed:
    made: dict[str, Any] = {}
    choices: dict[int, dict[str, Any]] = {}
    first: float | None = None
    finished = False
    for seconds, data in events(pieces):
        if data == "[DONE]":
            finished = True
            break
        value = _parsed(data)
        made.update({key: value[key] for key in ("model", "usage") if value.get(key)})
        for delta in value.get("choices") or ():
            if _add(choices.setdefault(delta.get("index", 0), {}), delta) and first is None:
                first = seconds
    if not choices:
        raise Malformed("the stream has no choice")
    if not finished and not all(choice.get("finish_reason") for choice in choices.values()):
        raise Malformed("the stream ended before its end")
    made["choices"] = [choices[index] for index in sorted(choices)]
    return Streamed(payload=made, first_token=first)


def _text(lines: list[bytes]) -> str:
    try:
        return b"\n".join(lines).decode()
    except UnicodeDecodeError:
        raise Malformed("the stream is not UTF-8") from None


def _parsed(data: str) -> Mapping[str, Any]:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        raise Malformed(f"the stream has an event that is not JSON: {data[:80]!r}") from None
    if not isinstance(value, dict):
        raise Malformed(f"the stream has an event that is no object: {data[:80]!r}")
    if value.get("error"):
        raise Malformed(f"the server broke the stream off: {str(value['error'])[:200]}")
    return value


def _add(choice: dict[str, Any], delta: Mapping[str, Any]) -> bool:
    """Add an event to its choice; whether it carried anything of the answer."""
    carried = False
    if "text" in delta:
        choice["text"] = choice.get("text", "") + (delta["text"] or "")
        carried = bool(delta["text"])
    if "delta" in delta:
        carried = _add_message(choice.setdefault("message", {"content": ""}), delta["delta"] or {})
    if delta.get("logprobs"):
        _add_logprobs(choice.setdefault("logprobs", {}), delta["logprobs"])
        carried = True
    if delta.get("finish_reason"):
        choice["finish_reason"] = delta["finish_reason"]
    return carried


def _add_message(message: dict[str, Any], delta: Mapping[str, Any]) -> bool:
    content = delta.get("content") or ""
    message["content"] += content
    if delta.get("refusal"):
        message["refusal"] = message.get("refusal", "") + delta["refusal"]
    for call in delta.get("tool_calls") or ():
        _add_call(message.setdefault("tool_calls", []), call)
    return bool(content or delta.get("tool_calls") or delta.get("reasoning_content"))


def _add_call(calls: list[dict[str, Any]], delta: Mapping[str, Any]) -> None:
    index = delta.get("index", 0)
    if not isinstance(index, int) or not 0 <= index <= len(calls):
        raise Malformed(f"the stream has a tool call out of order (index {index!r})")
    if index == len(calls):
        calls.append({"id": "", "function": {"name": "", "arguments": ""}})
    calls[index]["id"] = delta.get("id") or calls[index]["id"]
    function = delta.get("function") or {}
    for key in ("name", "arguments"):
        calls[index]["function"][key] += function.get(key) or ""


def _add_logprobs(made: dict[str, Any], delta: Mapping[str, Any]) -> None:
    for key, value in delta.items():
        if isinstance(value, list):
            made[key] = [*made.get(key, ()), *value]
