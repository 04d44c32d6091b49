"""Calls of tools in what a model writes, in the forms that models were trained to write. Pure.

    <tool_call>{"name": ..., "arguments": {...}}</tool_call>      Hermes, Qwen
    [TOOL_CALLS][{"name": ..., "arguments": {...}}]               Mistral
    [TOOL_CALLS]name[ARGS]{...}                                   Mistral, later
    <|python_tag|>{"name": ..., "parameters": {...}}              Llama 3
    {"name": ..., "parameters": {...}}                            Llama 3, and what a schema makes of a forced call

Only tools that were offered are called; anything else stays text. A text that may still become a call is held back.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from typing import Any

from commonweal.core.completion import Tool, ToolCall

_MARKS = ("<tool_call>", "[TOOL_CALLS]", "<|python_tag|>")
_ENDS = re.compile(r"</tool_call>|<\|eom_id\|>|<\|eot_id\|>")
_ARGUMENTS = re.compile(r"\s*(?P<name>[\w.\-]+)(?:\[CALL_ID\][\w\-]+)?\[ARGS\]")
_BETWEEN = re.compile(r"[\s;,]*")
_MOST_CALLS = 128
_decode = json.JSONDecoder().raw_decode


class CallText:
    """A text that may call ``tools``; feed it pieces, as :class:`StopStrings`."""

    def __init__(self, tools: Sequence[Tool], make_id: Callable[[], str]) -> None:
        self._names = frozenset(tool.name for tool in tools)
        self._make_id = make_id
        self._held = ""
        self._shown = False
        self._marked = False

    def add(self, text: str) -> str:
        """What is text for certain."""
        text = self._held + text
        if self._marked or (not self._shown and text.lstrip()[:1] in ("{", "[")):
            self._held = text
            return ""
        at = min([found for mark in _MARKS if (found := text.find(mark)) >= 0], default=None)
        if at is None:
            at = len(text) - _beginning_of_mark(text)
            if not self._shown and not text[:at].strip():
                at = 0  # white space before a call is no text
        else:
            self._marked = True
        self._held = text[at:]
        self._shown = self._shown or at > 0
        return text[:at]

    def end(self) -> tuple[str, tuple[ToolCall, ...]]:
        """The rest of the text, and the calls."""
        found, rest = _calls(self._held, self._names)
        made = tuple(
            [
                ToolCall(id=self._make_id(), name=name, arguments=arguments)
                for name, arguments in found[:_MOST_CALLS]
            ]
        )
        return (rest if made else self._held), made


def call_schema(tools: Sequence[Tool], choice: str) -> str:
    """The JSON schema of a call that must come: of any of ``tools`` (``required``), or of the one named ``choice``."""
    asked = [tool for tool in tools if choice in ("required", tool.name)]
    forms = [
        {
            "type": "object",
            "properties": {"name": {"const": tool.name}, "arguments": _parameters(tool)},
            "required": ["name", "arguments"],
            "additionalProperties": False,
        }
        for tool in asked
    ]
    return json.dumps(_lifted(forms[0] if len(forms) == 1 else {"anyOf": forms}))


def _parameters(tool: Tool) -> dict[str, Any]:
    made = dict(tool.parameters)
    return made if made.get("type") else {"type": "object", **made}


def _lifted(schema: dict[str, Any]) -> dict[str, Any]:
    """References within a tool's parameters are to their root: its definitions are put at the root of the whole."""
    definitions: dict[str, Any] = {}
    for form in schema.get("anyOf", [schema]):
        arguments = form["properties"]["arguments"]
        for key in ("$defs", "definitions"):
            if isinstance(arguments.get(key), dict):
                definitions.setdefault(key, {}).update(arguments.pop(key))
    return schema | definitions


def _calls(text: str, names: frozenset[str]) -> tuple[list[tuple[str, str]], str]:
    """The calls in ``text`` in order, and what is text beside them. No call is found in a text that is not all calls
    from its first mark on."""
    found: list[tuple[str, str]] = []
    left: list[str] = []
    at = 0
    while at < len(text):
        mark = next((mark for mark in _MARKS if text.startswith(mark, at)), "")
        at += len(mark)
        if mark or not at or found:
            read = _read(text, at, names)
            if read is not None:
                found += read[0]
                at = _after(text, read[1])
                continue
        following = min([place for m in _MARKS if (place := text.find(m, at)) >= 0], default=len(text))
        left.append(mark + text[at:following])
        at = following
    return found, "".join(left).strip() if found else text


def _read(text: str, at: int, names: frozenset[str]) -> tuple[list[tuple[str, str]], int] | None:
    """The call, or the list of calls, that begins at ``at``, and where it ends."""
    named = _ARGUMENTS.match(text, at)
    start = named.end() if named else at
    try:
        value, end = _decode(text, start + len(text[start:]) - len(text[start:].lstrip()))
    except (ValueError, RecursionError):
        return None
    if named:
        value = {"name": named["name"], "arguments": value}
    made = [_call(one, names) for one in (value if isinstance(value, list) else [value])]
    calls = [one for one in made if one is not None]
    return (calls, end) if calls and len(calls) == len(made) else None


def _call(value: Any, names: frozenset[str]) -> tuple[str, str] | None:
    if not isinstance(value, dict) or value.get("name") not in names:
        return None
    arguments = value.get("arguments", value.get("parameters", {}))
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments)
        except (ValueError, RecursionError):
            return None
    if not isinstance(arguments, dict):
        return None
    return value["name"], json.dumps(arguments, ensure_ascii=False)


def _after(text: str, at: int) -> int:
    """Past what ends a call or stands between two."""
    between = _BETWEEN.match(text, at)
    at = between.end() if between else at
    ended = _ENDS.match(text, at)
    if ended:
        between = _BETWEEN.match(text, ended.end())
        at = between.end() if between else ended.end()
    return at


def _beginning_of_mark(text: str) -> int:
    for count in range(min(len(text), max(map(len, _MARKS)) - 1), 0, -1):
        if any(mark.startswith(text[-count:]) for mark in _MARKS):
            return count
    return 0
