"""A scenario: what it is, where it comes from, an example, all models by each of the seven aspects, and its parts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from markupsafe import Markup

from commonweal.evals.aspects import ASPECTS, AspectCell
from commonweal.evals.placeless import placeless
from commonweal.web.site import addresses
from commonweal.web.site.charts import Bar, bars
from commonweal.web.site.listing import anchor
from commonweal.web.site.page import HOME, Link, Page
from commonweal.web.site.run import aspects
from commonweal.web.site.state import Site

_PARTS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRow:
    """A model on the scenario, or on one part of it. ``cells`` are empty where it has several parts."""

    model: Link
    run: str
    mean: float | None
    low: float | None
    high: float | None
    n: int
    rank: int | None
    failed: int
    reason: str
    cells: Sequence[AspectCell]


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One set of arguments: a number a model, in the order of the models, with the way to the run."""

    name: str
    across: str
    cells: Sequence[tuple[float | None, str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    input: str
    references: Sequence[tuple[str, bool, int]]
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ScenarioPage(Page):
    template: ClassVar[str] = "scenario.html"

    name: str
    heading: str
    about: str
    source: str
    licence: str
    tags: Sequence[str]
    data: Sequence[str]
    metric: str
    higher_is_better: bool
    aspects: Sequence[str]
    rows: Sequence[ModelRow]
    chart: Markup
    parts: Sequence[Part]
    example: Example | None


def page(site: Site, scenario: str) -> ScenarioPage:
    runs = site.runs_of(scenario=scenario)
    told = runs[0].run
    board = site.board
    column = next(one for one in board.columns if one.scenario == scenario)
    names = sorted({run.name for run in runs})
    rows = [_row(site, model, scenario, alone=len(names) == 1) for model in _order(site, scenario)]
    data = {
        placeless(" ".join(str(part) for part in source.values() if part)): None
        for run in runs
        for source in (run.run.get("data") or {}).get("sources", ())
    }
    return ScenarioPage(
        path=addresses.scenario(scenario),
        title=scenario,
        trail=(HOME,),
        name=scenario,
        heading=_heading(scenario, told),
        about=str(told["scenario"].get("description") or ""),
        source=str(told["scenario"].get("source") or ""),
        licence=str(told["scenario"].get("licence") or ""),
        tags=[str(tag) for tag in told["scenario"].get("tags", ())],
        data=list(data),
        metric=column.metric,
        higher_is_better=column.higher_is_better,
        aspects=ASPECTS if len(names) == 1 else (),
        rows=rows,
        chart=bars(
            f"{column.metric} of {scenario} by model, with 95% intervals",
            [
                Bar(name=row.model.text, value=row.mean, low=row.low, high=row.high, strong=row.rank == 1)
                for row in rows
                if row.mean is not None
            ],
        ),
        parts=[_part(site, name, [row.model.text for row in rows]) for name in names[:_PARTS]],
        example=_example(site, scenario),
    )


def _order(site: Site, scenario: str) -> list[str]:
    """The models that ran it, by rank, then by their numbers, then by name; those without a number last."""
    board = site.board
    column = next(one for one in board.columns if one.scenario == scenario)
    there = {run.model for run in site.runs_of(scenario=scenario)}

    def place(model: str) -> tuple[int, float, str]:
        cell = board.cells[model][scenario]
        mean = math.inf if cell.mean is None else -cell.mean if column.higher_is_better else cell.mean
        return cell.rank or len(board.models) + 1, mean, model

    return sorted(there, key=place)


def _heading(scenario: str, told: Mapping[str, Any]) -> str:
    """Its title; where that is only the name of one of its parts, its name."""
    title = str(told["scenario"].get("title") or scenario)
    return scenario if title == told["name"] else title


def _row(site: Site, model: str, scenario: str, *, alone: bool) -> ModelRow:
    cell = site.board.cells[model][scenario]
    runs = site.runs_of(model=model, scenario=scenario)
    found = aspects(runs[0]) if alone else {}
    return ModelRow(
        model=Link(text=model, path=addresses.model(model)),
        run=addresses.run(model, runs[0].name) if len(runs) == 1 else "",
        mean=cell.mean,
        low=cell.low,
        high=cell.high,
        n=cell.n,
        rank=cell.rank,
        failed=cell.failed,
        reason=cell.reason,
        cells=list(found.values()),
    )


def _part(site: Site, name: str, models: Sequence[str]) -> Part:
    cells: list[tuple[float | None, str, str]] = []
    for model in models:
        run = site.by_place.get((model, name))
        stat = run.stat(run.main_metric) if run else None
        path = addresses.run(model, name) if run else ""
        cells.append((stat.mean if stat else None, path, run.reason if run else "not run"))
    several = sum(bool(path) for _, path, _ in cells) > 1
    return Part(name=name, across=addresses.across(name, 1) if several else "", cells=cells)


def _example(site: Site, scenario: str) -> Example | None:
    """The first instance of the first run that has one."""
    for run in site.runs_of(scenario=scenario):
        samples = site.samples(run)
        if samples.digest.ids:
            first = samples.digest.ids[0]
            row = samples.shard(1)[0].instances[0]
            return Example(
                input=(row["input"] or "")[:2000],
                references=row["references"] or (),
                path=f"{addresses.shard(run.model, run.name, 1)}#{anchor(first)}",
            )
    return None
