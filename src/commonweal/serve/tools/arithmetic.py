"""The calculator as a tool of a chat."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from commonweal.core.calculator import CALCULATOR, CannotCalculate, calculate, shown
from commonweal.core.completion import Tool
from commonweal.serve.tools.tool import Output, ToolFailed, text_argument


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
