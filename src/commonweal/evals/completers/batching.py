"""Which of the waiting requests a local model computes together. Pure; knows no tensor.

Requests of nearly the same length stand together, so that little is padded, the longest first, so that a batch which
does not fit memory is known at once; equal prompts stand side by side, so that they are read once.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from commonweal.core.completion import Request
from commonweal.models.encoded import Encoded


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What one request weighs: ``prompt`` tokens to read, which are the same as those of others of its ``group``, and
    ``new`` ones to write or to score, in ``rows`` samples. ``kind`` are requests that can share a batch."""

    kind: str
    group: int
    prompt: int
    new: int
    rows: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request with its tokens. ``since`` is when it was asked (seconds, as of :func:`time.perf_counter`)."""

    request: Request
    encoded: Encoded
    since: float
    load: Load


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """``tokens`` in a batch, padding included; ``rows`` side by side; ``scores`` new tokens whose distribution over
    the vocabulary is held at once."""

    tokens: int
    rows: int
    scores: int


def place(load: Load) -> tuple[str, int, int, int]:
    """Where a request stands among others: those of its kind together, the longest prompt first."""
    return (load.kind, -load.prompt, load.group, -load.new)


def fitting(loads: Iterable[Load], budget: Budget) -> int:
    """How many of the first ``loads``, which are in the order of :func:`place`, make one batch: never none, and all of
    the first one's kind."""
    count = rows = widest = 0
    first: Load | None = None
    for load in loads:
        first = first or load
        rows, widest = rows + load.rows, max(widest, load.new)
        full = rows * (first.prompt + widest) > budget.tokens or rows > budget.rows
        if count and (full or load.kind != first.kind or _too_many(load.kind, rows * widest, budget)):
            break
        count += 1
    return count


def _too_many(kind: str, scores: int, budget: Budget) -> bool:
    return kind == "score" and scores > budget.scores
