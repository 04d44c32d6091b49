"""What is wrong with a request, in the words that OpenAI's API has for it: from pydantic's findings to one message, the
parameter's path (``messages[0].content``) and a code."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_PLACES = frozenset({"body", "query", "path", "header", "cookie"})
_UNION_BRANCH = re.compile(r"<.*>|.*\[.*\]|str|int|float|bool")
_TAGS = re.compile(r"<([^<>]*)>")
_NAMES = {
    "str": "a string",
    "int": "an integer",
    "float": "a number",
    "bool": "a boolean",
    "list": "an array",
    "dict": "an object",
    "NoneType": "null",
}
_EXPECTED = {
    "string_type": "a string",
    "int_type": "an integer",
    "int_from_float": "an integer",
    "int_parsing": "an integer",
    "float_type": "a number",
    "float_parsing": "a number",
    "bool_type": "a boolean",
    "bool_parsing": "a boolean",
    "list_type": "an array",
    "tuple_type": "an array",
    "dict_type": "an object",
    "model_type": "an object",
    "model_attributes_type": "an object",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Invalid:
    """The first thing that is wrong."""

    message: str
    param: str | None
    code: str | None


def invalid_request(errors: Sequence[Mapping[str, Any]]) -> Invalid:
    """The finding to tell: an unknown parameter last, since a missing or wrong one explains more."""
    first = min(errors, key=lambda error: error["type"] == "extra_forbidden")
    kind, param = first["type"], path_of(first["loc"])
    told = param or "body"
    context = first.get("ctx", {})
    if kind == "missing":
        return Invalid(
            message=f"Missing required parameter: '{told}'.", param=param, code="missing_required_parameter"
        )
    if kind == "extra_forbidden":
        message = f"Unrecognized request argument supplied: {told}"
        return Invalid(message=message, param=param, code="unknown_parameter")
    if kind == "json_invalid":
        return Invalid(
            message=f"We could not parse the JSON body of your request: {context.get('error', '')}",
            param=None,
            code="invalid_json",
        )
    if kind == "union_tag_invalid":
        expected = ", ".join(f"'{tag}'" for tag in _TAGS.findall(context["expected_tags"]))
        message = f"Invalid value: '{str(context['tag'])[1:-1][:80]}'. Supported values are: {expected}."
        return Invalid(message=message, param=f"{told}.type", code="invalid_value")
    if kind == "union_tag_not_found":
        message = f"Invalid value for '{told}': expected an object with a 'type'."
        return Invalid(message=message, param=param, code="invalid_type")
    if kind in _EXPECTED:
        got = _NAMES.get(type(first.get("input")).__name__, "something else")
        message = f"Invalid type for '{told}': expected {_EXPECTED[kind]}, but got {got} instead."
        return Invalid(message=message, param=param, code="invalid_type")
    message = f"Invalid value for '{told}': {_plainly(first['msg'])}."
    return Invalid(message=message, param=param, code="invalid_value")


def path_of(location: Sequence[str | int]) -> str | None:
    """A finding's place as a path.

    >>> path_of(("body", "messages", 0, "content"))
    'messages[0].content'
    """
    path = ""
    for at, part in enumerate(location):
        if at == 0 and part in _PLACES:
            continue
        if isinstance(part, int):
            path += f"[{part}]"
        elif not (path and _UNION_BRANCH.fullmatch(part)):
            path += f".{part}" if path else str(part)
    return path or None


def _plainly(message: str) -> str:
    message = message.removeprefix("Value error, ").rstrip(".")
    return message[:1].lower() + message[1:]
