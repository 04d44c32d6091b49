"""A model: what was measured of it, run by run, on the seven aspects; and whom it is compared with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from commonweal.evals.aspects import ASPECTS, AspectCell
from commonweal.web.site import addresses
from commonweal.web.site.page import HOME, Link, Page
from commonweal.web.site.run import aspects
from commonweal.web.site.state import Site


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRun:
    run: Link
    metric: str
    status: str
    reason: str
    scored: int
    expected: int
    cells: Sequence[AspectCell]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelPage(Page):
    template: ClassVar[str] = "model.html"

    name: str
    endpoint: str
    win_rate: float | None
    coverage: float
    missing: Sequence[str]
    aspects: Sequence[str]
    runs: Sequence[ModelRun]
    compared: Sequence[Link]


def page(site: Site, model: str) -> ModelPage:
    runs = site.runs_of(model=model)
    board = site.board
    return ModelPage(
        path=addresses.model(model),
        title=model,
        trail=(HOME,),
        name=model,
        endpoint=str(runs[0].run.get("endpoint") or ""),
        win_rate=board.win_rate.get(model),
        coverage=board.coverage[model],
        missing=[c.scenario for c in board.columns if board.cells[model][c.scenario].mean is None],
        aspects=ASPECTS,
        runs=[
            ModelRun(
                run=Link(text=run.name, path=addresses.run(model, run.name)),
                metric=run.main_metric,
                status=str(run.run.get("status", "unfinished")),
                reason=run.reason,
                scored=int((run.run.get("coverage") or {}).get("scored", 0)),
                expected=int((run.run.get("coverage") or {}).get("expected", 0)),
                cells=list(aspects(run).values()),
            )
            for run in runs
        ],
        compared=[
            Link(text=b if a == model else a, path=addresses.comparison(a, b))
            for a, b in site.pairs
            if model in (a, b)
        ],
    )
