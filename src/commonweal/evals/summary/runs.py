"""Finished runs as a board reads them: found below folders, the newest of each model and scenario.

Reads ``run.json`` and ``stats.parquet`` at once and ``scores.parquet`` only when it is asked for. Asks nothing,
writes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from commonweal.core.errors import DataError, NotFound
from commonweal.evals.measuring import read_measured
from commonweal.evals.run_folder import RUN
from commonweal.evals.sample import Stat
from commonweal.evals.tables import read_rows


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedRun:
    """A run folder, read. ``name`` is the scenario with its arguments, ``scenario`` without."""

    folder: Path
    run: Mapping[str, Any]
    stats: Sequence[Stat]

    @property
    def name(self) -> str:
        return str(self.run["name"])

    @property
    def scenario(self) -> str:
        return str(self.run["spec"]["scenario"])

    @property
    def model(self) -> str:
        return str(self.run["spec"]["model"])

    @property
    def main_metric(self) -> str:
        return str(self.run["spec"]["main_metric"])

    def stat(self, name: str, *, perturbation: str = "") -> Stat | None:
        """The stat over all subsets of what the run reports on."""
        found = [s for s in self.stats if (s.name, s.perturbation, s.subset) == (name, perturbation, "")]
        return next((s for s in found if s.split == "test"), found[0] if found else None)

    @property
    def reason(self) -> str:
        """Why there is no number of the main metric, "" where there is one."""
        stat = self.stat(self.main_metric)
        if stat is not None and stat.mean is not None:
            return ""
        if stat is not None and stat.reason:
            return stat.reason
        status = str(self.run.get("status", "unfinished"))
        none = (
            f"there is no {self.main_metric} among its numbers"
            if status == "done"
            else f"the run is {status}"
        )
        return str(self.run.get("reason") or none)

    def scores(self, metric: str) -> dict[str, float]:
        """The metric of each original instance of the stat's split, by id: the mean over its trials. Raises
        DataError."""
        stat = self.stat(metric)
        sums: dict[str, tuple[float, int]] = {}
        for row in read_rows(self.folder, "scores"):
            if (
                row["name"] == metric
                and not row["perturbation"]
                and (stat is None or row["split"] == stat.split)
            ):
                total, count = sums.get(row["id"], (0.0, 0))
                sums[row["id"]] = (total + row["value"], count + 1)
        return {key: total / count for key, (total, count) in sums.items()}


def find_runs(paths: Iterable[Path]) -> list[SavedRun]:
    """All runs below ``paths``, by model and name; of two of the same, the one that was updated last among those that
    have numbers.

    Raises NotFound where there is none, DataError where one cannot be read.
    """
    newest: dict[tuple[str, str], SavedRun] = {}
    searched = list(paths)
    for found in all_runs(searched):
        key = (found.model, found.name)
        before = newest.get(key)
        if before is None or _age(before) <= _age(found):
            newest[key] = found
    if not newest:
        where = ", ".join(map(str, searched))
        raise NotFound(
            f"{where}: no runs there", hint="make some: commonweal eval --model mock --suite offline"
        )
    return [newest[key] for key in sorted(newest)]


def all_runs(paths: Iterable[Path]) -> Iterator[SavedRun]:
    """Every run below ``paths``, also several of one model and name. Raises NotFound for a path that is no folder,
    DataError where a run cannot be read."""
    for folder in _folders(paths):
        measured = read_measured(folder)
        found = SavedRun(folder=folder, run=measured.run, stats=measured.stats)
        try:
            _ = found.model, found.name
        except KeyError as error:
            raise DataError(
                f"{folder / RUN}: no {error} in it", hint="it was not written by commonweal"
            ) from None
        yield found


def _age(run: SavedRun) -> tuple[bool, str]:
    return bool(run.stats), str(run.run.get("updated", ""))


def _folders(paths: Iterable[Path]) -> Iterator[Path]:
    for path in paths:
        if not path.is_dir():
            raise NotFound(f"{path}: no such folder")
        yield from sorted(file.parent for file in path.rglob(RUN))
