"""The board: models x scenarios, by each scenario's main metric, with win rates, tie groups and coverage.

A column is a scenario; where it was run with several arguments (the subjects of MMLU) a cell is the mean over them,
as HELM has it. An empty cell says why. Pure but for the per-instance scores, which tie groups are made from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from commonweal.core.errors import ConfigError
from commonweal.evals.metrics.registry import DEFINITIONS
from commonweal.evals.statistics import mean_win_rates, tie_groups
from commonweal.evals.summary.runs import SavedRun


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One model on one scenario. ``low`` and ``high`` are its interval where it is of one run; ``parts`` is how many
    arguments it was run with; ``rank`` is shared by models whose difference is within noise."""

    mean: float | None
    n: int
    low: float | None = None
    high: float | None = None
    parts: int = 1
    failed: int = 0
    rank: int | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A scenario with its main metric."""

    scenario: str
    metric: str
    higher_is_better: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Board:
    """``win_rate`` is HELM's mean win rate per model (missing: it could be compared with nobody); ``coverage`` the
    share of the board's columns that a model has a number for. Models are ordered by win rate, then by name."""

    group: str
    columns: Sequence[Column]
    models: Sequence[str]
    cells: Mapping[str, Mapping[str, Cell]]
    win_rate: Mapping[str, float]
    coverage: Mapping[str, float]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON: what the command prints for programs."""
        return {
            "group": self.group,
            "columns": [
                {"scenario": c.scenario, "metric": c.metric, "higher_is_better": c.higher_is_better}
                for c in self.columns
            ],
            "models": [
                {
                    "model": model,
                    "mean_win_rate": self.win_rate.get(model),
                    "coverage": self.coverage[model],
                    "cells": {name: _cell_json(cell) for name, cell in self.cells[model].items()},
                }
                for model in self.models
            ],
        }


def make_board(runs: Sequence[SavedRun], suites: Mapping[str, Sequence[str]], group: str = "all") -> Board:
    """The board of the runs in ``group``: a suite, a tag of scenarios, or all. Raises ConfigError for a group that
    none of the runs is in."""
    chosen = [run for run in runs if _in_group(run, suites, group)]
    if not chosen:
        known = sorted({*suites, *(tag for run in runs for tag in run.run["scenario"].get("tags", ()))})
        raise ConfigError(f"no run is in the group '{group}'", hint="groups: all, " + ", ".join(known))
    by_scenario: dict[str, dict[str, list[SavedRun]]] = {}
    for run in chosen:
        by_scenario.setdefault(run.scenario, {}).setdefault(run.model, []).append(run)
    models = sorted({run.model for run in chosen})
    columns = [_column(name, by_model) for name, by_model in sorted(by_scenario.items())]
    cells: dict[str, dict[str, Cell]] = {model: {} for model in models}
    for column in columns:
        for model, cell in _cells(column, by_scenario[column.scenario], models).items():
            cells[model][column.scenario] = cell
    means = {c.scenario: {m: cells[m][c.scenario].mean for m in models} for c in columns}
    won = mean_win_rates(means, {c.scenario: c.higher_is_better for c in columns})
    covered = {m: sum(cell.mean is not None for cell in cells[m].values()) / len(columns) for m in models}
    order = sorted(models, key=lambda model: (-won.get(model, -1.0), model))
    return Board(group=group, columns=columns, models=order, cells=cells, win_rate=won, coverage=covered)


def _in_group(run: SavedRun, suites: Mapping[str, Sequence[str]], group: str) -> bool:
    if group == "all":
        return True
    members = {entry.partition(":")[0] for entry in suites.get(group, ())}
    return run.scenario in members or group in run.run["scenario"].get("tags", ())


def _column(scenario: str, by_model: Mapping[str, Sequence[SavedRun]]) -> Column:
    metric = next(iter(by_model.values()))[0].main_metric
    definition = DEFINITIONS.get(metric)
    return Column(
        scenario=scenario,
        metric=metric,
        higher_is_better=definition.higher_is_better if definition else True,
    )


def _cells(
    column: Column, by_model: Mapping[str, Sequence[SavedRun]], models: Sequence[str]
) -> dict[str, Cell]:
    everything = {run.name for runs in by_model.values() for run in runs}
    made = {model: _cell(by_model.get(model, ()), column.metric, len(everything)) for model in models}
    measured = [model for model, cell in made.items() if cell.mean is not None]
    if len(measured) < 2:
        return made
    scores = {model: _scores(by_model[model], column.metric) for model in measured}
    ranks: dict[str, int] = {}
    for group in tie_groups(scores, higher_is_better=column.higher_is_better):
        rank = len(ranks) + 1
        ranks.update(dict.fromkeys(group, rank))
    return {model: _ranked(cell, ranks.get(model)) for model, cell in made.items()}


def _cell(runs: Sequence[SavedRun], metric: str, parts: int) -> Cell:
    """The mean over a model's runs of a scenario, of which there are ``parts`` by any model."""
    if not runs:
        return Cell(mean=None, n=0, parts=0, reason="not run")
    failed = sum(int(run.run.get("coverage", {}).get("failed", 0)) for run in runs)
    stats = [run.stat(metric) for run in runs]
    found = [(stat, stat.mean) for stat in stats if stat is not None and stat.mean is not None]
    if not found:
        return Cell(mean=None, n=0, parts=0, failed=failed, reason=runs[0].reason)
    alone = found[0][0] if len(found) == 1 else None
    return Cell(
        mean=sum(mean for _, mean in found) / len(found),
        n=sum(stat.n for stat, _ in found),
        low=alone.low if alone else None,
        high=alone.high if alone else None,
        parts=len(found),
        failed=failed,
        reason="" if len(found) == parts else f"{len(found)} of {parts} parts",
    )


def _scores(runs: Sequence[SavedRun], metric: str) -> dict[str, float]:
    return {f"{run.name}/{key}": value for run in runs for key, value in run.scores(metric).items()}


def _ranked(cell: Cell, rank: int | None) -> Cell:
    return Cell(
        mean=cell.mean,
        n=cell.n,
        low=cell.low,
        high=cell.high,
        parts=cell.parts,
        failed=cell.failed,
        rank=rank,
        reason=cell.reason,
    )


def _cell_json(cell: Cell) -> dict[str, Any]:
    return {name: getattr(cell, name) for name in Cell.__slots__}
