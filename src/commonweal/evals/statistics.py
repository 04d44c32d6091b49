"""How sure a number is, and whether two numbers differ. Pure numpy; knows no sample and no model.

Everything is clustered: the values of one instance (its trials, its perturbed forms) are drawn together, as they are
not independent. Intervals are percentile bootstraps (Efron & Tibshirani 1993, chapter 13); tests are exact or by
random permutation, and each says how many resamples it used. The same seed gives the same numbers, in whatever order
the values came.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
RESAMPLES = 1000
LEVEL = 0.95
_CELLS = 4_000_000  # counts held at once: 32 MB
_KEPT = 1_000_000  # counts of a size that are kept for the next that asks: 8 MB


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """``b`` minus ``a`` over the ``n`` instances that both have; ``p`` is two-sided, of the sign-flip test."""

    mean: float
    low: float
    high: float
    p: float
    n: int


def distinct(values: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.intp]]:
    """The sorted distinct numbers, and which of them each is: ``np.unique`` with the inverse, in half its time, and
    without importing masked arrays. NaN must not be among them."""
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    first = np.empty(len(values), dtype=np.bool_)
    first[:1] = True
    np.not_equal(ordered[1:], ordered[:-1], out=first[1:])
    which = np.empty(len(values), dtype=np.intp)
    which[order] = np.cumsum(first) - 1
    return ordered[first], which


def resampled_counts(
    clusters: int, resamples: int = RESAMPLES, seed: int = 0
) -> Iterator[NDArray[np.float64]]:
    """How often each cluster is drawn in each of ``resamples`` bootstrap samples: blocks of (some resamples,
    clusters), so that memory does not grow with ``resamples`` x ``clusters``. The next block overwrites a block."""
    if clusters * resamples <= _KEPT:
        yield _kept_counts(clusters, resamples, seed)
    else:
        yield from _drawn_counts(clusters, resamples, seed)


@lru_cache(maxsize=1)
def _kept_counts(clusters: int, resamples: int, seed: int) -> NDArray[np.float64]:
    """A site compares thousands of pairs of runs of one size, one after the other. To be read only."""
    [block] = _drawn_counts(clusters, resamples, seed)
    block.setflags(write=False)
    return block


def _drawn_counts(clusters: int, resamples: int, seed: int) -> Iterator[NDArray[np.float64]]:
    random = np.random.default_rng(seed)
    step = max(1, min(resamples, _CELLS // max(1, clusters)))
    block = np.empty((step, clusters))
    for start in range(0, resamples, step):
        rows = min(step, resamples - start)
        for row in range(rows):
            block[row] = np.bincount(random.integers(0, clusters, size=clusters), minlength=clusters)
        yield block[:rows]


def percentiles(values: Floats, level: float = LEVEL) -> Interval | None:
    """The middle ``level`` of bootstrap values, NaN left out; None where none is left."""
    known = values[~np.isnan(values)]
    if not known.size:
        return None
    low, high = np.percentile(known, [50 * (1 - level), 50 * (1 + level)])
    return Interval(low=float(low), high=float(high))


def bootstrap_means(
    sums: Floats, sizes: Floats, resamples: int = RESAMPLES, seed: int = 0
) -> NDArray[np.float64]:
    """Bootstrap values of several means at once. ``sums`` and ``sizes`` are (clusters, means): a cluster's sum and its
    number of values. Returns (resamples, means), NaN where a resample holds no value."""
    alike: dict[bytes, int] = {}
    which = [alike.setdefault(column.tobytes(), len(alike)) for column in sizes.T]
    return bootstrap_ratios(sums, [np.frombuffer(key) for key in alike], which, resamples, seed)


def bootstrap_ratios(
    sums: Floats, sizes: Sequence[Floats], which: Sequence[int], resamples: int = RESAMPLES, seed: int = 0
) -> NDArray[np.float64]:
    """:func:`bootstrap_means` where means share their numbers of values: mean ``i`` has ``sizes[which[i]]``."""
    shared = np.stack(sizes, axis=1)
    blocks = []
    for counts in resampled_counts(len(sums), resamples, seed):
        with np.errstate(invalid="ignore", divide="ignore"):
            blocks.append((counts @ sums) / (counts @ shared)[:, which])
    return np.concatenate(blocks)


def mean_interval(
    values: Sequence[float], clusters: Sequence[str] | None = None, seed: int = 0
) -> Interval | None:
    """95% interval of the mean of ``values``, drawn by cluster. None below two clusters."""
    names = clusters if clusters is not None else [str(i) for i in range(len(values))]
    sums, sizes = cluster_sums(np.asarray(values, dtype=np.float64), names)
    if len(sums) < 2:
        return None
    return percentiles(bootstrap_means(sums[:, None], sizes[:, None], seed=seed)[:, 0])


def cluster_sums(values: Floats, clusters: Sequence[str]) -> tuple[Floats, Floats]:
    """The sum and the number of values of each cluster, in the order of the clusters' names."""
    _, index = np.unique(np.asarray(clusters, dtype=object).astype(str), return_inverse=True)
    size = int(index.max()) + 1 if len(index) else 0
    sums = np.bincount(index, weights=values, minlength=size)
    return sums.astype(np.float64), np.bincount(index, minlength=size).astype(np.float64)


