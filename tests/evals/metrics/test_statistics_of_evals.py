"""Intervals and tests, against scipy and worked examples."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from commonweal.evals.statistics import (
    bootstrap_means,
    distinct,
    holm,
    mcnemar,
    mean_interval,
    mean_win_rates,
    paired_difference,
    percentiles,
    resampled_counts,
    sign_flip,
    tie_groups,
    win_rates,
)

scipy_stats = pytest.importorskip("scipy.stats")
FLIPPED = {*range(0, 90, 10), *range(9, 79, 10)}


def test_each_resample_draws_as_many_clusters_as_there_are() -> None:
    blocks = [block.copy() for block in resampled_counts(7, 50, seed=3)]
    counts = np.concatenate(blocks)
    assert counts.shape == (50, 7)
    assert (counts.sum(axis=1) == 7).all()
    assert counts.std() > 0.5


def test_counts_do_not_depend_on_the_size_of_a_block(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = np.concatenate([block.copy() for block in resampled_counts(9, 40, seed=1)])
    monkeypatch.setattr("commonweal.evals.statistics._CELLS", 30)
    small = np.concatenate([block.copy() for block in resampled_counts(9, 40, seed=1)])
    assert (whole == small).all()


def test_interval_of_a_mean_is_scipys_percentile_bootstrap() -> None:
    values = np.random.default_rng(0).normal(2.0, 1.0, size=300)
    ours = mean_interval(list(values))
    theirs = scipy_stats.bootstrap((values,), np.mean, n_resamples=4000, method="percentile", rng=1)
    assert ours is not None
    assert ours.low == pytest.approx(theirs.confidence_interval.low, abs=0.02)
    assert ours.high == pytest.approx(theirs.confidence_interval.high, abs=0.02)


def test_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    random = np.random.default_rng(5)
    hits = 0
    for number in range(200):
        found = mean_interval(list(random.random(60) < 0.3), seed=number)
        assert found is not None
        hits += found.low <= 0.3 <= found.high
    assert 180 <= hits <= 199


def test_repeated_values_of_one_cluster_do_not_make_the_mean_surer() -> None:
    values = list(np.random.default_rng(0).random(40))
    names = [f"i{number}" for number in range(40)]
    once = mean_interval(values, names)
    five_times = mean_interval(values * 5, names * 5)
    careless = mean_interval(values * 5)
    assert once is not None
    assert five_times is not None
    assert careless is not None
    assert five_times.high - five_times.low == pytest.approx(once.high - once.low)
    assert careless.high - careless.low < 0.6 * (once.high - once.low)


def test_order_does_not_matter() -> None:
    values = {f"i{number}": float(v) for number, v in enumerate(np.random.default_rng(0).random(30))}
    back = dict(reversed(values.items()))
    assert mean_interval(list(values.values()), list(values)) == mean_interval(
        list(back.values()), list(back)
    )


def test_below_two_clusters_there_is_no_interval() -> None:
    assert mean_interval([0.5]) is None
    assert mean_interval([0.5, 0.7], ["a", "a"]) is None
    assert percentiles(np.array([math.nan])) is None


def test_resamples_without_values_are_nan() -> None:
    sizes = np.array([[1.0], [0.0]])
    drawn = bootstrap_means(np.array([[2.0], [0.0]]), sizes, resamples=200)
    assert np.isnan(drawn).any()
    assert set(drawn[~np.isnan(drawn)]) == {2.0}


@settings(deadline=None)
@given(st.integers(0, 60), st.integers(0, 60))
def test_mcnemar_is_the_exact_binomial_test(a: int, b: int) -> None:
    expected = scipy_stats.binomtest(min(a, b), a + b).pvalue if a + b else 1.0
    assert mcnemar(a, b) == pytest.approx(expected)


def test_mcnemar_of_many_pairs() -> None:
    assert mcnemar(900, 1100) == pytest.approx(scipy_stats.binomtest(900, 2000).pvalue)


def test_sign_flip_of_few_differences_tries_all_patterns() -> None:
    gaps = np.array([0.3, -0.1, 0.7, 0.2, 0.05])
    sums = [abs(sum(s * abs(g) for s, g in zip(signs, gaps, strict=True))) for signs in _signs(5)]
    expected = sum(total >= abs(gaps.sum()) - 1e-12 for total in sums) / 32
    assert sign_flip(gaps) == pytest.approx(expected)
    assert sign_flip(gaps * 1e-12) == pytest.approx(expected)


@pytest.mark.parametrize("n", [30, 150, 1000])
def test_sign_flip_is_scipys_permutation_test(n: int) -> None:
    gaps = np.random.default_rng(n).normal(0.12, 1.0, size=n)
    theirs = scipy_stats.permutation_test(
        (gaps,), np.mean, permutation_type="samples", n_resamples=9999, rng=2, vectorized=True
    )
    assert sign_flip(gaps) == pytest.approx(theirs.pvalue, abs=0.02)


def test_sign_flip_of_right_and_wrong_is_mcnemar() -> None:
    gaps = np.array([1.0] * 9 + [-1.0] + [0.0] * 50)
    assert sign_flip(gaps) == mcnemar(1, 9)
    assert sign_flip(np.zeros(5)) == 1.0


def test_sign_flip_resolves_small_p() -> None:
    assert sign_flip(np.random.default_rng(0).normal(3.0, 1.0, size=100)) < 1e-6


def test_paired_difference_uses_shared_instances_only() -> None:
    a = {f"i{n}": n % 2 for n in range(100)}
    b = {f"i{n}": 1.0 for n in range(50, 150)}
    found = paired_difference(a, b)
    assert found is not None
    assert found.n == 50
    assert found.mean == 0.5
    assert 0.3 < found.low < 0.5 < found.high < 0.7
    assert found.p < 1e-4
    assert paired_difference(a, {"other": 1.0}) is None


def test_one_shared_instance_says_nothing() -> None:
    found = paired_difference({"a": 0.0}, {"a": 1.0})
    assert found is not None
    assert (found.low, found.high, found.p) == (-math.inf, math.inf, 1.0)


def test_holm_worked_example() -> None:
    """Holm 1979: 0.01 x 4, 0.013 x 3, 0.03 x 2, 0.04 x 1, never falling."""
    assert holm([0.01, 0.04, 0.03, 0.013]) == pytest.approx([0.04, 0.06, 0.06, 0.04])
    assert holm([]) == []


@settings(deadline=None)
@given(st.lists(st.floats(0, 1), max_size=8))
def test_holm_only_raises_and_keeps_the_order(p_values: list[float]) -> None:
    adjusted = holm(p_values)
    assert all(p <= q <= 1 for p, q in zip(p_values, adjusted, strict=True))
    for i, j in itertools.combinations(range(len(p_values)), 2):
        if p_values[i] < p_values[j]:
            assert adjusted[i] <= adjusted[j]


def test_models_within_noise_share_a_rank() -> None:
    """The second is wrong on nine that the first gets right, and right on seven that it gets wrong."""
    best = {f"i{n}": float(n % 10 < 8) for n in range(300)}
    also = {key: 1 - v if n in FLIPPED else v for n, (key, v) in enumerate(best.items())}
    worse = {f"i{n}": float(n % 10 < 5) for n in range(300)}
    scores = {"best": best, "also": also, "worse": worse}
    groups = tie_groups(scores)
    assert [sorted(group) for group in groups] == [["also", "best"], ["worse"]]
    assert [sorted(group) for group in tie_groups(scores, higher_is_better=False)] == [
        ["worse"],
        ["also", "best"],
    ]


def test_equal_models_are_one_group_and_a_model_without_values_is_none() -> None:
    same = {"i1": 1.0, "i2": 0.0}
    assert tie_groups({"a": same, "b": same, "c": {}}) == [["a", "b"]]


def test_win_rates_are_helms() -> None:
    """Ties count half, lower may be better, models without a value are left out (HELM's summarize.py)."""
    column = {"a": 0.2, "b": 0.4, "c": 0.4, "d": 0.9, "e": None}
    assert win_rates(column) == {"a": 0.0, "b": 0.5, "c": 0.5, "d": 1.0}
    assert win_rates(column, higher_is_better=False) == {"a": 1.0, "b": 0.5, "c": 0.5, "d": 0.0}
    assert win_rates({"a": 1.0, "b": None}) == {}


def test_mean_win_rate_over_columns() -> None:
    columns = {
        "x": {"a": 1.0, "b": 0.0, "c": None},
        "y": {"a": 5.0, "b": 3.0, "c": 1.0},
        "z": {"a": None, "d": 2.0},
    }
    found = mean_win_rates(columns, {"x": True, "y": False})
    assert found == {"a": 0.5, "b": 0.25, "c": 1.0}


@settings(deadline=None)
@given(st.dictionaries(st.text(max_size=3), st.floats(-5, 5), min_size=2, max_size=8))
def test_win_rates_average_to_one_half(column: dict[str, float]) -> None:
    rates = win_rates(column)
    assert sum(rates.values()) / len(rates) == pytest.approx(0.5)


def _signs(n: int) -> list[tuple[int, ...]]:
    return list(itertools.product((-1, 1), repeat=n))


@given(st.lists(st.floats(allow_nan=False) | st.sampled_from([0.0, -0.0, 1.0]), max_size=30))
def test_distinct_is_unique(values: list[float]) -> None:
    given_values = np.array(values, dtype=np.float64)
    theirs, inverse = np.unique(given_values, return_inverse=True)
    ours, which = distinct(given_values)
    assert np.array_equal(ours, theirs)
    assert np.array_equal(which, inverse)
