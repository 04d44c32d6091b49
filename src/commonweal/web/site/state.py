"""What a site is made from: the runs below some folders, the boards of them, and what is read of each run.

Owns what pages share, so that it is read once: the all-board with its tie groups, the runs by their places, the digest
of a few runs. A site is a snapshot; :func:`load` makes a new one when the runs have changed. Only what a hub says of
its models (``catalogue``, None without one) is asked anew for every page.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Mapping, Sequence, Set
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from threading import RLock
from typing import TYPE_CHECKING, Any

from commonweal.core.errors import ConfigError, DataError, NotFound
from commonweal.evals.exchange.reported import ReportedBoard, read_reported
from commonweal.evals.run_folder import read_json
from commonweal.evals.scenarios.registry import SUITES
from commonweal.evals.statistics import mean_win_rates
from commonweal.evals.summary.board import Board, Cell, Column, make_board
from commonweal.evals.summary.comparison import Compared, compare
from commonweal.evals.summary.release import INDEX
from commonweal.evals.summary.runs import SavedRun
from commonweal.web.site.addresses import slug
from commonweal.web.site.finding import Found, look
from commonweal.web.site.samples import RunSamples
from commonweal.web.site.scored import ScoredRun, damaged_run, scored_run

if TYPE_CHECKING:  # a site without a hub needs nothing of a hub's
    from commonweal.web.site.catalogue import Catalogue
    from commonweal.web.site.label import Labels

_TABLES = 3
_BRIEFS = 300_000
"""Of how many runs the tables are kept in memory, and how many samples' lines in all (about 0.2 GB)."""

_EARLIER = 3
"""Earlier runs that are compared with the newest."""

_ALL_PAIRS = 12
_NEIGHBOURS = 3

Pair = tuple[str, str]
"""Two models, the one whose slug is first first."""


class _Unranked(SavedRun):
    """A run without a number of any instance: models that have none share no rank, and nothing is read."""

    @classmethod
    def of(cls, run: SavedRun) -> _Unranked:
        return cls(folder=run.folder, run=run.run, stats=run.stats)

    def scores(self, metric: str) -> dict[str, float]:
        return {}


def _same(a: Sequence[SavedRun], b: Sequence[SavedRun]) -> bool:
    return len(a) == len(b) and all(one is other for one, other in zip(a, b, strict=True))


def _or_damaged(run: ScoredRun) -> ScoredRun:
    try:
        run.scores(run.main_metric)
    except DataError as error:
        return damaged_run(run, "scores.parquet", error.message.rpartition("scores.parquet: ")[2])
    return run


def _assembled(group: str, columns: Sequence[Column], cells: Mapping[str, Mapping[str, Cell]]) -> Board:
    """A board of these cells: win rates and coverage are among its own columns."""
    means = {c.scenario: {m: row[c.scenario].mean for m, row in cells.items()} for c in columns}
    won = mean_win_rates(means, {c.scenario: c.higher_is_better for c in columns})
    covered = {
        m: sum(cell.mean is not None for cell in row.values()) / len(columns) for m, row in cells.items()
    }
    order = sorted(cells, key=lambda model: (-won.get(model, -1.0), model))
    return Board(group=group, columns=columns, models=order, cells=cells, win_rate=won, coverage=covered)


