"""The arithmetic of a table: means, worst cases and intervals of columns of numbers. Pure; knows no sample.

Rows are samples. Each has a cluster (its instance), a trial, and a number in each column, NaN where it has none.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from commonweal.evals.metrics.metric import Column
from commonweal.evals.statistics import Interval, bootstrap_ratios, distinct, percentiles, resampled_counts

Index = NDArray[np.intp]
Value = Callable[[Mapping[str, Column]], Mapping[str, float]]

SET_RESAMPLES = 200
_ROWS_DRAWN = 5_000_000  # rows of all resamples of a set metric together: a larger set is drawn fewer times


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """Samples that are reported together: ``cluster`` ranks their instances by name, so order does not matter."""

    cluster: Index
    trial: Index
    columns: Mapping[str, Column]

    def take(self, index: NDArray[np.intp] | NDArray[np.bool_]) -> Rows:
        if index.dtype == np.bool_ and index.all():
            return self
        return Rows(
            cluster=self.cluster[index],
            trial=self.trial[index],
            columns={name: column[index] for name, column in self.columns.items()},
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """A number with its interval; ``n`` samples have it."""

    mean: float
    n: int
    interval: Interval | None


def mean_cells(blocks: Sequence[Rows], seed: int) -> list[dict[str, Cell]]:
    """The cells of every column of every block. Blocks with the same instances are drawn together."""
    alike: dict[bytes, list[int]] = {}
    clusters = [distinct(block.cluster) for block in blocks]
    for i, (names, _) in enumerate(clusters):
        alike.setdefault(names.tobytes(), []).append(i)
    made: list[dict[str, Cell]] = [{} for _ in blocks]
    for members in alike.values():
        totals = [_Totals.of(blocks[i], clusters[i][1], len(clusters[i][0])) for i in members]
        for i, cells in zip(members, _drawn(totals, seed), strict=True):
            made[i] = cells
    return made


@dataclass(frozen=True, slots=True)
class _Totals:
    """Per cluster, and per (trial, column): the sum of the numbers, a row of ``sums``, and how many there are, the
    ``sizes`` at that row's place of ``which``: most columns have the same."""

    names: tuple[str, ...]
    means: tuple[float, ...]
    counts: tuple[int, ...]
    sums: Column
    sizes: tuple[Column, ...]
    which: tuple[int, ...]
    trials: int

    @classmethod
    def of(cls, rows: Rows, cluster: Index, size: int) -> _Totals:
        columns = {name: column for name, column in rows.columns.items() if not np.isnan(column).all()}
        trials = [rows.trial == trial for trial in np.flatnonzero(np.bincount(rows.trial))]
        sums = np.empty((len(trials) * len(columns), size))
        sizes: dict[bytes, int] = {}
        which = []
        for place, (inside, column) in enumerate(product(trials, columns.values())):
            known = inside & ~np.isnan(column)
            index = cluster[known]
            sums[place] = np.bincount(index, weights=column[known], minlength=size)
            counted = np.bincount(index, minlength=size).astype(np.float64)
            which.append(sizes.setdefault(counted.tobytes(), len(sizes)))
        return cls(
            names=tuple(columns),
            means=tuple(_mean_of_trials(column, trials) for column in columns.values()),
            counts=tuple(int(np.count_nonzero(~np.isnan(column))) for column in columns.values()),
            sums=sums,
            sizes=tuple(np.frombuffer(key) for key in sizes),
            which=tuple(which),
            trials=len(trials),
        )


def _mean_of_trials(column: Column, trials: Sequence[NDArray[np.bool_]]) -> float:
    """fsum is exact, so the order of samples does not show even in the last digit."""
    means = []
    for inside in trials:
        known = column[inside]
        known = known[~np.isnan(known)]
        if known.size:
            means.append(math.fsum(known.tolist()) / known.size)
    return math.fsum(means) / len(means)


def _drawn(totals: Sequence[_Totals], seed: int) -> list[dict[str, Cell]]:
    intervals: Sequence[Sequence[Interval | None]]
    if totals[0].sums.shape[1] < 2 or not any(total.names for total in totals):
        intervals = [[None] * len(total.names) for total in totals]
    else:
        values = _values(totals, seed)
        edges = np.cumsum([len(total.sums) for total in totals])[:-1]
        intervals = [
            _intervals(part, total) for part, total in zip(np.hsplit(values, edges), totals, strict=True)
        ]
    return [
        {
            name: Cell(mean=mean, n=n, interval=interval)
            for name, mean, n, interval in zip(total.names, total.means, total.counts, found, strict=True)
        }
        for total, found in zip(totals, intervals, strict=True)
    ]


def _values(totals: Sequence[_Totals], seed: int) -> Column:
    """Bootstrap values: (resamples, all rows of sums)."""
    sums = totals[0].sums.T if len(totals) == 1 else np.hstack([total.sums.T for total in totals])
    sizes: dict[bytes, int] = {}
    which = [
        sizes.setdefault(total.sizes[place].tobytes(), len(sizes))
        for total in totals
        for place in total.which
    ]
    return bootstrap_ratios(sums, [np.frombuffer(key) for key in sizes], which, seed=seed)


