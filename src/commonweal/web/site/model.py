"""A model: its card, how to use it, what was measured of it run by run, where it comes from, whom it is compared with.

What runs say is there on every site; the card, the lineage and the ways to try a model only where a hub serves it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, ClassVar

from markupsafe import Markup

from commonweal.evals.aspects import ASPECTS, AspectCell
from commonweal.ledger.amounts import shown
from commonweal.web.site import addresses
from commonweal.web.site.lineage_chart import WORDS, chart
from commonweal.web.site.page import HOME, MODELS, Link, Page
from commonweal.web.site.run import aspects
from commonweal.web.site.state import Site

if TYPE_CHECKING:  # a site without a hub needs nothing of a hub's
    from commonweal.labels.lineage import Lineage
    from commonweal.labels.lineage_steps import Facts, Step
    from commonweal.web.site.catalogue import Entry

TEXT = 6_000
"""Characters of a card's text that a page shows."""

_API = {
    "ftjob": "v1/fine_tuning/jobs/",
    "job": "pool/v1/jobs/",
    "imp": "v1/community/improvements/",
    "ds": "v1/community/datasets/",
}


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
class Ancestor:
    """A step of the lineage as the table has it. ``api`` is where its record is to be had with a key, "" for none."""

    kind: str
    step: Link
    day: str
    hash: str
    facts: Facts
    sources: Sequence[str]
    api: str
    said: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """What the hub says of a model that it serves. ``text`` is its card's, in part where ``cut``."""

    facts: Facts
    licence: str
    head: Facts
    text: str
    cut: bool
    identity: str
    files: Facts
    latest: Link | None
    chat: str
    steps: Sequence[Ancestor]
    gaps: Sequence[str]
    chart: Markup


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
    entry = site.catalogue.entry(model) if site.catalogue is not None else None
    if not runs and entry is None:
        return None
    board = site.board if runs else None
    return ModelPage(
        path=addresses.model(model),
        title=model,
        trail=(HOME, MODELS),
        name=model,
        label=addresses.label(model),
        endpoint=str(runs[0].run.get("endpoint") or "") if runs else "",
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
                reason=run.reason,
                scored=int((run.run.get("coverage") or {}).get("scored", 0)),
                expected=int((run.run.get("coverage") or {}).get("expected", 0)),
                cells=list(aspects(run).values()),
            )
            for run in runs
        ],
        compared=[
            Link(text=b if a == model else a, path=addresses.comparison(a, b))
            for a, b in (site.pairs if runs else ())
            if model in (a, b)
        ],
        served=_served(entry) if entry is not None else None,
    )


def models_page(site: Site) -> ModelsPage:
    served = {model.name: model for model in site.catalogue.models()} if site.catalogue is not None else {}
    measured = set(site.model_slugs.values())
    rows = []
    for name in sorted(measured | served.keys()):
        model = served.get(name)
        rows.append(
            ModelRow(
                model=Link(text=name, path=addresses.model(name)),
                what="" if model is None else f"on {model.base}" if model.base else model.kind,
                parameters=None if model is None else model.parameters,
                window=None if model is None else model.window,
                runs=len(site.runs_of(model=name)),
                coverage=site.board.coverage[name] if name in measured else None,
            )
        )
    return ModelsPage(path=MODELS.path, title="Models", trail=(HOME,), rows=rows, live=bool(served))


def _served(entry: Entry) -> Served:
    model, card = entry.model, entry.card
    licence = card.licence or ("in its file LICENSE" if "LICENSE" in model.files else "")
    return Served(
        facts=_facts(entry),
        licence=licence,
        head=tuple(
            (name.replace("_", " "), ", ".join(card.head[name])) for name in _TOLD if name in card.head
        ),
        text=card.text[:TEXT],
        cut=len(card.text) > TEXT,
        identity=model.identity,
        files=tuple(sorted(model.files.items())),
        latest=None
        if entry.latest == model.name
        else Link(text=entry.latest, path=addresses.model(entry.latest)),
        chat=f"chat?model={model.name}",
        steps=[_ancestor(entry.lineage, step) for step in entry.lineage.steps],
        gaps=entry.lineage.gaps,
        chart=chart(entry.lineage),
    )


_TOLD = ("language", "datasets", "base_model", "pipeline_tag")


def _facts(entry: Entry) -> Facts:
    model = entry.model
    quantized = {"none": "none: the weights as they were published"}
    told = [
        ("published by", "the operator" if model.owner == "operator" else model.owner),
        ("on", day(model.created)),
        ("parameters", f"{model.parameters:,}"),
        ("reads up to", f"{model.window:,} tokens"),
        ("quantization", quantized.get(model.quantization, model.quantization)),
        (
            "price",
            f"{shown(1000 * model.price_in)} credits for a million tokens read, "
            f"{shown(1000 * model.price_out)} written",
        ),
    ]
    if model.base:
        told.insert(2, ("an adapter on", model.base))
    return tuple(told)


def _ancestor(lineage: Lineage, step: Step) -> Ancestor:
    own = step.kind == "model" and step.id and step.name != lineage.model
    return Ancestor(
        kind=WORDS[step.kind],
        step=Link(text=step.name, path=addresses.model(step.name) if own else ""),
        day="" if step.at is None else day(step.at),
        hash=step.hash,
        facts=step.facts,
        sources=[before.name for before in lineage.before(step.key)],
        api=_api(step.id) if step.kind != "model" else "",
        said=step.word == "publisher",
    )


def _api(record: str) -> str:
    kind = record.partition("_")[0]
    return f"{_API[kind]}{record}" if kind in _API else ""


def day(at: float) -> str:
    """
    >>> day(0)
    '1970-01-01'
    """
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d")
