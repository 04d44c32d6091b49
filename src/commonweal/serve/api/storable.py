"""Texts from strangers that end up in the database: without NUL characters and halves of surrogate pairs, which it
cannot hold; and what several routes say of files, jobs and batches: ids, pages and metadata."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Path, Query
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

ANCHOR_LEAST, ANCHOR_MOST = 3600, 2_592_000


def storable(text: str) -> str:
    """``text``, if PostgreSQL and UTF-8 can hold it. Raises ValueError."""
    if "\0" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise ValueError("has a NUL character or half of a surrogate pair")
    return text


def storable_json(value: Any) -> Any:
    """``value``, if all texts in it are storable. Raises ValueError."""
    waiting = [value]
    while waiting:
        match waiting.pop():
            case str(text):
                storable(text)
            case dict(inner):
                waiting += [*inner.keys(), *inner.values()]
            case list(inner):
                waiting += inner
    return value


Text = Annotated[str, AfterValidator(storable)]
Json = Annotated[dict[str, Any], AfterValidator(storable_json)]
Id = Annotated[Text, Path(min_length=1, max_length=100)]
After = Annotated[
    Text | None, Query(max_length=100, description="The id of the last row of the page before.")
]
_Key = Annotated[Text, StringConstraints(min_length=1, max_length=64)]
_Value = Annotated[Text, StringConstraints(max_length=512)]
Metadata = Annotated[dict[_Key, _Value], Field(max_length=16)]


class Sent(BaseModel):
    """What a client sends: unknown fields are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ExpiresAfter(Sent):
    """How long a file is kept, from when it is made."""

    anchor: Annotated[str, StringConstraints(pattern="^created_at$")] = "created_at"
    seconds: Annotated[int, Field(ge=ANCHOR_LEAST, le=ANCHOR_MOST)]


def listed(data: list[dict[str, Any]], *, more: bool) -> dict[str, Any]:
    """A page, as OpenAI's lists are."""
    ids = [row["id"] for row in data]
    return {
        "object": "list",
        "data": data,
        "first_id": ids[0] if ids else None,
        "last_id": ids[-1] if ids else None,
        "has_more": more,
    }
