"""Prompts as completions and embeddings take them: a text, several, a list of token ids, or several of those."""

from __future__ import annotations

from typing import Annotated, Any, Final

from pydantic import WithJsonSchema

from commonweal.serve.api.complaints import ApiError

MOST_PROMPTS: Final = 2048
MOST_IDS: Final = 2**20
LARGEST_ID: Final = 2**31

_TEXT = {"type": "string"}
_IDS = {"type": "array", "items": {"type": "integer", "minimum": 0}, "minItems": 1}
Prompts = Annotated[
    Any,
    WithJsonSchema(
        {
            "anyOf": [
                _TEXT,
                {"type": "array", "items": _TEXT, "minItems": 1, "maxItems": MOST_PROMPTS},
                _IDS,
                {"type": "array", "items": _IDS, "minItems": 1, "maxItems": MOST_PROMPTS},
            ]
        }
    ),
]

Prompt = str | tuple[int, ...]


def prompts_of(value: Any, param: str) -> list[Prompt]:
    """The prompts, at least one. Raises ApiError for another shape."""
    if isinstance(value, str):
        return [value]
    if not isinstance(value, list) or not value:
        raise _wrong(param)
    if len(value) > MOST_PROMPTS and not _is_id(value[0]):
        raise ApiError(
            f"Invalid '{param}': array too long. Expected at most {MOST_PROMPTS} items, got {len(value)}.",
            param=param,
            code="array_above_max_length",
        )
    if _is_id(value[0]):
        return [_ids(value, param)]
    if isinstance(value[0], str):
        if not all(isinstance(text, str) for text in value):
            raise _wrong(param)
        return list(value)
    return [_ids(ids, param) for ids in value]


def _ids(value: Any, param: str) -> tuple[int, ...]:
    if not isinstance(value, list) or not value or not all(map(_is_id, value)):
        raise _wrong(param)
    if len(value) > MOST_IDS or not all(0 <= token < LARGEST_ID for token in value):
        raise ApiError(f"Invalid '{param}': token ids are not negative and below 2^31.", param=param)
    return tuple(value)


def _is_id(value: Any) -> bool:
    return type(value) is int


def _wrong(param: str) -> ApiError:
    return ApiError(
        f"Invalid type for '{param}': expected a string, an array of strings, an array of token ids, or an array of "
        "arrays of token ids, none of them empty.",
        param=param,
        code="invalid_type",
    )
