"""What a site is made from: the runs below some folders, the boards of them, and what is read of each run.

Owns what pages share, so that it is read once: the all-board with its tie groups, the runs by their places, the digest
of a few runs. A site is a snapshot; :func:`load` makes a new one when the runs have changed. Only what a hub says of
its models (``catalogue``, None without one) is asked anew for every page.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from threading import RLock
from typing import TYPE_CHECKING, Any

from commonweal.core.errors import NotFound
from commonweal.evals.run_folder import RUN, read_json
from commonweal.evals.scenarios.registry import SUITES
from commonweal.evals.statistics import mean_win_rates
from commonweal.evals.summary.board import Board, make_board
from commonweal.evals.summary.release import INDEX
from commonweal.evals.summary.runs import SavedRun, find_runs
from commonweal.web.site.addresses import slug
from commonweal.web.site.samples import RunSamples, read_table

if TYPE_CHECKING:  # a site without a hub needs nothing of a hub's
    from commonweal.web.site.catalogue import Catalogue
    from commonweal.web.site.label import Labels

_AT_HAND = 3
_ALL_PAIRS = 12
_NEIGHBOURS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredRun(SavedRun):
    """A run whose scores are read by columns: many times as quick, and the same."""

    def scores(self, metric: str) -> dict[str, float]:
        stat = self.stat(metric)
        table = read_table(
            self.folder,
            "scores",
            ["id", "split", "value"],
            [("name", "=", metric), ("perturbation", "=", "")],
        )
        sums: dict[str, tuple[float, int]] = {}
        parts = (table[name].to_pylist() for name in ("id", "split", "value"))
        for key, split, value in zip(*parts, strict=True):
            if stat is None or split == stat.split:
                total, count = sums.get(key, (0.0, 0))
                sums[key] = (total + value, count + 1)
        return {key: total / count for key, (total, count) in sums.items()}


class Site:
    """The runs and what is made of them. Safe to be read by several threads."""

    def __init__(
        self,
        runs: Sequence[SavedRun],
        releases: Sequence[Mapping[str, Any]] = (),
        catalogue: Catalogue | None = None,
        labels: Labels | None = None,
    ) -> None:
        self.catalogue, self.labels = catalogue, labels
        self.runs = [ScoredRun(folder=run.folder, run=run.run, stats=run.stats) for run in runs]
        self.releases = releases
        self._at_hand: OrderedDict[tuple[str, str], RunSamples] = OrderedDict()
        self._lock = RLock()
        self.by_place = {(run.model, run.name): run for run in self.runs}
        self.run_slugs = {(slug(run.model), slug(run.name)): run for run in self.runs}
        self.model_slugs = {slug(run.model): run.model for run in self.runs}
        self.scenario_slugs = {slug(run.scenario): run.scenario for run in self.runs}
        self.name_slugs = {slug(run.name): run.name for run in self.runs}

    @cached_property
    def board(self) -> Board:
        """Of all runs."""
        return make_board(self.runs, SUITES)

    @cached_property
    def groups(self) -> Mapping[str, Sequence[str]]:
        """Scenarios by group, all first: the suites and tags that some, but not all, of the scenarios are in."""
        scenarios = [column.scenario for column in self.board.columns]
        found: dict[str, Sequence[str]] = {"all": scenarios}
        tags = {run.scenario: run.run["scenario"].get("tags", ()) for run in self.runs}
        for name, entries in SUITES.items():
            members = {entry.partition(":")[0] for entry in entries}
            found[name] = [one for one in scenarios if one in members]
        for tag in sorted({tag for told in tags.values() for tag in told} - SUITES.keys()):
            found[tag] = [one for one in scenarios if tag in tags[one]]
        return {name: told for name, told in found.items() if name == "all" or 0 < len(told) < len(scenarios)}

    def group_board(self, group: str) -> Board:
        """The board of some of the scenarios: the same cells, with win rates and coverage among these."""
        if group == "all":
            return self.board
        members = self.groups[group]
        whole = self.board
        columns = [column for column in whole.columns if column.scenario in members]
        there = {run.model for run in self.runs if run.scenario in members}
        cells = {m: {c.scenario: whole.cells[m][c.scenario] for c in columns} for m in there}
        means = {c.scenario: {m: cells[m][c.scenario].mean for m in there} for c in columns}
        won = mean_win_rates(means, {c.scenario: c.higher_is_better for c in columns})
        covered = {m: sum(cell.mean is not None for cell in cells[m].values()) / len(columns) for m in there}
        order = sorted(there, key=lambda model: (-won.get(model, -1.0), model))
        return Board(group=group, columns=columns, models=order, cells=cells, win_rate=won, coverage=covered)

    @cached_property
    def pairs(self) -> Sequence[tuple[str, str]]:
        """The models that are compared on a page, the one whose slug is first first: all pairs of up to twelve models,
        else each with the next three on the board."""
        models = self.board.models
        near = len(models) if len(models) <= _ALL_PAIRS else _NEIGHBOURS
        pairs = [(a, b) for i, a in enumerate(models) for b in models[i + 1 : i + 1 + near]]
        return sorted((a, b) if slug(a) < slug(b) else (b, a) for a, b in pairs)

    def served_slugs(self) -> Mapping[str, str]:
        """The models of the hub, by the slugs in their addresses; none without a hub."""
        return {} if self.catalogue is None else self.catalogue.slugs()

    def every_model(self) -> Sequence[str]:
        """Those that were measured, then those that are served and were not."""
        measured = list(self.model_slugs.values())
        return [*measured, *(name for name in self.served_slugs().values() if name not in measured)]

    def runs_of(self, *, model: str = "", scenario: str = "", name: str = "") -> list[ScoredRun]:
        return [
            run
            for run in self.runs
            if (not model or run.model == model)
            and (not scenario or run.scenario == scenario)
            and (not name or run.name == name)
        ]

    def samples(self, run: SavedRun) -> RunSamples:
        """What is read of a run; the last few runs are kept at hand."""
        key = (run.model, run.name)
        with self._lock:
            found = self._at_hand.pop(key, None) or RunSamples(run)
            self._at_hand[key] = found
            while len(self._at_hand) > _AT_HAND:
                self._at_hand.popitem(last=False)
        return found


def load(
    paths: Sequence[Path],
    releases: Path | None = None,
    catalogue: Catalogue | None = None,
    labels: Labels | None = None,
) -> Site:
    """The site of the runs below ``paths``. Raises NotFound where there is none, DataError for one that is damaged."""
    return Site(find_runs(paths), read_releases(releases) if releases else (), catalogue, labels)


def read_releases(folder: Path) -> list[Mapping[str, Any]]:
    """The releases in a folder, the newest first. Raises NotFound where there is no index of them."""
    if not (folder / INDEX).exists():
        raise NotFound(f"{folder}: no releases there", hint="make one: commonweal release NAME runs/")
    names = [entry["name"] for entry in read_json(folder / INDEX)["releases"]]
    return [read_json(folder / f"{name}.json") for name in reversed(names)]


def fingerprint(paths: Sequence[Path]) -> frozenset[tuple[str, int]]:
    """Changes whenever a run begins, goes on or ends."""
    files = (file for path in paths if path.is_dir() for name in (RUN, INDEX) for file in path.rglob(name))
    return frozenset((str(file), file.stat().st_mtime_ns) for file in files)