def paired_difference(a: Mapping[str, float], b: Mapping[str, float], seed: int = 0) -> Difference | None:
    """``b`` minus ``a`` over the instances that both have; None where they share none. Of one instance alone nothing is
    known: its interval is the whole line and its p 1."""
    shared = sorted(a.keys() & b.keys())
    if not shared:
        return None
    gaps = np.array([b[key] - a[key] for key in shared], dtype=np.float64)
    mean = math.fsum(gaps.tolist()) / len(gaps)
    if len(gaps) < 2:
        return Difference(mean=mean, low=-math.inf, high=math.inf, p=1.0, n=1)
    sums = [counts @ gaps[:, None] for counts in resampled_counts(len(gaps), seed=seed)]
    interval = percentiles(np.concatenate(sums)[:, 0] / len(gaps))
    assert interval is not None
    return Difference(
        mean=mean, low=interval.low, high=interval.high, p=sign_flip(gaps, seed=seed), n=len(gaps)
    )


def mcnemar(only_a: int, only_b: int) -> float:
    """Two-sided exact p-value that the discordant pairs split evenly (McNemar 1947; binomial with 1/2).

    ``only_a`` instances were right for a alone, ``only_b`` for b alone.

    >>> mcnemar(1, 9)
    0.021484375
    """
    n, k = only_a + only_b, min(only_a, only_b)
    if n == 0:
        return 1.0
    if n <= 1000:
        tail = ways = 1
        for i in range(k):
            ways = ways * (n - i) // (i + 1)  # n over i + 1
            tail += ways
        return min(1.0, float(2 * tail / (1 << n)))
    logs = [math.lgamma(n + 1) - math.lgamma(i + 1) - math.lgamma(n - i + 1) for i in range(k + 1)]
    top = max(logs)
    return min(1.0, 2 * math.exp(top - n * math.log(2)) * math.fsum(math.exp(x - top) for x in logs))


def sign_flip(gaps: Floats, permutations: int = 10_000, seed: int = 0) -> float:
    """Two-sided p-value that the paired differences are symmetric about 0 (Fisher 1935, section 21).

    Exact where the differences are of one size (it is :func:`mcnemar` then) or few enough for all sign patterns; by
    random patterns, the observed one counted among them, up to 200 differences; beyond, and where no random pattern
    reaches the observed sum, by the normal distribution with the patterns' own variance.
    """
    known = np.abs(gaps[gaps != 0])
    n = len(known)
    if n == 0:
        return 1.0
    if known.max() - known.min() <= 1e-12 * known.max():
        return mcnemar(int(np.count_nonzero(gaps < 0)), int(np.count_nonzero(gaps > 0)))
    observed = abs(math.fsum(gaps))
    normal = math.erfc(observed / math.sqrt(2 * math.fsum(known**2)))
    if n > 200:
        return normal
    near = observed - 1e-12 * math.fsum(known)
    if n < 31 and 2**n <= permutations:
        patterns = ((np.arange(2**n)[:, None] >> np.arange(n)) & 1) * 2 - 1
        return int(np.count_nonzero(np.abs(patterns @ known) >= near)) / len(patterns)
    signs = np.random.default_rng(seed).integers(0, 2, size=(permutations, n), dtype=np.int8) * 2.0 - 1.0
    hits = int(np.count_nonzero(np.abs(signs @ known) >= near))
    return (hits + 1) / (permutations + 1) if hits else min(normal, 1 / (permutations + 1))


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values that keep the family-wise error (Holm 1979): step-down Bonferroni.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    adjusted = [0.0] * len(p_values)
    highest = 0.0
    for rank, i in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[i]))
        adjusted[i] = highest
    return adjusted


