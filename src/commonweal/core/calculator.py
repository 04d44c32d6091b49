"""A calculator for models: arithmetic and nothing else.

It reads Python's expression grammar, but knows no names besides a few functions and constants, no attributes and no
calls of anything else; and it bounds the size of every number.
"""

from __future__ import annotations

import ast
import math
import operator
import re
from collections.abc import Callable, Mapping

from commonweal.core.completion import Tool

Number = int | float

CALCULATOR = Tool(
    name="calculator",
    description="Calculates an arithmetic expression, for example '(12.5 + 3) * 4 / 100'. Powers: ^. "
    "Functions: sqrt, log, exp, round, min, max and others.",
    parameters={
        "type": "object",
        "properties": {"expression": {"type": "string"}},
        "required": ["expression"],
    },
)
"""How a model is told of it."""

LONGEST = 500
"""Characters of an expression."""

LARGEST_BITS = 4096
"""Of an integer, also in between: about 1,233 digits."""

_BINARY: Mapping[type[ast.operator], Callable[[Number, Number], Number]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
_UNARY: Mapping[type[ast.unaryop], Callable[[Number], Number]] = {
    ast.UAdd: operator.pos,
    ast.USub: operator.neg,
}
_FUNCTIONS: Mapping[str, Callable[..., Number]] = {
    "abs": abs,
    "ceil": math.ceil,
    "cos": math.cos,
    "exp": math.exp,
    "floor": math.floor,
    "gcd": math.gcd,
    "ln": math.log,
    "log": math.log,
    "log10": math.log10,
    "log2": math.log2,
    "max": max,
    "min": min,
    "round": round,
    "sin": math.sin,
    "sqrt": math.sqrt,
    "tan": math.tan,
}
_CONSTANTS: Mapping[str, Number] = {"pi": math.pi, "e": math.e}
_WRITTEN = str.maketrans({"×": "*", "·": "*", "÷": "/", "−": "-", "–": "-", "$": None})
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_LETTER = re.compile(r"[A-Za-z]")


class CannotCalculate(ValueError):
    """Why an expression has no value; the message is for the model."""


def calculate(expression: str) -> Number:
    """The value of an arithmetic expression. ``^`` is a power, ``1,000`` a number. Raises CannotCalculate.

    >>> calculate("2 * (3 + 4)^2"), calculate("1,200 / 100"), calculate("7 / 2")
    (98, 12, 3.5)
    """
    if len(expression) > LONGEST:
        raise CannotCalculate(f"an expression has at most {LONGEST} characters")
    text = expression.translate(_WRITTEN).replace("^", "**").strip()
    if not _LETTER.search(text):
        text = _THOUSANDS.sub("", text)
    try:
        return _value(ast.parse(text, mode="eval").body)
    except CannotCalculate:
        raise
    except ZeroDivisionError:
        raise CannotCalculate("division by zero") from None
    except (SyntaxError, RecursionError, MemoryError):
        raise CannotCalculate("this is no arithmetic expression") from None
    except (ValueError, TypeError, OverflowError) as error:
        raise CannotCalculate(str(error)) from None


def shown(value: Number) -> str:
    """A number as a calculator shows it: whole numbers in full, others to 12 significant digits."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    return str(value) if isinstance(value, int) else format(value, ".12g")


def _value(node: ast.expr) -> Number:
    match node:
        case ast.Constant(value=int() | float() as value) if not isinstance(value, bool):
            return _bounded(value)
        case ast.Name(id=name) if name in _CONSTANTS:
            return _CONSTANTS[name]
        case ast.UnaryOp(op=sign, operand=operand) if type(sign) in _UNARY:
            return _UNARY[type(sign)](_value(operand))
        case ast.BinOp(left=left, op=ast.Pow(), right=right):
            return _power(_value(left), _value(right))
        case ast.BinOp(left=left, op=ast.Div(), right=right):
            return _divided(_value(left), _value(right))
        case ast.BinOp(left=left, op=sign, right=right) if type(sign) in _BINARY:
            return _bounded(_BINARY[type(sign)](_value(left), _value(right)))
        case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]) if name in _FUNCTIONS:
            return _bounded(_FUNCTIONS[name](*map(_value, arguments)))
    raise CannotCalculate(f"only numbers, + - * / // % ^, parentheses, and {', '.join(_FUNCTIONS)}")


def _divided(left: Number, right: Number) -> Number:
    if isinstance(left, int) and isinstance(right, int) and right and left % right == 0:
        return left // right
    return left / right


def _power(base: Number, exponent: Number) -> Number:
    """The size of an integer power is known before it is computed."""
    whole = isinstance(base, int) and isinstance(exponent, int)
    if whole and abs(exponent) * (int(abs(base)).bit_length() - 1) > LARGEST_BITS:
        raise CannotCalculate("the number is too large")
    made = base**exponent
    if isinstance(made, complex):
        raise CannotCalculate("the result is no real number")
    return _bounded(made)


def _bounded(value: Number) -> Number:
    if isinstance(value, int) and value.bit_length() > LARGEST_BITS:
        raise CannotCalculate("the number is too large")
    if isinstance(value, float) and not math.isfinite(value):
        raise CannotCalculate("the number is too large")
    return value
