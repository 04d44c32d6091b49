"""A job's rounds as points of a curve, of any length in bounded memory. Pure.

Long jobs are thinned: of older rounds only every second, fourth or eighth stays, so they are spread evenly over the
job, and the latest are all there. A held-out loss is measured now and then only: it moves on to the next point that
stays.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
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
    """``points``, or where there are more than ``most``: the ``latest``, and of those before every second, fourth or
    eighth, so that a quarter of the places is free again."""
    if len(points) <= most or len(points) <= latest:
        return points
    old, new = points[: len(points) - latest], points[len(points) - latest :]
    room, every = 3 * most // 4 - latest, 1
    while every <= old[-1].number and sum(one.number % every == 0 for one in old) > room:
        every *= 2
    return [*_kept(old, every), *new]


def _kept(points: Sequence[Point], every: int) -> Iterator[Point]:
    """Those whose number is a multiple of ``every``, with the last held-out loss that was measured until then."""
    gone: Point | None = None
    for one in points:
        if one.number % every:
            gone = one if one.held_out is not None else gone
            continue
        if one.held_out is None and gone is not None:
            one = replace(one, held_out=gone.held_out, bits=gone.bits)
        gone = None
        yield one
