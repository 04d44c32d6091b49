"""What members send, from bytes to one mean: read, measured, clipped, summed in order.

Decided by experiment: clipping every norm to the round's median costs nothing when nobody cheats and disarms a
contribution that is a hundred times too large; coordinate-wise medians harm honest rounds and do not stop a
negated one, so there are none here (a loss on unseen data does that). Sums are element-wise float32 in
the order given, so the same contributions in the same order give the same bits on any machine; callers
order them by unit key. Only one decoded contribution is in memory at a time.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence

import numpy as np

from commonweal.train.codecs import Codec, Vector, rejected

HUGE = 100.0
"""A norm this many times the round's median is no accident of honest training."""

_TILE = 1 << 16


def read_contribution(data: bytes, codec: Codec, size: int) -> Vector:
    """The pseudo-gradient in ``data``: ``size`` finite float32. Raises InvalidContribution."""
    vector = codec.decode(data, size)
    if not bool(np.isfinite(vector).all()):
        raise rejected("not_finite", "the contribution holds numbers that are not finite")
    return vector


def norm(vector: Vector) -> float:
    """The Euclidean norm, the same to the last bit on every machine.

    ``np.sum`` adds in an order that depends on the processor, so the sum is folded in halves by element-wise
    additions, and the few sums of tiles are added exactly.
    """
    return math.sqrt(math.fsum(_folded(vector[i : i + _TILE]) for i in range(0, vector.size, _TILE)))


def _folded(tile: Vector) -> float:
    squares = tile.astype(np.float64) ** 2
    while squares.size > 1:
        half = -(-squares.size // 2)
        squares[: squares.size - half] += squares[half:]
        squares = squares[:half]
    return float(squares[0])


def median_norm(norms: Sequence[float]) -> float:
    """The lower median: of two contributions the smaller sets the measure, for of one honest and one absurd
    member the mean of both would be absurd."""
    return statistics.median_low(norms) if norms else 0.0


def clip_factors(norms: Sequence[float], limit: float = 1.0) -> list[float]:
    """What to multiply each contribution by, so that none is longer than ``limit`` times the median.

    >>> clip_factors([1.0, 2.0, 8.0])
    [1.0, 1.0, 0.25]
    """
    ceiling = limit * median_norm(norms)
    return [1.0 if n <= ceiling else ceiling / n for n in norms]


def is_huge(own: float, norms: Sequence[float]) -> bool:
    """Whether a contribution is to be refused rather than clipped. Needs three, for of two nobody knows which is
    the strange one."""
    return len(norms) >= 3 and own > HUGE * median_norm(norms)


class WeightedMean:
    """A running weighted mean of vectors: memory for one sum, whatever the number of members."""

    def __init__(self, size: int) -> None:
        self._sum = np.zeros(size, dtype=np.float32)
        self._weight = 0.0

    def add(self, vector: Vector, weight: float, factor: float = 1.0) -> None:
        """Count ``factor * vector`` with ``weight``: a clipped contribution keeps its weight."""
        self._sum += np.float32(weight * factor) * vector
        self._weight += weight

    def result(self) -> Vector:
        """The mean; zeros if nothing was added."""
        if self._weight == 0:
            return self._sum.copy()
        return self._sum / np.float32(self._weight)


def aggregate(
    vectors: Iterable[Vector], weights: Sequence[float], factors: Sequence[float] | None = None
) -> Vector:
    """The mean of ``factors[i] * vectors[i]``, weighted, summed in the order given.

    ``vectors`` may be a generator that decodes one at a time. Raises ValueError if the numbers of vectors,
    weights and factors differ, or there are none.
    """
    mean: WeightedMean | None = None
    for vector, weight, factor in zip(vectors, weights, factors or [1.0] * len(weights), strict=True):
        mean = mean or WeightedMean(vector.size)
        mean.add(vector, weight, factor)
    if mean is None:
        raise ValueError("there is nothing to aggregate")
    return mean.result()