class Site:
    """The runs and what is made of them. Safe to be read by several threads."""

    def __init__(
        self,
        runs: Sequence[SavedRun],
        releases: Sequence[Mapping[str, Any]] = (),
        catalogue: Catalogue | None = None,
        labels: Labels | None = None,
        *,
        found: Found | None = None,
        pairs: Sequence[Pair] | None = None,
    ) -> None:
        self.found = found if found is not None else Found()
        self.released = 0
        self.wanted: Sequence[Pair] = ()
        self._pairs = pairs
        self.catalogue, self.labels = catalogue, labels
        self.runs = [scored_run(run) for run in runs]
        self.releases = releases
        self.reported: Sequence[ReportedBoard] = ()
        self.reported_damaged: Sequence[DataError] = ()
        self.reported_stamps: object = ()
        self._at_hand: OrderedDict[tuple[str, str], RunSamples] = OrderedDict()
        self._lock, self._board_lock = RLock(), RLock()
        self._columns: dict[str, Board] = {}
        self._compared: dict[tuple[str, str], Sequence[Compared]] = {}
        self.by_place = {(run.model, run.name): run for run in self.runs}
        self._by: dict[tuple[str, str], list[ScoredRun]] = {}
        for run in self.runs:
            for key in (("model", run.model), ("scenario", run.scenario), ("name", run.name)):
                self._by.setdefault(key, []).append(run)
        self.run_slugs = {(slug(run.model), slug(run.name)): run for run in self.runs}
        self.model_slugs = {slug(run.model): run.model for run in self.runs}
        self.scenario_slugs = {slug(run.scenario): run.scenario for run in self.runs}
        self.name_slugs = {slug(run.name): run.name for run in self.runs}

    def column(self, scenario: str) -> Board:
        """The board of one scenario alone, with its tie groups, for which the scores of its runs are read. A run whose
        scores cannot be read has an empty cell."""
        with self._board_lock:
            if scenario not in self._columns:
                runs = self.runs_of(scenario=scenario)
                try:
                    self._columns[scenario] = make_board(runs, SUITES)
                except DataError:
                    self._columns[scenario] = make_board([_or_damaged(run) for run in runs], SUITES)
            return self._columns[scenario]

    def know(
        self, columns: Mapping[str, Board], compared: Mapping[tuple[str, str], Sequence[Compared]]
    ) -> None:
        """Take what another process has found out about scenarios and about pairs of models."""
        self._columns.update(columns)
        self._compared.update(compared)

    def keep(self, before: Site) -> None:
        """Take from an earlier site what is made of runs that are the same here."""
        for scenario, board in list(before._columns.items()):
            if _same(before.runs_of(scenario=scenario), self.runs_of(scenario=scenario)):
                self._columns[scenario] = board
        with before._lock:
            self._at_hand.update(
                {key: one for key, one in before._at_hand.items() if self.by_place.get(key) is one.run}
            )

    def compared(self, a: str, b: str) -> Sequence[Compared]:
        """Two models on all runs that both have. Raises NotFound where there is none."""
        return self._compared.get((a, b)) or compare(self.runs_of(model=a), self.runs_of(model=b))

    @cached_property
    def board(self) -> Board:
        """Of all runs."""
        scenarios = sorted({run.scenario for run in self.runs})
        models = sorted({run.model for run in self.runs})
        parts = {scenario: self.column(scenario) for scenario in scenarios}
        missing = Cell(mean=None, n=0, parts=0, reason="not run")
        cells = {m: {s: parts[s].cells.get(m, {}).get(s, missing) for s in scenarios} for m in models}
        return _assembled("all", [parts[s].columns[0] for s in scenarios], cells)

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
        return _assembled(
            group, columns, {m: {c.scenario: whole.cells[m][c.scenario] for c in columns} for m in there}
        )

    @cached_property
    def order(self) -> Sequence[str]:
        """The models as they stand on the board. Only means are needed for that, and no scores."""
        return make_board([_Unranked.of(run) for run in self.runs], SUITES).models if self.runs else ()

    @cached_property
    def pairs(self) -> Sequence[tuple[str, str]]:
        """The models that are compared on a page, the one whose slug is first first: all pairs of up to twelve models,
        else each with the next three on the board; and those that were asked for (``wanted``). A
        part of a site is told which."""
        if self._pairs is not None:
            return self._pairs
        models = self.order
        near = len(models) if len(models) <= _ALL_PAIRS else _NEIGHBOURS
        pairs = [(a, b) for i, a in enumerate(models) for b in models[i + 1 : i + 1 + near]]
        return sorted({in_order(a, b) for a, b in (*pairs, *self.wanted)})

    @property
    def any_pair(self) -> bool:
        """Whether any two models have a page: on a hub, which makes it when it is asked for."""
        return self.catalogue is not None

    @cached_property
    def _partners(self) -> Mapping[str, Set[str]]:
        found: dict[str, set[str]] = {}
        for a, b in self.pairs:
            found.setdefault(a, set()).add(b)
            found.setdefault(b, set()).add(a)
        return found

    def partners(self, model: str) -> Set[str]:
        """The models that a model has a page with."""
        return set(self.model_slugs.values()) - {model} if self.any_pair else self._partners.get(model, set())

    def served_slugs(self) -> Mapping[str, str]:
        """The models of the hub, by the slugs in their addresses; none without a hub."""
        return {} if self.catalogue is None else self.catalogue.slugs()

    def every_model(self) -> Sequence[str]:
        """Those that were measured, then those that are served and were not."""
        measured = list(self.model_slugs.values())
        return [*measured, *(name for name in self.served_slugs().values() if name not in measured)]

    def runs_of(self, *, model: str = "", scenario: str = "", name: str = "") -> list[ScoredRun]:
        wanted = [key for key in (("model", model), ("scenario", scenario), ("name", name)) if key[1]]
        if not wanted:
            return list(self.runs)
        first, *more = (self._by.get(key, []) for key in wanted)
        return [run for run in first if all(run in others for others in more)] if more else list(first)

    def earlier(self, run: SavedRun) -> Sequence[ScoredRun]:
        """The runs of the same model and name that were made before it, the newest first."""
        return self.found.earlier.get((run.model, run.name), ())[:_EARLIER]

    def samples(self, run: SavedRun) -> RunSamples:
        """What is read of a run. The last runs are kept at hand: the tables of a few, the digests of more."""
        key = (run.model, run.name)
        with self._lock:
            found = self._at_hand.pop(key, None) or RunSamples(run)
            self._at_hand[key] = found
            others = list(self._at_hand.values())[:-1]
            for one in others[: max(0, len(others) - _TABLES + 1)]:
                one.let_go()
            while len(self._at_hand) > 1 and sum(one.weight for one in self._at_hand.values()) > _BRIEFS:
                self._at_hand.popitem(last=False)
        return found


