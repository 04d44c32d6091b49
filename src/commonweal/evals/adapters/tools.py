"""Tool use: the harness runs a calculator, or queries on the instance's database, for a model that asks for them.

A chat of several turns: as long as the model calls tools it is asked again, with what they gave; after
:data:`MOST_TURNS` answers it is told to come to an end. What it says then is the sample's output. Tools are pure
functions of their arguments and the instance, so the same answers give the same next prompt.

A model that has no tool calls of its own is told of the tools in the prompt and calls them in its text
(:mod:`~commonweal.evals.adapters.tool_text`).
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from commonweal.core.calculator import CALCULATOR, CannotCalculate, calculate, shown
from commonweal.core.completion import CompletionFailed, Message, Tool, ToolCall
from commonweal.core.errors import ConfigError
from commonweal.core.sandbox.sqlite import QueryLimits, Rows, query
from commonweal.evals.adapters.asking import Asking
from commonweal.evals.adapters.tool_text import described, responded, said
from commonweal.evals.instance import Instance
from commonweal.evals.sample import Answer, Ask, Sample

MOST_TURNS = 8
_LONGEST = 4000
_MOST_ROWS = 50
_QUERY_LIMITS = QueryLimits(steps=5_000_000, seconds=1.0, rows=1000)
_ENOUGH = "You cannot use tools any more. Give your final answer now."


class ToolFailed(Exception):
    """What a tool answers instead of a result; the message is for the model."""


class HarnessTool(Protocol):
    """A tool that the harness runs."""

    @property
    def tool(self) -> Tool: ...

    def run(self, arguments: Mapping[str, Any], instance: Instance) -> str:
        """The result as text. Raises ToolFailed."""
        ...


_SQL = Tool(
    name="sql",
    description="Runs one SQLite SELECT query on the database of the question and gives its rows.",
    parameters={
        "type": "object",
        "properties": {"query": {"type": "string"}},
        "required": ["query"],
    },
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Calculator:
    tool: Tool = CALCULATOR

    def run(self, arguments: Mapping[str, Any], instance: Instance) -> str:
        try:
            return shown(calculate(_text(arguments, "expression")))
        except CannotCalculate as error:
            raise ToolFailed(str(error)) from None


@dataclass(frozen=True, slots=True, kw_only=True)
class SqlTool:
    """Reads the database that ``instance.extra["database"]`` names below ``data_root``."""

    data_root: Path | None = None
    tool: Tool = _SQL

    def run(self, arguments: Mapping[str, Any], instance: Instance) -> str:
        sql = _text(arguments, "query").strip().rstrip(";")
        name = instance.extra.get("database")
        if self.data_root is None or not isinstance(name, str):
            raise ConfigError(
                f"instance '{instance.id}': the tool 'sql' has no database to read",
                hint="give the folder of data by --data-root",
            )
        found = query(self.data_root / name, sql, _QUERY_LIMITS)
        if found.status != "ok":
            raise ToolFailed(found.message)
        return _table(found)


class ToolsAdapter:
    """See the module. ``adaptation.tools`` names the tools; ``data_root`` is where databases lie. ``by_text`` is for a
    model without tool calls of its own."""

    def __init__(self, asking: Asking, *, data_root: Path | None = None, by_text: bool = False) -> None:
        adaptation = asking.adaptation
        known: Mapping[str, HarnessTool] = {"calculator": Calculator(), "sql": SqlTool(data_root=data_root)}
        for name in adaptation.tools:
            if name not in known:
                close = difflib.get_close_matches(name, list(known), n=1)
                hint = f"did you mean '{close[0]}'?" if close else "known: " + ", ".join(known)
                raise ConfigError(f"adaptation: tools: unknown tool '{name}'", hint=hint)
        self._asking, self._adaptation = asking, adaptation
        self._tools = {name: known[name] for name in adaptation.tools}
        self._by_text = by_text
        tools = tuple(tool.tool for tool in self._tools.values())
        self._offered = () if by_text else tools
        self._before = described(tools) if by_text else ""

    def asks(
        self, instance: Instance, examples: Sequence[Instance], answers: Sequence[Answer]
    ) -> Sequence[Ask]:
        """The first turn; or, after an answer that calls tools, the next. Examples are not shown: they call none.
        Raises CompletionFailed("unsupported")."""
        turn, abilities = len(answers), self._asking.abilities
        if abilities.chat is False:
            raise CompletionFailed("unsupported", "the model has no chat, in which alone tools can be used")
        if abilities.tools is False and not self._by_text:
            raise CompletionFailed("unsupported", "the model takes no tools")
        if turn == 0:
            return (self._ask("output", self._opening(instance)),)
        calls = self._calls(answers[-1])
        if not calls or turn >= MOST_TURNS:
            return ()
        results = [self._result(call, instance)[0] for call in calls]
        told = self._told_by_text if self._by_text else self._told
        before = answers[-1].ask.request.messages or ()
        more = told(answers[-1], calls, results, last=turn == MOST_TURNS - 1)
        return (self._ask(f"turn {turn}", (*before, *more)),)

    def sample(self, instance: Instance, trial: int, answers: Sequence[Answer]) -> Sample:
        """The last answer's text; how many calls there were, and how many of them failed, by annotation ``tools``."""
        calls = [call for answer in answers for call in self._calls(answer)]
        text = answers[-1].completion.text
        output = (said(text).text if self._by_text else text).strip()
        return Sample(
            instance=instance,
            adaptation=self._adaptation,
            trial=trial,
            answers=tuple(answers),
            output=output,
            outputs=(output,),
            annotations={
                "tools": {
                    "calls": len(calls),
                    "failed": sum(not self._result(call, instance)[1] for call in calls),
                    "turns": len(answers),
                }
            },
        )

    def _calls(self, answer: Answer) -> tuple[ToolCall, ...]:
        return (
            said(answer.completion.text).calls if self._by_text else answer.completion.choices[0].tool_calls
        )

    def _told(
        self, answer: Answer, calls: Sequence[ToolCall], results: Sequence[str], *, last: bool
    ) -> list[Message]:
        """The model's own turn again, and what its tools gave."""
        messages = [Message(role="assistant", content=answer.completion.text, tool_calls=tuple(calls))]
        for call, result in zip(calls, results, strict=True):
            messages.append(Message(role="tool", content=result, tool_call_id=call.id))
        if last:
            messages.append(Message(role="user", content=_ENOUGH))
        return messages

    def _told_by_text(
        self, answer: Answer, calls: Sequence[ToolCall], results: Sequence[str], *, last: bool
    ) -> list[Message]:
        """The same as turns of model and user, which many chat templates want to alternate."""
        told = responded(results) + (f"\n{_ENOUGH}" if last else "")
        kept = said(answer.completion.text).kept
        return [Message(role="assistant", content=kept), Message(role="user", content=told)]

    def _opening(self, instance: Instance) -> tuple[Message, ...]:
        of = self._adaptation
        text = "".join((
            of.global_prefix, of.instructions, of.input_prefix, instance.input, of.input_suffix, of.output_prefix
        ))  # fmt: skip
        user = Message(role="user", content=self._before + text.strip(), images=instance.images)
        return (Message(role="system", content=of.system), user) if of.system else (user,)

    def _ask(self, role: str, messages: tuple[Message, ...]) -> Ask:
        request = self._asking.request(messages, stop=self._adaptation.stop)
        return Ask(role=role, request=replace(request, tools=self._offered))

    def _result(self, call: ToolCall, instance: Instance) -> tuple[str, bool]:
        """What the tool answers, and whether it could."""
        if not call.name:
            return 'error: a tool call is a JSON object with "name" and "arguments"', False
        tool = self._tools.get(call.name)
        if tool is None:
            return f"error: there is no tool '{call.name}'; there is: {', '.join(self._tools)}", False
        try:
            arguments = json.loads(call.arguments or "{}")
        except (ValueError, RecursionError):
            return "error: the arguments are not valid JSON", False
        if not isinstance(arguments, dict):
            return "error: the arguments should be a JSON object", False
        try:
            return tool.run(arguments, instance)[:_LONGEST], True
        except ToolFailed as error:
            return f"error: {error}", False


def _text(arguments: Mapping[str, Any], name: str) -> str:
    value = arguments.get(name)
    if not isinstance(value, str):
        raise ToolFailed(f"the argument '{name}' should be a text")
    return value


def _table(found: Rows) -> str:
    lines = [" | ".join(found.columns)]
    lines.extend(
        " | ".join("NULL" if cell is None else str(cell) for cell in row) for row in found.rows[:_MOST_ROWS]
    )
    if len(found.rows) > _MOST_ROWS:
        lines.append(f"({len(found.rows)} rows, the first {_MOST_ROWS} are shown)")
    return "\n".join(lines)
