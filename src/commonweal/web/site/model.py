"""A model: its card, how to use it, what was measured of it run by run, where it comes from, whom it is compared with.

What runs say is there on every site; the card, the lineage and the ways to try a model only where a hub serves it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from commonweal.evals.aspects import ASPECTS, AspectCell
from commonweal.evals.placeless import placeless
from commonweal.web.site import addresses
from commonweal.web.site.page import MODELS, Link, Page
from commonweal.web.site.reported import ReportedOfModel, of_model
from commonweal.web.site.run import aspects
from commonweal.web.site.state import Site

if TYPE_CHECKING:  # a site without a hub needs nothing of a hub's
    from commonweal.web.site.served import Served


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
    """``win_rate`` and ``coverage`` are None where the model is not on the board; ``base`` is the address of the hub,
    "" where it is not known."""

    template: ClassVar[str] = "model.html"

    name: str
    label: str
    endpoint: str
    win_rate: float | None
    coverage: float | None
    missing: Sequence[str]
    aspects: Sequence[str]
    runs: Sequence[ModelRun]
    compared: Sequence[Link]
    served: Served | None = None
    base: str = ""
    reported: Sequence[ReportedOfModel] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRow:
    model: Link
    what: str
    parameters: int | None
    window: int | None
    runs: int
    coverage: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelsPage(Page):
    """All models that have a page."""

    template: ClassVar[str] = "models.html"

    rows: Sequence[ModelRow]
    live: bool


def page(site: Site, model: str) -> ModelPage | None:
    """None for a name that neither a run nor the hub knows."""
    runs = site.runs_of(model=model)
    served = site.catalogue.served(model) if site.catalogue is not None else None
    if not runs and served is None:
        return None
    board = site.board if runs else None
    partners = site.partners(model)
    return ModelPage(
        path=addresses.model(model),
        title=model,
        trail=(MODELS,),
        name=model,
        label=addresses.label(model),
        endpoint=placeless(str(runs[0].run.get("endpoint") or "")) if runs else "",
        win_rate=board.win_rate.get(model) if board else None,
        coverage=board.coverage[model] if board else None,
        missing=[c.scenario for c in board.columns if board.cells[model][c.scenario].mean is None]
        if board
        else (),
        aspects=ASPECTS,
        runs=[
            ModelRun(
                run=Link(text=run.name, path=addresses.run(model, run.name)),
                metric=run.main_metric,
                status=str(run.run.get("status", "unfinished")),
                reason=placeless(run.reason),
                scored=int((run.run.get("coverage") or {}).get("scored", 0)),
                expected=int((run.run.get("coverage") or {}).get("expected", 0)),
                cells=list(aspects(run).values()),
            )
            for run in runs
        ],
        compared=[
            Link(text=other, path=addresses.comparison(model, other))
            for other in (site.order if runs else ())
            if other in partners
        ],
        served=served,
        reported=of_model(site, model),
    )


_KINDS = {"full": "own weights", "adapter": "adapter", "fronted": "a member's server"}


def models_page(site: Site) -> ModelsPage:
    served = {model.name: model for model in site.catalogue.models()} if site.catalogue is not None else {}
    measured = set(site.model_slugs.values())
    rows = []
    for name in sorted(measured | served.keys()):
        model = served.get(name)
        rows.append(
            ModelRow(
                model=Link(text=name, path=addresses.model(name)),
                what=""
                if model is None
                else f"adapter on {model.base}"
                if model.base
                else _KINDS[model.kind],
                parameters=None if model is None else model.parameters,
                window=None if model is None else model.window,
                runs=len(site.runs_of(model=name)),
                coverage=site.board.coverage[name] if name in measured else None,
            )
        )
    return ModelsPage(path=MODELS.path, title="Models", rows=rows, live=bool(served))
