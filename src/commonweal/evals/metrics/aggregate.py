"""From samples to stats: a table of numbers that grows sample by sample, and its means with their intervals.

Owns what is kept of a sample (its numbers and its place; no text), the grouping by split, perturbation and subset, the
worst case over perturbations, the intervals, and the reasons of what could not be measured. The arithmetic is in
:mod:`~commonweal.evals.metrics.cells`.

Invariants: a failed sample counts in :attr:`Table.failed` and in no mean; the result does not depend on the order in
which samples came; memory is 8 bytes a number.

A mean is HELM's: over the samples of each train trial, then over the trials. An interval is the bootstrap's, drawn by
instance, so that trials of one instance stay together. Where all values are equal it has no width, which says that
the bootstrap saw no variation, not that there is none.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Protocol, TypeGuard, cast, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from commonweal.evals.metrics.cells import (
    Cell,
    Entries,
    Index,
    Rows,
    additive_cells,
    mean_cells,
    set_cells,
    worst,
)
from commonweal.evals.metrics.definitions import find
from commonweal.evals.metrics.metric import Column, Family, Metric, SetMetric
from commonweal.evals.sample import Sample, Stat

Numbers = Mapping[str, float]
WORST = "worst"
_UNORDERED = frozenset({"general", "efficiency"})  # aspects in which no case is the worst one


@runtime_checkable
class Explains(Protocol):
    """A metric that can say why it could not measure a stat; ``columns`` are a set metric's, {} for another."""

    def reason(self, name: str, columns: Mapping[str, Column]) -> str: ...


def is_set_metric(metric: Metric | SetMetric) -> TypeGuard[SetMetric]:
    return hasattr(metric, "features")


def is_additive(metric: SetMetric) -> bool:
    """Whether :meth:`SetMetric.value` needs only the sum of each column, a missing number being 0. Such a metric sets
    ``additive = True`` and is given columns of one number, the sum; it may have any number of columns."""
    return bool(getattr(metric, "additive", False))


class Columns:
    """Numbers by name, one a row, NaN where a row has none."""

    def __init__(self) -> None:
        self._values: dict[str, array[float]] = {}

    def add(self, row: int, numbers: Numbers) -> None:
        for name, number in numbers.items():
            column = self._values.get(name)
            if column is None:
                column = self._values[name] = array("d")
            if len(column) < row:
                column.extend([math.nan] * (row - len(column)))
            column.append(number)

    def cut(self, rows: int) -> None:
        """Forget all rows from ``rows`` on."""
        for column in self._values.values():
            del column[rows:]

    def arrays(self, rows: int) -> dict[str, Column]:
        """Whole columns are not copied: nothing can be added while they are in use."""
        return {name: _filled(column, rows) for name, column in sorted(self._values.items())}


def _filled(column: array[float], rows: int) -> Column:
    if len(column) == rows:
        return np.frombuffer(column)
    made = np.full(rows, math.nan)
    made[: len(column)] = column
    return made


class Counts:
    """Numbers of an additive metric: only those that are there."""

    def __init__(self) -> None:
        self._names: dict[str, int] = {}
        self._row, self._name, self._value = array("l"), array("l"), array("d")

    def add(self, row: int, numbers: Numbers) -> None:
        for name, number in numbers.items():
            self._row.append(row)
            self._name.append(self._names.setdefault(name, len(self._names)))
            self._value.append(number)

    def cut(self, rows: int) -> None:
        """Forget all rows from ``rows`` on, and what was begun of an entry."""
        kept = len(self._value)
        while kept and self._row[kept - 1] >= rows:
            kept -= 1
        del self._row[kept:], self._name[kept:], self._value[kept:]

    def entries(self, cluster: NDArray[np.intp], trial: NDArray[np.intp]) -> Entries:
        return Entries(
            cluster=cluster,
            trial=trial,
            row=np.array(self._row, dtype=np.intp),
            name=np.array(self._name, dtype=np.intp),
            value=np.array(self._value, dtype=np.float64),
            names=tuple(self._names),
        )

    def arrays(self, rows: int) -> dict[str, Column]:
        """The sums."""
        sums = np.zeros(len(self._names))
        np.add.at(sums, np.array(self._name, dtype=np.intp), np.array(self._value))
        return {name: sums[i : i + 1] for name, i in self._names.items()}


