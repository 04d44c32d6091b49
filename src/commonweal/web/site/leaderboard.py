"""The board: models by scenarios, as a page and as tables to load.

A colour says only what noise does not explain: cells are tinted by their tie group, and a column whose models are all
in one group is left white. An empty cell leads to the reason, below the table.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from commonweal.core.errors import DataError
from commonweal.evals.metrics.registry import DEFINITIONS
from commonweal.evals.summary.board import Board, Cell, Column
from commonweal.web.site import addresses
from commonweal.web.site.addresses import slug
from commonweal.web.site.downloads import KINDS, MEDIA_TYPES, csv_of, kind_name, parquet_of
from commonweal.web.site.page import HOME, File, Link, Page
from commonweal.web.site.state import Site

LEVELS = 4
"""Tints of a cell, from 1 to this; the best group has the strongest."""

_ROW = {
    "model": "string",
    "scenario": "string",
    "metric": "string",
    "higher_is_better": "bool",
    "mean": "double",
    "low": "double",
    "high": "double",
    "n": "int64",
    "rank": "int64",
    "failed": "int64",
    "parts": "int64",
    "reason": "string",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class BoardColumn:
    scenario: Link
    metric: str
    about: str
    higher_is_better: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class BoardCell:
    """``note`` is the number of the reason below the table, 0 for none; ``tint`` is 0 for none."""

    mean: float | None
    low: float | None
    high: float | None
    n: int
    rank: int | None
    failed: int
    tint: int
    note: int
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BoardRow:
    """``origin`` is whose runs its numbers are from: "here", whom they were imported from, "several"; "" for none."""

    model: Link
    slug: str
    win_rate: float | None
    coverage: float
    cells: Sequence[BoardCell]
    measured: bool = True
    origin: str = "here"


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaderboardPage(Page):
    """``damaged`` are files of runs that cannot be read, and why. ``notes`` are the reasons why cells are empty or in
    part, in order of their numbers; ``pairs`` are the pages of two models by the ids of both; with ``any_pair`` all
    others have one too. ``others`` leads to what others published, None where nothing is here."""

    template: ClassVar[str] = "leaderboard.html"

    group: str
    groups: Sequence[Link]
    columns: Sequence[BoardColumn]
    rows: Sequence[BoardRow]
    notes: Sequence[str]
    files: Sequence[Link]
    pairs: Sequence[str]
    any_pair: bool
    runs: int
    damaged: Sequence[tuple[str, str]]
    others: Link | None = None


def page(site: Site, group: str) -> LeaderboardPage:
    board = site.group_board(group)
    notes: dict[str, int] = {}
    rows = [_row(site, board, model, notes) for model in board.models]
    if group == "all":
        rows += [_unmeasured(board, name, notes) for name in site.every_model() if name not in board.coverage]
    there = {slug(model) for model in board.models}
    pairs = [f"{slug(a)}/{slug(b)}" for a, b in site.pairs if slug(a) in there and slug(b) in there]
    return LeaderboardPage(
        path=addresses.board(group),
        title="Leaderboard" if group == "all" else f"Leaderboard: {group}",
        trail=() if group == "all" else (HOME,),
        group=group,
        groups=[Link(text=name, path=addresses.board(name)) for name in site.groups],
        columns=[_column(one) for one in board.columns],
        rows=rows,
        notes=list(notes),
        files=[Link(text=kind_name(kind), path=addresses.board_file(group, kind)) for kind in KINDS],
        pairs=pairs,
        any_pair=site.any_pair and 2 * len(pairs) < len(there) * (len(there) - 1),
        runs=len(site.runs),
        damaged=[(one.named, one.why) for one in site.found.damaged]
        + [_damaged(error) for error in site.reported_damaged],
        others=Link(text="Boards of others", path=addresses.REPORTED) if site.reported else None,
    )


def _damaged(error: DataError) -> tuple[str, str]:
    """A file of others' results by its name: where it is kept is nobody's business."""
    path, _, why = error.message.partition(": ")
    return path.rpartition("/")[2], why


def _column(column: Column) -> BoardColumn:
    definition = DEFINITIONS.get(column.metric) or DEFINITIONS.get(column.metric.partition("@")[0])
    return BoardColumn(
        scenario=Link(text=column.scenario, path=addresses.scenario(column.scenario)),
        metric=column.metric,
        about=definition.description if definition else "",
        higher_is_better=column.higher_is_better,
    )


def _row(site: Site, board: Board, model: str, notes: dict[str, int]) -> BoardRow:
    return BoardRow(
        model=Link(text=model, path=addresses.model(model)),
        slug=slug(model),
        win_rate=board.win_rate.get(model),
        coverage=board.coverage[model],
        cells=[_cell(site, board, model, column, notes) for column in board.columns],
        origin=_origin(site, model),
    )


def _origin(site: Site, model: str) -> str:
    """Who measured it: here, or somebody else, of whom the runs were imported."""
    names = {str((run.run.get("imported") or {}).get("from") or "here") for run in site.runs_of(model=model)}
    return names.pop() if len(names) == 1 else "several"


def _unmeasured(board: Board, model: str, notes: dict[str, int]) -> BoardRow:
    """A model that the hub serves and nobody has measured."""
    note = notes.setdefault("not run", len(notes) + 1)
    empty = BoardCell(mean=None, low=None, high=None, n=0, rank=None, failed=0, tint=0, note=note, path="")
    return BoardRow(
        model=Link(text=model, path=addresses.model(model)),
        slug=slug(model),
        win_rate=None,
        coverage=0.0,
        cells=[empty for _ in board.columns],
        measured=False,
        origin="",
    )


def _cell(site: Site, board: Board, model: str, column: Column, notes: dict[str, int]) -> BoardCell:
    cell = board.cells[model][column.scenario]
    note = notes.setdefault(cell.reason, len(notes) + 1) if cell.reason else 0
    ranks = {board.cells[other][column.scenario].rank for other in board.models} - {None}
    return BoardCell(
        mean=cell.mean,
        low=cell.low,
        high=cell.high,
        n=cell.n,
        rank=cell.rank,
        failed=cell.failed,
        tint=_tint(cell, ranks),
        note=note,
        path=_way(site, model, column.scenario),
    )


def _tint(cell: Cell, ranks: set[int | None]) -> int:
    if cell.rank is None or len(ranks) < 2:
        return 0
    below = sum(rank is not None and rank < cell.rank for rank in ranks)
    return max(0, LEVELS - below)


def _way(site: Site, model: str, scenario: str) -> str:
    """The run itself where there is one; else the scenario, which lists them."""
    runs = site.runs_of(model=model, scenario=scenario)
    if len(runs) == 1:
        return addresses.run(model, runs[0].name)
    return addresses.scenario(scenario) if runs else ""


def files(site: Site, group: str) -> Iterator[File]:
    """The board as CSV, JSON and Parquet: a row a model and scenario, empty cells with their reasons too."""
    for kind in KINDS:
        yield file(site, group, kind)


def file(site: Site, group: str, kind: str) -> File:
    board = site.group_board(group)
    return File(
        path=addresses.board_file(group, kind), data=_KINDS[kind](board), media_type=MEDIA_TYPES[kind]
    )


def _rows(board: Board) -> list[Mapping[str, Any]]:
    return [
        {
            "model": model,
            "scenario": column.scenario,
            "metric": column.metric,
            "higher_is_better": column.higher_is_better,
            **{name: getattr(board.cells[model][column.scenario], name) for name in list(_ROW)[4:]},
        }
        for model in board.models
        for column in board.columns
    ]


def _json(board: Board) -> bytes:
    return (json.dumps(board.to_json(), indent=1, ensure_ascii=False) + "\n").encode("utf-8", "replace")


_KINDS: Mapping[str, Callable[[Board], bytes]] = {
    "csv": lambda board: csv_of(_rows(board), _ROW),
    "json": _json,
    "parquet": lambda board: parquet_of(_rows(board), _ROW),
}
