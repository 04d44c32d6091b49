"""What strangers send: read safely, clipped to the median, summed in order, one at a time."""

from __future__ import annotations

import math
import sys
import tracemalloc
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from commonweal.core.errors import InvalidContribution
from commonweal.train.codecs import Vector, make_codec
from commonweal.train.contributions import (
    WeightedMean,
    aggregate,
    clip_factors,
    is_huge,
    median_norm,
    norm,
    read_contribution,
)

norms = st.lists(st.floats(0, 1e9), min_size=1, max_size=20)


def random_vectors(count: int, size: int) -> list[Vector]:
    rng = np.random.default_rng(0)
    return [rng.standard_normal(size).astype(np.float32) for _ in range(count)]


def test_a_good_contribution_is_read() -> None:
    codec, x = make_codec("int8"), random_vectors(1, 1000)[0]
    np.testing.assert_allclose(read_contribution(codec.encode(x, seed=0), codec, 1000), x, atol=0.03)


def test_one_that_is_not_finite_is_refused() -> None:
    codec, x = make_codec("fp32"), np.ones(10, np.float32)
    message = codec.encode(x, seed=0)[:-4] + np.array([np.nan], "<f4").tobytes()
    with pytest.raises(InvalidContribution) as caught:
        read_contribution(message, codec, 10)
    assert caught.value.code == "not_finite"


@settings(deadline=None)
@given(hnp.arrays(np.float32, st.integers(0, 300), elements=st.floats(-(2.0**60), 2.0**60, width=32)))
def test_the_norm_is_the_euclidean_norm(x: Vector) -> None:
    assert norm(x) == pytest.approx(math.sqrt(math.fsum(float(v) ** 2 for v in x)), rel=1e-12)


def test_the_norm_has_the_bits_it_always_had() -> None:
    x = np.sin(np.arange(200_000) * 0.37).astype(np.float32)
    x = np.round(x * 2**20).astype(np.float32) / np.float32(2**20)  # the same on every libm
    assert norm(x).hex() == "0x1.3c3a686151349p+8"


@settings(deadline=None)
@given(norms)
def test_nothing_is_longer_than_the_median_after_clipping(values: list[float]) -> None:
    factors = clip_factors(values)
    median = median_norm(values)
    assert all(0 <= f <= 1 for f in factors)
    least = sys.float_info.min  # below it floats have no 52 bits
    assert all(n * f <= median * (1 + 1e-12) + least for n, f in zip(values, factors, strict=True))
    assert all(f == 1 for n, f in zip(values, factors, strict=True) if n <= median)


@settings(deadline=None)
@given(norms, st.floats(1, 10))
def test_a_looser_limit_clips_less(values: list[float], limit: float) -> None:
    assert all(a >= b for a, b in zip(clip_factors(values, limit), clip_factors(values), strict=True))


def test_of_two_the_smaller_norm_is_the_measure() -> None:
    assert clip_factors([1.0, 100.0]) == [1.0, 0.01]


def test_the_huge_are_told_from_the_large() -> None:
    assert not is_huge(50.0, [1.0, 1.0, 50.0])
    assert is_huge(101.0, [1.0, 1.0, 101.0])
    assert not is_huge(101.0, [1.0, 101.0])


def test_a_hundredfold_contribution_moves_the_mean_no_more_than_an_honest_one() -> None:
    vectors = random_vectors(4, 2000)
    honest = aggregate(vectors, [1.0] * 4)
    vectors[2] = vectors[2] * np.float32(100)
    factors = clip_factors([norm(v) for v in vectors])
    assert norm(aggregate(vectors, [1.0] * 4, factors) - honest) < 0.1 * norm(honest)
    assert norm(aggregate(vectors, [1.0] * 4) - honest) > 10 * norm(honest)


def test_the_mean_is_weighted() -> None:
    a, b = np.full(3, 1, np.float32), np.full(3, 4, np.float32)
    assert aggregate([a, b], [2.0, 1.0]).tolist() == [2.0, 2.0, 2.0]


def test_the_same_order_gives_the_same_bits_and_streaming_changes_nothing() -> None:
    vectors, weights = random_vectors(5, 10_000), [3.0, 1.0, 4.0, 1.0, 5.0]
    running = WeightedMean(10_000)
    for vector, weight in zip(vectors, weights, strict=True):
        running.add(vector, weight)
    streamed = aggregate((v for v in vectors), weights)
    assert streamed.tobytes() == aggregate(vectors, weights).tobytes() == running.result().tobytes()
    by_hand = np.zeros(10_000, np.float32)
    for vector, weight in zip(vectors, weights, strict=True):
        by_hand += np.float32(weight) * vector
    assert streamed.tobytes() == (by_hand / np.float32(14)).tobytes()


def test_memory_does_not_grow_with_the_members() -> None:
    size = 200_000
    codec = make_codec("int4")
    sent = [codec.encode(v, seed=0) for v in random_vectors(2, size)] * 20

    def decoded(count: int) -> Iterator[Vector]:
        return (read_contribution(sent[i], codec, size) for i in range(count))

    def peak(count: int) -> int:
        tracemalloc.start()
        aggregate(decoded(count), [1.0] * count)
        top = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return top

    assert peak(40) <= peak(3) + 4 * size


def test_nothing_cannot_be_aggregated() -> None:
    with pytest.raises(ValueError, match="nothing"):
        aggregate([], [])
    with pytest.raises(ValueError, match=r"shorter|longer"):
        aggregate(random_vectors(2, 3), [1.0])


def test_a_mean_of_nothing_is_zero() -> None:
    assert WeightedMean(3).result().tolist() == [0, 0, 0]
