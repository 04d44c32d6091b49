"""The calculator as a tool of a chat."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from commonweal.core.calculator import CannotCalculate, calculate, shown
from commonweal.core.completion import Tool
from commonweal.serve.tools.tool import Output, ToolFailed, text_argument

CALCULATOR = Tool(
    name="calculator",
    description="Calculates an arithmetic expression, for example '(12.5 + 3) * 4 / 100'. Powers: ^. "
    "Functions: sqrt, log, exp, round, min, max and others.",
    parameters={
        "type": "object",
        "properties": {"expression": {"type": "string"}},
        "required": ["expression"],
        "additionalProperties": False,
    },
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Calculator:
    tool: Tool = CALCULATOR

    def run(self, arguments: Mapping[str, Any]) -> Output:
        expression = text_argument(arguments, "expression")
        try:
            result = shown(calculate(expression))
        except CannotCalculate as error:
            raise ToolFailed(str(error), {"expression": expression}) from None
        return Output(text=result, detail={"expression": expression, "result": result})