class Table:
    """Takes samples, keeps their numbers, gives stats.

    ``made`` replaces what a family would make by itself (a metric with a price, another classifier), by family name.
    ``groups`` names sets of perturbations that are reported with a worst case of their own ("robustness",
    "fairness"), beside :data:`WORST`, which is over all of them.
    """

    def __init__(
        self,
        families: Sequence[Family],
        *,
        made: Mapping[str, Metric | SetMetric] | None = None,
        groups: Mapping[str, frozenset[str]] | None = None,
        seed: int = 0,
    ) -> None:
        self.families = tuple(families)
        metrics = {family.name: (made or {}).get(family.name) or family.make() for family in families}
        self._plain: dict[str, Metric] = {
            n: cast("Metric", m) for n, m in metrics.items() if not is_set_metric(m)
        }
        self._scores = tuple(metric.score for metric in self._plain.values())
        self._sets: dict[str, SetMetric] = {n: m for n, m in metrics.items() if is_set_metric(m)}
        self._definitions = {d.name: d for family in families for d in family.definitions}
        self._groups = dict(groups or {})
        self._seed = seed
        self._numbers = Columns()
        self._features: dict[str, Columns | Counts] = {
            name: Counts() if is_additive(metric) else Columns() for name, metric in self._sets.items()
        }
        self._ids: dict[str, int] = {}
        self._places: dict[tuple[str, str, str], int] = {}
        self._instance, self._place, self._trial = array("i"), array("i"), array("i")
        self.failed = 0

    @property
    def scored(self) -> int:
        """How many samples have numbers here."""
        return len(self._instance)

    def add(self, sample: Sample) -> Numbers:
        """Score a sample and keep its numbers, which are returned; {} for a failed one. Where a metric raises,
        nothing of the sample is kept."""
        if sample.failure is not None:
            self.failed += 1
            return {}
        numbers: dict[str, float] = {}
        for score in self._scores:
            numbers.update(score(sample))
        row = len(self._instance)
        try:
            self._numbers.add(row, numbers)
            for name, metric in self._sets.items():
                self._features[name].add(row, metric.features(sample))
        except BaseException:
            for kept in (self._numbers, *self._features.values()):
                kept.cut(row)
            raise
        instance = sample.instance
        place = (instance.split, instance.perturbation, instance.subset)
        self._instance.append(self._ids.setdefault(instance.id, len(self._ids)))
        self._place.append(self._places.setdefault(place, len(self._places)))
        self._trial.append(sample.trial)
        return numbers

    def stats(self) -> list[Stat]:
        """All stats, sorted by split, perturbation, subset and name; those that could not be measured have a reason."""
        if not self.scored:
            reason = "no sample was answered" if self.failed else "no samples"
            return [Stat(name=name, mean=None, n=0, reason=reason) for name in sorted(self._definitions)]
        cluster, trial = self._clusters(), np.array(self._trial, dtype=np.intp)
        made = [*self._means(cluster, trial), *self._set_values(cluster, trial)]
        made += self._missing(made)
        return sorted(made, key=lambda s: (s.split, s.perturbation, s.subset, s.name))

    def _means(self, cluster: Index, trial: Index) -> Iterator[Stat]:
        rows = Rows(cluster=cluster, trial=trial, columns=self._numbers.arrays(self.scored))
        directions = self._directions(rows.columns)
        parts = [(place, rows.take(inside)) for place, inside in self._parts()]
        for split, names, subset, inside in self._worst_parts():
            parts.append(((split, names, subset), worst(rows.take(inside), directions)))
        cells = mean_cells([part for _, part in parts], self._seed)
        for (place, _), found in zip(parts, cells, strict=True):
            yield from (_stat(name, cell, place) for name, cell in found.items())

    def _set_values(self, cluster: Index, trial: Index) -> Iterator[Stat]:
        for name, metric in self._sets.items():
            kept = self._features[name]
            cells: Callable[[NDArray[np.bool_]], dict[str, Cell]]
            if isinstance(kept, Counts):
                cells = partial(
                    additive_cells, kept.entries(cluster, trial), value=metric.value, seed=self._seed
                )
            else:
                cells = partial(
                    _set_cells,
                    Rows(cluster=cluster, trial=trial, columns=kept.arrays(self.scored)),
                    metric,
                    self._seed,
                )
            for place, inside in self._parts():
                yield from (_stat(stat, cell, place) for stat, cell in cells(inside).items())

    def _missing(self, made: Sequence[Stat]) -> Iterator[Stat]:
        """What the families define and no sample gave, for all instances of each split and perturbation."""
        have = {(stat.split, stat.perturbation, stat.name) for stat in made if not stat.subset}
        for split, perturbation in sorted({(split, name) for split, name, _ in self._places}):
            for family in self.families:
                for definition in family.definitions:
                    key = (split, perturbation, definition.name)
                    if key not in have:
                        have.add(key)
                        yield Stat(
                            name=definition.name,
                            mean=None,
                            n=0,
                            split=split,
                            perturbation=perturbation,
                            reason=self._reason(family, definition.name),
                        )

    def _reason(self, family: Family, name: str) -> str:
        metric = self._sets.get(family.name) or self._plain[family.name]
        columns: Mapping[str, Column] = {}
        if family.name in self._sets:
            columns = self._features[family.name].arrays(self.scored)
        said = metric.reason(name, columns) if isinstance(metric, Explains) else ""
        return said or "not defined for these samples"

    def _clusters(self) -> Index:
        """The instance of each row, by the place of its name among all."""
        rank = np.empty(len(self._ids), dtype=np.intp)
        rank[[self._ids[name] for name in sorted(self._ids)]] = np.arange(len(self._ids))
        return np.asarray(rank[np.array(self._instance)], dtype=np.intp)

    def _parts(self) -> Iterator[tuple[tuple[str, str, str], NDArray[np.bool_]]]:
        """The rows of every (split, perturbation, subset), and of every (split, perturbation) with subset ""."""
        place = np.array(self._place)
        whole: dict[tuple[str, str, str], list[int]] = {}
        for (split, perturbation, subset), number in self._places.items():
            whole.setdefault((split, perturbation, ""), []).append(number)
            if subset:
                whole[(split, perturbation, subset)] = [number]
        for key, numbers in sorted(whole.items()):
            yield key, np.isin(place, numbers)

    def _worst_parts(self) -> Iterator[tuple[str, str, str, NDArray[np.bool_]]]:
        """The rows that a worst case is over: the originals and the perturbed ones, of each group that has any."""
        inside = {(split, name, subset): rows for (split, name, subset), rows in self._parts()}
        everything = frozenset(name for _, name, _ in inside if name)
        for group, names in {**self._groups, WORST: everything}.items():
            for split, subset in sorted({(split, subset) for split, name, subset in inside if name in names}):
                rows = [found for key, found in inside.items() if _belongs(key, split, subset, names)]
                yield split, group, subset, np.logical_or.reduce(rows)

    def _directions(self, names: Mapping[str, Column]) -> dict[str, bool]:
        made = {}
        for name in names:
            definition = find(name, self._definitions)
            if definition is not None and definition.aspect not in _UNORDERED:
                made[name] = definition.higher_is_better
        return made


def _set_cells(rows: Rows, metric: SetMetric, seed: int, inside: NDArray[np.bool_]) -> dict[str, Cell]:
    return set_cells(rows.take(inside), metric.value, seed)


def _belongs(key: tuple[str, str, str], split: str, subset: str, names: frozenset[str]) -> bool:
    return key[0] == split and key[2] == subset and (not key[1] or key[1] in names)


def _stat(name: str, cell: Cell, place: tuple[str, str, str]) -> Stat:
    split, perturbation, subset = place
    interval = cell.interval
    return Stat(
        name=name,
        mean=cell.mean,
        n=cell.n,
        low=interval.low if interval else None,
        high=interval.high if interval else None,
        split=split,
        perturbation=perturbation,
        subset=subset,
    )
