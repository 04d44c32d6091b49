"""Which of the waiting requests a local model computes together. Pure; knows no tensor.

Requests of nearly the same length stand together, so that little is padded, the longest first, so that a batch which
does not fit memory is known at once; equal prompts stand side by side, so that they are read once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from commonweal.core.completion import Request
from commonweal.models.encoded import Encoded


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request with its tokens. ``since`` is when it was asked (seconds, as of :func:`time.perf_counter`)."""

    request: Request
    encoded: Encoded
    since: float


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
class Budget:
    """``tokens`` in a batch, padding included; ``rows`` side by side; ``scores`` new tokens whose distribution over
    the vocabulary is held at once."""

    tokens: int
    rows: int
    scores: int


def next_batch(loads: Sequence[Load], budget: Budget) -> list[int]:
    """Which of ``loads`` to compute now, never none: of the first one's kind, longest prompts first."""
    kind = loads[0].kind
    order = sorted(
        (i for i, load in enumerate(loads) if load.kind == kind),
        key=lambda i: (-loads[i].prompt, loads[i].group, -loads[i].new),
    )
    taken: list[int] = []
    rows = widest = 0
    for i in order:
        load = loads[i]
        many, wide = rows + load.rows, max(widest, load.new)
        longest = loads[order[0]].prompt + wide
        full = many * longest > budget.tokens or many > budget.rows
        if taken and (full or (kind == "score" and many * wide > budget.scores)):
            break
        taken.append(i)
        rows, widest = many, wide
    return taken
