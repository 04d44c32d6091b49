"""Reading one field of a row, with an error that says where the row is and what was expected.

A row of a file carries ``__file__`` and ``__line__`` (for a JSON array or a Parquet file: the number of the row).
"""

from __future__ import annotations

from typing import Any, TypeVar, overload

from commonweal.core.errors import DataError
from commonweal.evals.scenario import Row

FILE = "__file__"
LINE = "__line__"

T = TypeVar("T")
_NAMES = {
    str: "text",
    int: "an integer",
    float: "a number",
    bool: "true or false",
    list: "a list",
    dict: "an object",
}


def where(row: Row) -> str:
    """Where a row stands, for messages.

    >>> where({"__file__": "a.jsonl", "__line__": 7})
    'a.jsonl, line 7'
    """
    name, line = row.get(FILE, "row"), row.get(LINE)
    return f"{name}, line {line}" if line is not None else str(name)


@overload
def field(row: Row, name: str, kind: type[T]) -> T: ...
@overload
def field(row: Row, name: str) -> str: ...
def field(row: Row, name: str, kind: type[Any] = str) -> Any:
    """``row[name]`` as a ``kind``. Raises DataError naming file, line, field and what was expected.

    A number may stand as text where the file has no other way to write it (a CSV), and an integer for a float;
    nothing else is converted.
    """
    value = row.get(name)
    if isinstance(value, kind) and not (kind is int and isinstance(value, bool)):
        return value
    if kind in (int, float) and isinstance(value, (str, int)) and not isinstance(value, bool):
        try:
            return kind(value)
        except ValueError:
            pass
    wanted = _NAMES.get(kind, kind.__name__)
    if name not in row:
        known = ", ".join(key for key in row if not key.startswith("__"))
        raise DataError(f"{where(row)}: no field '{name}' (expected {wanted})", hint=f"the row has: {known}")
    raise DataError(f"{where(row)}: field '{name}' should be {wanted}, but is {_shown(value)}")


def bad(row: Row, message: str) -> DataError:
    """An error about a row; raise it."""
    return DataError(f"{where(row)}: {message}")


def _shown(value: Any) -> str:
    text = repr(value)
    return f"{type(value).__name__} {text if len(text) <= 60 else text[:57] + '...'}"
