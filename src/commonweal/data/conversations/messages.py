"""Messages and tools as a fine-tuning file writes them, read strictly: what is not known is said, never
dropped.

Each function reports to a :class:`Complaints` and goes on, so that one pass finds everything that is wrong
with a line.
"""

from __future__ import annotations

import difflib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from commonweal.core.completion import Message, Role, Tool, ToolCall
from commonweal.data.conversations.examples import Turn
from commonweal.data.conversations.problems import Code

Complain = Callable[[Code, str, str], None]
"""Told the code, the field and what is wrong."""

ROLES: dict[str, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
}
_MESSAGE_KEYS = ("role", "content", "name", "weight", "tool_calls", "tool_call_id", "refusal")


def read_turns(value: Any, where: str, complain: Complain) -> list[Turn]:
    """The messages of a list, assistants' with their weights. Lists only those that could be read."""
    if not isinstance(value, list) or not value:
        code: Code = "missing_messages_list" if where.endswith("messages") else "wrong_type"
        complain(code, where, "must be a list of at least one message")
        return []
    turns = []
    for index, item in enumerate(value):
        turn = _turn(item, f"{where}[{index}]", complain)
        if turn is not None:
            turns.append(turn)
    return turns


def read_tools(value: Any, complain: Complain) -> tuple[Tool, ...]:
    """Tools as the chat API has them: ``{"type": "function", "function": {name, description, parameters}}``."""
    if value is None:
        return ()
    if not isinstance(value, list):
        complain("invalid_tool", "tools", "must be a list")
        return ()
    found = [_tool(item, f"tools[{index}]", complain) for index, item in enumerate(value)]
    return tuple(tool for tool in found if tool is not None)


def unknown_keys(value: Mapping[str, Any], known: Sequence[str]) -> list[tuple[str, str]]:
    """Keys that are not ``known``, each with what to say of it."""
    found = []
    for key in value:
        if key not in known:
            close = difflib.get_close_matches(str(key), known, n=1, cutoff=0.6)
            said = f"did you mean '{close[0]}'?" if close else f"known: {', '.join(known)}"
            found.append((key, f"is not known; {said}"))
    return found


def _turn(value: Any, where: str, complain: Complain) -> Turn | None:
    if not isinstance(value, dict):
        complain("message_not_an_object", where, "must be an object with role and content")
        return None
    for key, said in unknown_keys(value, _MESSAGE_KEYS):
        complain("message_unrecognized_key", f"{where}.{key}", said)
    if "role" not in value:
        complain("message_missing_key", f"{where}.role", "is missing")
        return None
    role = ROLES.get(value["role"]) if isinstance(value["role"], str) else None
    if role is None:
        complain("unrecognized_role", f"{where}.role", f"must be one of {', '.join(ROLES)}")
        return None
    calls = _calls(value.get("tool_calls"), role, where, complain)
    content = _content(value, bool(calls), where, complain)
    call_id = value.get("tool_call_id")
    if call_id is not None and not isinstance(call_id, str):
        complain("wrong_type", f"{where}.tool_call_id", "must be text")
        call_id = None
    if role == "tool" and call_id is None:
        complain("message_missing_key", f"{where}.tool_call_id", "is missing: a tool answers a call")
    weight = _weight(value, role, where, complain)
    if content is None:
        return None
    message = Message(role=role, content=content, tool_calls=calls, tool_call_id=call_id)
    return Turn(message=message, weight=weight)


def _content(value: Mapping[str, Any], calls: bool, where: str, complain: Complain) -> str | None:
    content = value.get("content")
    if isinstance(content, list):
        return _joined(content, where, complain)
    if content is None and calls:
        return ""
    if content is None:
        code: Code = "missing_content" if "content" in value else "message_missing_key"
        complain(code, f"{where}.content", "is missing")
        return None
    if not isinstance(content, str):
        complain("wrong_type", f"{where}.content", "must be text, or a list of text parts")
        return None
    if not content and not calls and value.get("role") == "assistant":
        complain("missing_content", f"{where}.content", "is empty: there is nothing to learn in it")
        return None
    return content


def _joined(parts: Sequence[Any], where: str, complain: Complain) -> str | None:
    texts = []
    for index, part in enumerate(parts):
        if isinstance(part, dict) and part.get("type") == "text" and isinstance(part.get("text"), str):
            texts.append(part["text"])
        else:
            said = "only parts of type 'text' can be trained on"
            complain("unsupported_content", f"{where}.content[{index}]", said)
            return None
    return "".join(texts)


def _weight(value: Mapping[str, Any], role: Role, where: str, complain: Complain) -> float:
    usual = 1.0 if role == "assistant" else 0.0
    weight = value.get("weight")
    if weight is None:
        return usual
    number = isinstance(weight, int | float) and not isinstance(weight, bool)
    if not number or not math.isfinite(weight) or not 0 <= weight <= 1:
        complain("invalid_weight", f"{where}.weight", "must be a number from 0 to 1")
        return usual
    if role != "assistant":
        complain("invalid_weight", f"{where}.weight", "only an assistant's message can have one")
        return usual
    return float(weight)


def _calls(value: Any, role: Role, where: str, complain: Complain) -> tuple[ToolCall, ...]:
    if value is None:
        return ()
    field = f"{where}.tool_calls"
    if role != "assistant" or not isinstance(value, list):
        complain("invalid_tool_call", field, "must be a list, in an assistant's message")
        return ()
    calls = [_call(item, f"{field}[{index}]", complain) for index, item in enumerate(value)]
    return tuple(call for call in calls if call is not None)


def _call(value: Any, where: str, complain: Complain) -> ToolCall | None:
    function = value.get("function") if isinstance(value, dict) else None
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        complain("invalid_tool_call", where, "must be an object with function.name and function.arguments")
        return None
    arguments = function.get("arguments")
    try:
        readable = isinstance(arguments, str) and isinstance(json.loads(arguments), dict)
    except (ValueError, RecursionError):
        readable = False
    if not readable:
        complain("invalid_tool_call", f"{where}.function.arguments", "must be the text of a JSON object")
        return None
    identity = value.get("id")
    if not isinstance(identity, str):
        complain("invalid_tool_call", f"{where}.id", "must be text")
        return None
    return ToolCall(id=identity, name=function["name"], arguments=str(arguments))


def _tool(value: Any, where: str, complain: Complain) -> Tool | None:
    function = value.get("function") if isinstance(value, dict) else None
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        complain("invalid_tool", where, "must be an object with function.name")
        return None
    description, parameters = function.get("description", ""), function.get("parameters", {})
    if not isinstance(description, str) or not isinstance(parameters, dict):
        complain("invalid_tool", where, "description must be text, and parameters a JSON schema")
        return None
    return Tool(name=function["name"], description=description, parameters=parameters)
