"""What a run's tables hold of its samples, as pages need it: a light digest of all, and the details of a few.

Shows nothing. The digest (which instances there are, in which order, what came of each) is kept; of prompts and
answers only those of the instances asked for are turned into Python. Tables up to ``_KEPT`` bytes stay in memory as
Arrow while the run is looked at; larger ones are read again for each shard, or for ``_AT_ONCE`` of them where all are
gone through.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from commonweal.evals.columns import column
from commonweal.evals.metrics.registry import DEFINITIONS
from commonweal.evals.summary.runs import SavedRun
from commonweal.evals.tables import COLUMNS
from commonweal.web.site.tables import InOrder, distinct, is_small, of_text, read_table, values

if TYPE_CHECKING:
    import pyarrow as pa

SHARD = 50
"""Instances on a page of details."""

EXCERPT = 140
_KEPT = 200_000_000
_AT_ONCE = 20
_PARTS = re.compile(r"[0-9]+|[^0-9]+")

_TABLES: Mapping[str, Sequence[str]] = {
    "instances": ("id", "perturbation", "split", "subset", "input", "references", "images"),
    "samples": (
        "id",
        "perturbation",
        "trial",
        "output",
        "outputs",
        "probabilities",
        "annotations",
        "failure",
        "message",
    ),
    "requests": tuple(name for name in COLUMNS["requests"] if name not in ("kind", "model")),
    "scores": ("id", "perturbation", "trial", "name", "value"),
}
"""What pages show of each table."""

Rows = list[dict[str, Any]]

Outcome = Literal["right", "wrong", "partly", "failed", "measured", "unscored"]
"""Of one sample by the main metric: right and wrong are the best and the worst value of a metric between 0 and 1,
partly lies between, measured is a number of another scale, unscored has none of its own."""


@dataclass(
    slots=True, kw_only=True
)  # not frozen, as a site has millions of them: that takes three times as long
class Brief:
    """One sample in a line. ``shard`` is the page that has its details."""

    id: str
    perturbation: str
    trial: int
    outcome: Outcome
    value: float | None
    input: str
    output: str
    shard: int
    failure: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Digest:
    """All samples of a run: by instance in natural order of ids, the original first, then by trial."""

    ids: Sequence[str]
    briefs: Sequence[Brief]
    perturbations: Sequence[str]
    shard_of: Mapping[str, int]

    @property
    def shards(self) -> int:
        return -(-len(self.ids) // SHARD)

    @property
    def originals(self) -> list[Brief]:
        return [brief for brief in self.briefs if not brief.perturbation]


class Numbers(NamedTuple):
    """Of one sample, by their names."""

    perturbation: str
    trial: int
    names: tuple[str, ...]
    values: Sequence[float]


@dataclass(
    slots=True, kw_only=True
)  # not frozen, as a site has millions of them: that takes three times as long
class Detail:
    """All that is known of one instance: its rows in each table, over perturbations and trials; the numbers of each
    sample together. A reference is a text, whether it is correct, and its grade."""

    id: str
    instances: Rows = field(default_factory=list)
    samples: Rows = field(default_factory=list)
    requests: Rows = field(default_factory=list)
    scores: list[Numbers] = field(default_factory=list)


class RunSamples:
    """The samples of one run, read as they are needed. Raises DataError where a table cannot be read."""

    def __init__(self, run: SavedRun) -> None:
        self.run = run
        self._tables: dict[str, pa.Table] = {}
        self._ordered: dict[str, InOrder] = {}
        self._small: dict[str, bool] = {}

    @property
    def weight(self) -> int:
        """How many samples' lines are held."""
        return len(self.digest.briefs) if "digest" in self.__dict__ else 0

    def let_go(self) -> None:
        """Keep the digest, and read tables again if they are asked for."""
        self._tables, self._ordered = {}, {}

    @cached_property
    def present(self) -> bool:
        """Whether there are tables to read: an unfinished run has none yet."""
        return not getattr(self.run, "damage", "") and all(
            (self.run.folder / f"{name}.parquet").exists() for name in _TABLES
        )

    @cached_property
    def values(self) -> Mapping[tuple[str, str, int], float]:
        """The main metric of each sample."""
        if not self.present:
            return {}
        table = of_text(self._columns("scores", _TABLES["scores"]), "name", self.run.main_metric)
        keys = zip(*(values(table[part]) for part in ("id", "perturbation", "trial")), strict=True)
        return dict(zip(keys, values(table["value"]), strict=True))

    @cached_property
    def digest(self) -> Digest:
        if not self.present:
            return Digest(ids=(), briefs=(), perturbations=(), shard_of={})
        names = ["id", "perturbation", "trial", "output", "failure"]
        table = shortened(self._columns("samples", names), "output")
        ids = sorted(distinct(table["id"]), key=natural)
        places = {key: number for number, key in enumerate(ids)}
        _, parts = InOrder(table, places).between(0, len(ids))
        inputs, numbers, metric = self._inputs(), self.values, self.run.main_metric
        briefs = []
        for key, perturbation, trial, output, failure in zip(*parts, strict=True):
            value = numbers.get((key, perturbation, trial))
            briefs.append(
                Brief(
                    id=key,
                    perturbation=perturbation,
                    trial=trial,
                    outcome="failed" if failure else outcome(metric, value),
                    value=value,
                    input=inputs.get((key, perturbation), ""),
                    output=output or "",
                    shard=places[key] // SHARD + 1,
                    failure=failure or "",
                )
            )
        if len(briefs) > len(ids):
            briefs.sort(key=lambda one: (places[one.id], one.perturbation, one.trial))
        return Digest(
            ids=ids,
            briefs=briefs,
            perturbations=sorted(set(parts[1]) - {""}),
            shard_of={key: number // SHARD + 1 for key, number in places.items()},
        )

    def _inputs(self) -> dict[tuple[str, str], str]:
        names = ["id", "perturbation", "input"]
        table = shortened(self._columns("instances", names), "input")
        told = zip(*(values(table[name]) for name in names), strict=True)
        return {(key, perturbation): _one(text or "") for key, perturbation, text in told}

    @cached_property
    def by_shard(self) -> Mapping[int, Sequence[Brief]]:
        """The samples of each page of details."""
        found: dict[int, list[Brief]] = {}
        for brief in self.digest.briefs:
            found.setdefault(brief.shard, []).append(brief)
        return found

    @cached_property
    def next_wrong(self) -> Mapping[str, Brief]:
        """For each instance the next one after it whose original was not right."""
        found: dict[str, Brief] = {}
        wrong: Brief | None = None
        for brief in reversed(self.digest.originals):
            if wrong is not None and wrong.id != brief.id:
                found.setdefault(brief.id, wrong)
            if brief.outcome in ("wrong", "partly", "failed"):
                wrong = brief
        return found

    def shards(self) -> Iterator[tuple[int, Sequence[Detail]]]:
        """The details of every page, by its number. Rows are turned into Python for some pages at once."""
        for first in range(0, len(self.digest.ids), SHARD * _AT_ONCE):
            found = self._details(first, first + SHARD * _AT_ONCE)
            for start in range(0, len(found), SHARD):
                yield (first + start) // SHARD + 1, found[start : start + SHARD]

    def shard(self, number: int) -> Sequence[Detail]:
        """The details of one page."""
        return self._details((number - 1) * SHARD, number * SHARD)

    def _details(self, first: int, last: int) -> list[Detail]:
        """Everything about the instances from one place to another, in order."""
        found = [Detail(id=key) for key in self.digest.ids[first:last]]
        for name, columns in _TABLES.items():
            lists: list[list[Any]] = [getattr(one, name) for one in found]
            places, parts = self._in_order(name, first, first + len(found)).between(first, first + len(found))
            if name == "scores":
                for place, numbers in _by_sample(places, *parts[1:]):
                    lists[place - first].append(numbers)
            else:
                for place, row in zip(places, zip(*parts, strict=True), strict=True):
                    lists[place - first].append(dict(zip(columns, row, strict=True)))
        for one in found:
            if len(one.samples) > 1:
                one.instances.sort(key=lambda row: row["perturbation"])
                one.samples.sort(key=lambda row: (row["perturbation"], row["trial"]))
        return found

    def _in_order(self, name: str, first: int, last: int) -> InOrder:
        import pyarrow as pa
        import pyarrow.compute as pc

        ids = self.digest.ids
        if not self._kept(name):
            wanted = column(list(ids[first:last]), pa.string())
            table = read_table(self.run.folder, name, _TABLES[name], pc.field("id").isin(wanted))
            return InOrder(table, {key: first + i for i, key in enumerate(ids[first:last])})
        if name not in self._ordered:
            places = {key: place for place, key in enumerate(ids)}
            self._ordered[name] = InOrder(self._columns(name, _TABLES[name]), places)
        return self._ordered[name]

    def _columns(self, name: str, columns: Sequence[str]) -> pa.Table:
        """Some columns of a table, which stays in memory whole where it is not large."""
        if not self._kept(name):
            return read_table(self.run.folder, name, columns)
        if name not in self._tables:
            self._tables[name] = read_table(self.run.folder, name, _TABLES[name])
        return self._tables[name].select(columns)

    def _kept(self, name: str) -> bool:
        if name not in self._small:
            self._small[name] = is_small(self.run.folder, name, _KEPT)
        return self._small[name]


def _by_sample(
    places: Sequence[int],
    perturbations: Sequence[str],
    trials: Sequence[int],
    names: Sequence[str],
    numbers: Sequence[float],
) -> Iterator[tuple[int, Numbers]]:
    """The numbers of each sample of some rows of scores, in which those of a sample stand together."""
    start, count = 0, len(places)
    while start < count:
        place, perturbation, trial = places[start], perturbations[start], trials[start]
        end = start + 1
        while (
            end < count
            and places[end] == place
            and perturbations[end] == perturbation
            and trials[end] == trial
        ):
            end += 1
        yield place, Numbers(perturbation, trial, tuple(names[start:end]), numbers[start:end])
        start = end


@lru_cache(maxsize=4096)
def outcome(metric: str, value: float | None) -> Outcome:
    """
    >>> outcome("exact_match", 1.0), outcome("f1_score", 0.4), outcome("toxic_frac", 1.0), outcome("x", None)
    ('right', 'partly', 'wrong', 'unscored')
    """
    if value is None:
        return "unscored"
    definition = DEFINITIONS.get(metric) or DEFINITIONS.get(metric.partition("@")[0])
    if not 0 <= value <= 1 or (definition is not None and definition.unit):
        return "measured"
    best = 1.0 if definition is None or definition.higher_is_better else 0.0
    return "right" if value == best else "wrong" if value == 1 - best else "partly"


@lru_cache(maxsize=16_384)
def _one(text: str) -> str:
    """The same object for equal texts: all models of a scenario have the same inputs."""
    return text


@lru_cache(maxsize=65_536)
def natural(text: str) -> tuple[tuple[int, int, str], ...]:
    """A key by which ``id9`` comes before ``id10``."""
    parts = _PARTS.findall(text)
    return tuple(
        (0, int(part), part) if part.isascii() and part.isdigit() else (1, 0, part) for part in parts
    )


def shortened(table: pa.Table, name: str) -> pa.Table:
    """The table with only the beginning of each text in a column."""
    import pyarrow.compute as pc

    place = table.schema.get_field_index(name)
    return table.set_column(place, name, pc.utf8_slice_codeunits(table[name], 0, EXCERPT))
