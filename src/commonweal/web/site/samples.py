"""What a run's tables hold of its samples, as pages need it: a light digest of all, and the details of a few.

Reads Parquet, shows nothing. The digest (which instances there are, in which order, what came of each) is kept; of
prompts and answers only those of the instances asked for are turned into Python. Tables up to ``_KEPT`` bytes stay in
memory as Arrow while the run is looked at; larger ones are read again for each shard.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from commonweal.core.errors import DataError
from commonweal.evals.columns import column
from commonweal.evals.metrics.registry import DEFINITIONS
from commonweal.evals.summary.runs import SavedRun

if TYPE_CHECKING:
    import pyarrow as pa

SHARD = 50
"""Instances on a page of details."""

EXCERPT = 140
_KEPT = 200_000_000
_TABLES = ("instances", "samples", "requests", "scores")

Outcome = Literal["right", "wrong", "partly", "failed", "measured", "unscored"]
"""Of one sample by the main metric: right and wrong are the best and the worst value of a metric between 0 and 1,
partly lies between, measured is a number of another scale, unscored has none of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
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


Rows = list[dict[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Detail:
    """All that is known of one instance: its rows in each table, over perturbations and trials."""

    id: str
    instances: Rows = field(default_factory=list)
    samples: Rows = field(default_factory=list)
    requests: Rows = field(default_factory=list)
    scores: Rows = field(default_factory=list)


class RunSamples:
    """The samples of one run, read as they are needed. Raises DataError where a table cannot be read."""

    def __init__(self, run: SavedRun) -> None:
        self.run = run
        self._tables: dict[str, pa.Table] = {}

    @cached_property
    def present(self) -> bool:
        """Whether there are tables: an unfinished run has none yet."""
        return all((self.run.folder / f"{name}.parquet").exists() for name in _TABLES)

    @cached_property
    def values(self) -> Mapping[tuple[str, str, int], float]:
        """The main metric of each sample."""
        if not self.present:
            return {}
        name = self.run.main_metric
        table = read_table(
            self.run.folder, "scores", ["id", "perturbation", "trial", "value"], [("name", "=", name)]
        )
        keys = zip(*(table[part].to_pylist() for part in ("id", "perturbation", "trial")), strict=True)
        return dict(zip(keys, table["value"].to_pylist(), strict=True))

    @cached_property
    def digest(self) -> Digest:
        if not self.present:
            return Digest(ids=(), briefs=(), perturbations=(), shard_of={})
        rows = self._brief_rows()
        inputs = self._inputs()
        ids = sorted({row["id"] for row in rows}, key=natural)
        shard_of = {key: number // SHARD + 1 for number, key in enumerate(ids)}
        rows.sort(key=lambda row: (natural(row["id"]), row["perturbation"], row["trial"]))
        briefs = [self._brief(row, inputs, shard_of) for row in rows]
        perturbations = sorted({row["perturbation"] for row in rows} - {""})
        return Digest(ids=ids, briefs=briefs, perturbations=perturbations, shard_of=shard_of)

    def _brief_rows(self) -> Rows:
        names = ["id", "perturbation", "trial", "output", "failure"]
        rows: Rows = shortened(read_table(self.run.folder, "samples", names), "output").to_pylist()
        return rows

    def _inputs(self) -> dict[tuple[str, str], str]:
        table = shortened(read_table(self.run.folder, "instances", ["id", "perturbation", "input"]), "input")
        return {
            (key, perturbation): text or ""
            for key, perturbation, text in zip(
                *(table[name].to_pylist() for name in ("id", "perturbation", "input")), strict=True
            )
        }

    def _brief(
        self, row: Mapping[str, Any], inputs: Mapping[tuple[str, str], str], shards: Mapping[str, int]
    ) -> Brief:
        value = self.values.get((row["id"], row["perturbation"], row["trial"]))
        return Brief(
            id=row["id"],
            perturbation=row["perturbation"],
            trial=row["trial"],
            outcome="failed" if row["failure"] else outcome(self.run.main_metric, value),
            value=value,
            input=inputs.get((row["id"], row["perturbation"]), ""),
            output=row["output"] or "",
            shard=shards[row["id"]],
            failure=row["failure"] or "",
        )

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

    def details(self, ids: Sequence[str]) -> list[Detail]:
        """Everything about these instances, in this order."""
        found = {key: Detail(id=key) for key in ids}
        for name in _TABLES:
            for row in self._rows_of(name, ids):
                getattr(found[row["id"]], name).append(row)
        for one in found.values():
            one.instances.sort(key=lambda row: row["perturbation"])
            one.samples.sort(key=lambda row: (row["perturbation"], row["trial"]))
        return list(found.values())

    def _rows_of(self, name: str, ids: Sequence[str]) -> Rows:
        import pyarrow as pa
        import pyarrow.compute as pc

        wanted = column(list(ids), pa.string())
        if name in self._tables or _size(self.run.folder, name) <= _KEPT:
            if name not in self._tables:
                self._tables[name] = read_table(self.run.folder, name, None)
            table = self._tables[name]
            rows: Rows = table.filter(pc.is_in(table["id"], value_set=wanted)).to_pylist()
            return rows
        large: Rows = read_table(self.run.folder, name, None, pc.field("id").isin(wanted)).to_pylist()
        return large


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


def natural(text: str) -> tuple[tuple[int, int, str], ...]:
    """A key by which ``id9`` comes before ``id10``."""
    parts = re.findall(r"[0-9]+|[^0-9]+", text)
    return tuple(
        (0, int(part), part) if part.isascii() and part.isdigit() else (1, 0, part) for part in parts
    )


def shortened(table: pa.Table, name: str) -> pa.Table:
    """The table with only the beginning of each text in a column."""
    import pyarrow.compute as pc

    place = table.schema.get_field_index(name)
    return table.set_column(place, name, pc.utf8_slice_codeunits(table[name], 0, EXCERPT))


def read_table(folder: Path, name: str, columns: Sequence[str] | None, filters: Any = None) -> pa.Table:
    """A table of a run, or some of its columns and rows. Raises DataError."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = folder / f"{name}.parquet"
    try:
        return pq.read_table(path, columns=columns, filters=filters, partitioning=None)
    except FileNotFoundError:
        raise DataError(f"{path}: no such file", hint="the run is not finished: resume it") from None
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError) as error:
        raise DataError(f"{path}: not a table that can be read: {error}") from None


def _size(folder: Path, name: str) -> int:
    import pyarrow.parquet as pq

    try:
        told = pq.read_metadata(folder / f"{name}.parquet")
    except Exception:  # whoever reads the table says what is wrong with it
        return 0
    return sum(told.row_group(i).total_byte_size for i in range(told.num_row_groups))
