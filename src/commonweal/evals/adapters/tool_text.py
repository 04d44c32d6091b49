"""Tools for a model that has no tool calls of its own: described in the prompt, called in the text of its answer.

The form is the one that most open models were trained on (Hermes, Qwen): tools as JSON between ``<tools>``, a call as
JSON between ``<tool_call>``, its result between ``<tool_response>``. Pure. What stands between the tags and is no call
is a call of no name, so that the model is told, and the call is counted.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass

from commonweal.core.completion import Tool, ToolCall

_CALL = re.compile(r"<tool_call>\s*(.*?)\s*(?:</tool_call>|\Z)", re.DOTALL)
_FENCE = re.compile(r"\A```(?:json)?\s*(.*?)\s*```\Z", re.DOTALL)
_INVENTED = "<tool_response>"

_DESCRIPTION = """\
You can use these tools. Each is described by a JSON object with its name and the JSON schema of its parameters:
<tools>
{tools}
</tools>
To use one, write exactly this and stop; you are then told the result:
<tool_call>
{{"name": "the tool's name", "arguments": {{"a parameter": "its value"}}}}
</tool_call>

"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """An answer read: ``text`` is what stands beside its calls, ``kept`` all of it up to the end of the last call:
    what a model writes after it, results of its own invention too, never happened."""

    text: str
    kept: str
    calls: tuple[ToolCall, ...] = ()


def described(tools: Sequence[Tool]) -> str:
    """What stands before the prompt."""
    forms = [
        json.dumps(
            {"name": tool.name, "description": tool.description, "parameters": dict(tool.parameters)},
            ensure_ascii=False,
        )
        for tool in tools
    ]
    return _DESCRIPTION.format(tools="\n".join(forms))


def said(answer: str) -> Said:
    """
    >>> said('Let me see. <tool_call>{"name": "calculator", "arguments": {"expression": "2+2"}}</tool_call>').calls
    (ToolCall(id='1', name='calculator', arguments='{"expression": "2+2"}'),)
    """
    until = answer.partition(_INVENTED)[0]
    found = list(_CALL.finditer(until))
    if not found:
        return Said(text=answer, kept=answer)
    return Said(
        text=_CALL.sub("", until),
        kept=until[: found[-1].end()],
        calls=tuple(_call(str(number), match[1]) for number, match in enumerate(found, 1)),
    )


def responded(results: Sequence[str]) -> str:
    """What the model is told, in the order of its calls."""
    return "\n".join(f"<tool_response>\n{result}\n</tool_response>" for result in results)


def _call(number: str, text: str) -> ToolCall:
    fenced = _FENCE.match(text)
    try:
        value = json.loads(fenced[1] if fenced else text)
    except (ValueError, RecursionError):
        value = None
    name = value.get("name") if isinstance(value, dict) else None
    if not isinstance(name, str):
        return ToolCall(id=number, name="", arguments=text)
    arguments = value.get("arguments", value.get("parameters", {}))
    told = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
    return ToolCall(id=number, name=name, arguments=told)