def in_order(a: str, b: str) -> Pair:
    """Two models as the address of their page has them."""
    return (a, b) if slug(a) < slug(b) else (b, a)


def chosen(wanted: Sequence[Pair], models: Collection[str]) -> list[Pair]:
    """The pairs that were asked for. Raises NotFound for a model that no run is of, ConfigError for one with itself."""
    for pair in wanted:
        for name in pair:
            if name not in models:
                near = get_close_matches(name, models, n=1, cutoff=0.5)
                hint = f"did you mean '{near[0]}'?" if near else "the models are on the board"
                raise NotFound(f"--compare: no run is of a model '{name[:80]}'", hint=hint)
        if pair[0] == pair[1]:
            raise ConfigError(f"--compare: '{pair[0][:80]}' twice", hint="name two models")
    return sorted({in_order(*pair) for pair in wanted})


def load(
    paths: Sequence[Path],
    releases: Path | None = None,
    catalogue: Catalogue | None = None,
    labels: Labels | None = None,
    *,
    before: Site | None = None,
    wanted: Sequence[Pair] = (),
    reported: Path | None = None,
) -> Site:
    """The site of the runs below ``paths``, beside the results of others in the folder ``reported``. Of a site
    ``before`` is kept what has not changed since; it is given back itself where nothing has. Raises NotFound where
    there is neither a run nor a result of others, and for a name in ``wanted`` that no run has."""
    known = before.found if before is not None else None
    found = look(paths, known) if reported is None else _look_if_any(paths, known)
    stamp, others = _stamp(releases), _stamps(reported)
    same = before is not None and (stamp, others) == (before.released, before.reported_stamps)
    if before is not None and same and found.stamps == before.found.stamps:
        return before
    site = Site(found.runs, read_releases(releases) if releases else (), catalogue, labels, found=found)
    if reported is not None:
        site.reported, site.reported_damaged = read_reported(reported)
    site.reported_stamps = others
    site.wanted = chosen(wanted, set(site.model_slugs.values()))
    site.released = stamp
    if before is not None:
        site.keep(before)
    return site


def _look_if_any(paths: Sequence[Path], known: Found | None) -> Found:
    """Folders without a run are no mistake beside the results of others; one that is not there is."""
    try:
        return look(paths, known)
    except NotFound:
        if all(path.is_dir() for path in paths):
            return Found()
        raise


def _stamp(releases: Path | None) -> int:
    """Changes with every release."""
    index = releases / INDEX if releases is not None else None
    return index.stat().st_mtime_ns if index is not None and index.exists() else 0


def _stamps(reported: Path | None) -> object:
    """Changes with every file of reported results."""
    if reported is None or not reported.is_dir():
        return ()
    told = {path: path.stat() for path in sorted(reported.glob("*.json"))}
    return [(path.name, one.st_mtime_ns, one.st_size) for path, one in told.items()]


def read_releases(folder: Path) -> list[Mapping[str, Any]]:
    """The releases in a folder, the newest first. Raises NotFound where there is no index of them."""
    if not (folder / INDEX).exists():
        raise NotFound(f"{folder}: no releases there", hint="make one: commonweal release NAME runs/")
    names = [entry["name"] for entry in read_json(folder / INDEX)["releases"]]
    return [read_json(folder / f"{name}.json") for name in reversed(names)]
