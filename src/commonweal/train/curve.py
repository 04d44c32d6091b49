"""A job's rounds as points of a curve, of any length in bounded memory. Pure.

Long jobs are thinned: of older rounds every second one goes whenever there are too many, so what is left is spread
evenly over the job, and the latest rounds are all there. A held-out loss is measured now and then only: it moves on to
the next point that is kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

MOST_POINTS = 2000
LATEST = 200
"""So many of the latest rounds are never thinned."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One round. ``number`` counts the records of the job, ``at`` is the hub's time. Losses are nats a token, None
    where nothing was measured; ``accepted`` members counted, ``refused`` did not, ``missing`` handed nothing in;
    ``moved`` are the bytes of all members, ``reference`` what float32 gradients at every step would have been."""

    number: int
    at: float
    step: int
    tokens: int
    loss: float | None
    held_out: float | None
    bits: float | None
    accepted: int
    refused: int
    missing: int
    moved: int
    reference: int


def point_of(number: int, at: float, record: Mapping[str, Any], *, members: int, refused: int) -> Point:
    """From a round's record, of which the list of ``members`` may be left out."""
    return Point(
        number=number,
        at=at,
        step=int(record.get("step") or 0),
        tokens=int(record.get("tokens") or 0),
        loss=record.get("loss"),
        held_out=record.get("held_out_loss"),
        bits=record.get("bits_per_byte"),
        accepted=members - refused,
        refused=refused,
        missing=int(record.get("stragglers") or 0),
        moved=int(record.get("up_bytes") or 0) + int(record.get("down_bytes") or 0),
        reference=int(record.get("allreduce_bytes") or 0),
    )


def thinned(points: Sequence[Point], most: int = MOST_POINTS, latest: int = LATEST) -> Sequence[Point]:
    """``points``, or about half of those before the ``latest`` if there are more than ``most``."""
    while len(points) > most:
        old, new = points[:-latest], points[-latest:]
        kept = []
        for i in range(0, len(old), 2):
            one, gone = old[min(i + 1, len(old) - 1)], old[i]
            if one.held_out is None:
                one = replace(one, held_out=gone.held_out, bits=gone.bits)
            kept.append(one)
        if len(kept) == len(old):
            break
        points = [*kept, *new]
    return points
