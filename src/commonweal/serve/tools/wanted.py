"""Which tools of the hub's a request names: ``"commonweal": {"tools": [...]}`` in a chat's body.

"calculator"
{"type": "sql", "file_id": "file_..."}
{"type": "retrieval", "file_ids": ["file_..."], "vector_store_ids": ["vs_..."], "max_passages": 5}
"""

from __future__ import annotations

import difflib
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError

from commonweal.core.errors import UserError

MOST_TOOLS = 8
_Id = Annotated[str, Field(pattern="^[A-Za-z0-9_-]{1,120}$")]


class _Wanted(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class WantsCalculator(_Wanted):
    """Arithmetic."""

    type: Literal["calculator"] = "calculator"


class WantsSql(_Wanted):
    """Queries on a SQLite file that was uploaded. ``name`` is what the model calls the tool."""

    type: Literal["sql"] = "sql"
    file_id: _Id
    name: str = Field(default="sql", pattern="^[A-Za-z_][A-Za-z0-9_]{0,39}$")


class WantsRetrieval(_Wanted):
    """The best passages of these files and vector stores, put before the question."""

    type: Literal["retrieval"] = "retrieval"
    file_ids: tuple[_Id, ...] = Field(default=(), max_length=100)
    vector_store_ids: tuple[_Id, ...] = Field(default=(), max_length=10)
    max_passages: int = Field(default=5, ge=1, le=20)


_KINDS = ("calculator", "sql", "retrieval")


def _from_name(value: Any) -> Any:
    return {"type": value} if isinstance(value, str) else value


Wanted = Annotated[
    Annotated[WantsCalculator | WantsSql | WantsRetrieval, Field(discriminator="type")],
    BeforeValidator(_from_name),
]
"""One tool that a request names, for the model of a body."""

_LIST: TypeAdapter[tuple[WantsCalculator | WantsSql | WantsRetrieval, ...]] = TypeAdapter(
    Annotated[tuple[Wanted, ...], Field(max_length=MOST_TOOLS)]
)


class BadTools(UserError):
    """``param`` names the field."""

    def __init__(self, message: str, *, param: str, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.param = param


def wanted(value: Any) -> tuple[WantsCalculator | WantsSql | WantsRetrieval, ...]:
    """The tools that ``commonweal.tools`` names; None names none. Raises UserError."""
    if value is None:
        return ()
    try:
        found = _LIST.validate_python(value)
    except ValidationError as error:
        raise _explained(error, value) from None
    _check_together(found)
    return found


def _check_together(found: tuple[WantsCalculator | WantsSql | WantsRetrieval, ...]) -> None:
    names = [tool.name if isinstance(tool, WantsSql) else tool.type for tool in found]
    for at, (tool, name) in enumerate(zip(found, names, strict=True)):
        where = f"commonweal.tools[{at}]"
        if name in names[:at]:
            hint = "give databases different names: {'type': 'sql', 'name': ...}"
            raise BadTools(f"{where}: there are two tools '{name}'", param=where, hint=hint)
        if isinstance(tool, WantsRetrieval) and not (tool.file_ids or tool.vector_store_ids):
            raise BadTools(f"{where}: retrieval needs file_ids or vector_store_ids", param=where)


def _explained(error: ValidationError, value: Any) -> BadTools:
    first = error.errors()[0]
    place = [part for part in first["loc"] if part not in _KINDS]
    param = "commonweal.tools" + "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in place)
    hint = "known: " + ", ".join(_KINDS)
    if first["type"] == "union_tag_invalid":
        close = difflib.get_close_matches(str(first.get("ctx", {}).get("tag", "")), _KINDS, n=1)
        return BadTools(
            f"{param}: there is no such tool",
            param=param,
            hint=f"did you mean '{close[0]}'?" if close else hint,
        )
    return BadTools(f"{param}: {first['msg']}", param=param, hint=hint)
