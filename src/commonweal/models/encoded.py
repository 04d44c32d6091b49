"""Requests as tokens. Pure; imports neither torch nor a tokenizer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoded:
    """``prompt`` is what is read first, at least one token; ``continuation`` what is scored. ``unscored`` says that
    the continuation's first token became the prompt, because nothing stands before it."""

    prompt: list[int]
    continuation: list[int]
    unscored: bool = False


def common_prefix(rows: Sequence[Sequence[int]]) -> int:
    """How many tokens all rows begin with.

    >>> common_prefix([[1, 2, 3], [1, 2, 4, 5]])
    2
    """
    first, last = min(map(list, rows)), max(map(list, rows))
    for at, (a, b) in enumerate(zip(first, last, strict=False)):
        if a != b:
            return at
    return min(len(first), len(last))
