"""The arithmetic of a fold: contributions in, the next weights out, the same bits wherever it is done.

Element-wise float32 in the order of the contributions given; blobs, states and verdicts are not known here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from commonweal.train.codecs import Codec, Vector, encode_with_feedback
from commonweal.train.config import Weights
from commonweal.train.contributions import aggregate
from commonweal.train.judge import Judged
from commonweal.train.outer import OuterOptions, outer_step


@dataclass(frozen=True, slots=True, kw_only=True)
class OuterState:
    """The weights that everybody has, the outer momentum, and what the last updates' compression still owes;
    the latter two None while they are zero."""

    theta: Vector
    momentum: Vector | None
    residual: Vector | None


def fold_round(
    before: OuterState,
    contributions: Sequence[Judged],
    *,
    start: int,
    stop: int,
    weights: Weights,
    options: OuterOptions,
    keep_momentum: bool,
    codec: Codec,
    seed: int,
) -> tuple[OuterState, bytes]:
    """The state after one outer step on the elements ``start`` to ``stop``, and the encoded update that leads
    there.

    What is published is the update as encoded, so the weights move by what members will decode, not by what
    was wanted; the difference is owed to later rounds. The momentum is kept (``keep_momentum``) also while it does
    not count yet, if it will later.
    """
    part = slice(start, stop)
    counts = [float(_weight(one, weights)) for one in contributions]
    mean = aggregate((one.vector() for one in contributions), counts, [one.clip for one in contributions])
    momentum = _part(before.momentum, part)
    stepped = outer_step(before.theta[part], momentum, mean, options)
    owed = None if before.residual is None else before.residual[part]
    encoded = encode_with_feedback(codec, stepped.theta - before.theta[part], owed, seed=seed)
    theta = before.theta.copy()
    theta[part] += encoded.decoded
    after = OuterState(
        theta=theta,
        momentum=_with(before.momentum, part, stepped.momentum, theta.size) if keep_momentum else None,
        residual=_with(before.residual, part, encoded.residual, theta.size),
    )
    return after, encoded.data


def _weight(one: Judged, weights: Weights) -> int:
    return one.claim.tokens if weights == "tokens" and one.claim else 1


def _part(vector: Vector | None, part: slice) -> Vector:
    return np.zeros(part.stop - part.start, np.float32) if vector is None else vector[part]


def _with(vector: Vector | None, part: slice, values: Vector, size: int) -> Vector | None:
    """``vector`` with ``values`` in ``part``; None where that is zero everywhere."""
    if vector is None and not values.any():
        return None
    copied = np.zeros(size, np.float32) if vector is None else vector.copy()
    copied[part] = values
    return copied