def tie_groups(
    scores: Mapping[str, Mapping[str, float]],
    *,
    higher_is_better: bool = True,
    alpha: float = 0.05,
    seed: int = 0,
) -> list[list[str]]:
    """Models in order, those that noise cannot tell apart in one group, which share a rank.

    ``scores`` are per model the values per instance. Every pair is tested by sign flips over the instances that both
    have, with Holm's correction over all pairs. Going down from the best, a model joins the group while it does not
    differ significantly from the group's first; so a group is 'not shown to be worse than its best'.
    """
    sign = -1.0 if higher_is_better else 1.0
    means = {name: math.fsum(v.values()) / len(v) for name, v in scores.items() if v}
    order = sorted(means, key=lambda name: (sign * means[name], name))
    pairs = [(a, b) for i, a in enumerate(order) for b in order[i + 1 :]]
    values = {name: _Values.of(scores[name]) for name in order}
    adjusted = dict(zip(pairs, holm([_pair_p(values[a], values[b], seed) for a, b in pairs]), strict=True))
    groups: list[list[str]] = []
    for name in order:
        if groups and adjusted[(groups[-1][0], name)] >= alpha:
            groups[-1].append(name)
        else:
            groups.append([name])
    return groups


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Values:
    """The values of a model in the order of its instances' ids."""

    ids: tuple[str, ...]
    values: Floats

    @classmethod
    def of(cls, scores: Mapping[str, float]) -> _Values:
        ids = tuple(sorted(scores))
        return cls(ids=ids, values=np.array([scores[key] for key in ids], dtype=np.float64))

    def among(self, ids: Sequence[str]) -> Floats:
        places = {key: place for place, key in enumerate(self.ids)}
        return self.values[[places[key] for key in ids]]


def _pair_p(a: _Values, b: _Values, seed: int) -> float:
    if a.ids == b.ids:
        gaps = a.values - b.values
    else:
        shared = sorted(set(a.ids).intersection(b.ids))
        gaps = a.among(shared) - b.among(shared)
    return sign_flip(gaps, seed=seed) if len(gaps) else 1.0


def win_rates(column: Mapping[str, float | None], *, higher_is_better: bool = True) -> dict[str, float]:
    """The probability that a model is better than another one drawn at random, for one column of a table; a tie counts
    one half. Models without a value are left out; {} below two values. HELM, ``compute_aggregate_row_win_rates``.

    >>> win_rates({"a": 0.5, "b": 0.7, "c": 0.7, "d": None})
    {'a': 0.0, 'b': 0.75, 'c': 0.75}
    """
    known = {name: value for name, value in column.items() if value is not None}
    if len(known) < 2:
        return {}
    values = sorted(known.values())
    others = len(values) - 1
    rates = {}
    for name, value in known.items():
        first, after = bisect_left(values, value), bisect_right(values, value)
        below = first if higher_is_better else len(values) - after
        rates[name] = (below + (after - first - 1) / 2) / others
    return rates


def mean_win_rates(
    columns: Mapping[str, Mapping[str, float | None]], higher_is_better: Mapping[str, bool]
) -> dict[str, float]:
    """The mean over columns of :func:`win_rates`, per model; ``columns`` are by name, then by model. A model that
    could be compared in no column is left out (HELM, 'mean win rate', Liang et al. 2022, section 8.1)."""
    won: dict[str, list[float]] = {}
    for name, column in columns.items():
        for model, rate in win_rates(column, higher_is_better=higher_is_better.get(name, True)).items():
            won.setdefault(model, []).append(rate)
    return {model: sum(rates) / len(rates) for model, rates in won.items()}