def _intervals(values: Column, total: _Totals) -> list[Interval | None]:
    by_trial = values.reshape(len(values), total.trials, len(total.names))
    known = ~np.isnan(by_trial)
    with np.errstate(invalid="ignore", divide="ignore"):
        means = np.where(known, by_trial, 0.0).sum(axis=1) / known.sum(axis=1)
    return [percentiles(means[:, i]) for i in range(len(total.names))]


def worst(rows: Rows, higher_is_better: Mapping[str, bool]) -> Rows:
    """One row an (instance, trial): the worst number of each column over its perturbations, the original among them;
    columns that ``higher_is_better`` does not name are left out. Liang et al. 2022, section 4.5."""
    order = np.lexsort((rows.trial, rows.cluster))
    cluster, trial = rows.cluster[order], rows.trial[order]
    first = np.ones(len(order), dtype=bool)
    first[1:] = (cluster[1:] != cluster[:-1]) | (trial[1:] != trial[:-1])
    starts = np.flatnonzero(first)
    columns = {}
    for name, column in rows.columns.items():
        if name in higher_is_better:
            lowest = np.fmin if higher_is_better[name] else np.fmax
            columns[name] = lowest.reduceat(column[order], starts)
    return Rows(cluster=cluster[starts], trial=trial[starts], columns=columns)


def set_cells(rows: Rows, value: Value, seed: int) -> dict[str, Cell]:
    """The cells of a set metric: its value in each trial, averaged, and in resamples drawn by instance. Samples without
    any of its features are left out."""
    known = np.zeros(len(rows.cluster), dtype=bool)
    for column in rows.columns.values():
        known |= ~np.isnan(column)
    if not known.any():
        return {}
    rows = rows.take(known)
    rows = rows.take(np.lexsort((rows.trial, rows.cluster)))
    whole = _value_of_trials(rows, value)
    if not whole:
        return {}
    _, cluster = distinct(rows.cluster)
    places = np.arange(len(cluster))
    clusters = int(cluster.max()) + 1
    drawn: dict[str, list[float]] = {name: [] for name in whole}
    resamples = max(50, min(SET_RESAMPLES, _ROWS_DRAWN // len(cluster)))
    for counts in resampled_counts(clusters, resamples, seed) if clusters > 1 else ():
        for count in counts:
            again = rows.take(np.repeat(places, count[cluster].astype(np.intp)))
            for name, number in _value_of_trials(again, value).items():
                if name in drawn:
                    drawn[name].append(number)
    n = len(cluster)
    return {
        name: Cell(mean=number, n=n, interval=percentiles(np.array(drawn[name])))
        for name, number in whole.items()
    }


def _value_of_trials(rows: Rows, value: Value) -> dict[str, float]:
    found: dict[str, list[float]] = {}
    for columns in _by_trial(rows):
        for name, number in value(columns).items():
            if not math.isnan(number):
                found.setdefault(name, []).append(number)
    return {name: sum(numbers) / len(numbers) for name, numbers in found.items()}


def _by_trial(rows: Rows) -> Iterator[Mapping[str, Column]]:
    """The columns of each trial."""
    trials = np.flatnonzero(np.bincount(rows.trial))
    if len(trials) == 1:
        yield rows.columns
        return
    for trial in trials:
        inside = rows.trial == trial
        yield {name: column[inside] for name, column in rows.columns.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Entries:
    """What an additive set metric knows of samples: entry i is the number ``value[i]`` of the sample ``row[i]`` under
    ``names[name[i]]``. Thousands of names, of which a sample has a few, take no more memory than what is there."""

    cluster: Index
    trial: Index
    row: Index
    name: Index
    value: Column
    names: tuple[str, ...]


def additive_cells(entries: Entries, inside: NDArray[np.bool_], value: Value, seed: int) -> dict[str, Cell]:
    """:func:`set_cells` for a metric that needs only the sums of its columns: a resample is a weighted sum."""
    kept = inside[entries.row]
    row, name, number = entries.row[kept], entries.name[kept], entries.value[kept]
    _, rank = distinct(entries.cluster[inside])
    cluster = np.zeros(len(inside), dtype=np.intp)
    cluster[inside] = rank
    cluster, trial = cluster[row], entries.trial[row]
    trials = [(trial == t, np.unique(name[trial == t])) for t in np.unique(trial)]

    def valued(weights: Column) -> dict[str, float]:
        found: dict[str, list[float]] = {}
        for of_trial, present in trials:
            sums = np.zeros(len(entries.names))
            np.add.at(sums, name[of_trial], weights[of_trial])
            columns = {entries.names[i]: sums[i : i + 1] for i in present}
            for stat, result in value(columns).items():
                found.setdefault(stat, []).append(result)
        return {stat: sum(results) / len(results) for stat, results in found.items()}

    whole = valued(number)
    drawn: dict[str, list[float]] = {stat: [] for stat in whole}
    clusters = int(rank.max()) + 1 if len(rank) else 0
    for counts in resampled_counts(clusters, SET_RESAMPLES, seed) if clusters > 1 and whole else ():
        for count in counts:
            for stat, result in valued(number * count[cluster]).items():
                if stat in drawn:
                    drawn[stat].append(result)
    n = len(np.unique(row))
    return {
        stat: Cell(mean=result, n=n, interval=percentiles(np.array(drawn[stat])))
        for stat, result in whole.items()
    }
