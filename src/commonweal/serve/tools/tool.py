"""A tool that the hub runs: what the model is told of it, and what comes of a call.

What a call is answered with goes to the model as text. What the caller of the API sees beside it (the query, the rows)
is the output's ``detail``, JSON. A tool is pure in what it is given: it keeps nothing between calls.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from commonweal.core.completion import Tool

LONGEST = 4000
"""Characters of an output that the model reads."""


class ToolFailed(Exception):
    """What a tool answers instead of a result: the message is for the model, ``detail`` for the caller of the API."""

    def __init__(self, message: str, detail: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.detail: Mapping[str, Any] = detail or {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """What a tool gave."""

    text: str
    detail: Mapping[str, Any] = field(default_factory=dict)


class ServedTool(Protocol):
    """A tool of one request. ``run`` blocks (it is called in a thread) and raises ToolFailed for what the model did
    wrong."""

    @property
    def tool(self) -> Tool: ...

    def run(self, arguments: Mapping[str, Any]) -> Output: ...


def text_argument(arguments: Mapping[str, Any], name: str) -> str:
    """An argument that should be a text, as UTF-8 can hold it. Raises ToolFailed."""
    value = arguments.get(name)
    if not isinstance(value, str) or not value.strip():
        raise ToolFailed(f"the argument '{name}' should be a text that is not empty")
    return value.encode("utf-8", "replace").decode()
