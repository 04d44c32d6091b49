"""How fields that may have several shapes are told apart: each shape has a tag in angle brackets, which pydantic puts
into the place of a finding and :mod:`commonweal.serve.api.invalid` leaves out of it again."""

from __future__ import annotations

from typing import Any


def by_type(value: Any) -> str | None:
    """The tag of an object with a ``type``."""
    found = value.get("type") if isinstance(value, dict) else getattr(value, "type", None)
    return f"<{found}>" if isinstance(found, str) else None


def text_or_list(value: Any) -> str:
    return "<list>" if isinstance(value, list) else "<text>"


def mode_or_object(value: Any) -> str:
    return "<mode>" if isinstance(value, str) else "<object>"
