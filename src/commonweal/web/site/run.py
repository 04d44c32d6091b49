"""A run: its key metrics first, then how it was asked, what it cost, where it ran, how to do it again, its samples."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from markupsafe import Markup

from commonweal.core.errors import ConfigError
from commonweal.evals.aspects import AspectCell, cells, unmeasured
from commonweal.evals.metrics.registry import DEFINITIONS
from commonweal.evals.placeless import placeless, placeless_command
from commonweal.evals.sample import Stat
from commonweal.evals.spec import RunSpec
from commonweal.evals.summary.runs import SavedRun
from commonweal.web.site import addresses
from commonweal.web.site.charts import Bar, bars
from commonweal.web.site.listing import ViewLink, view_links, views, way
from commonweal.web.site.page import Link, Page
from commonweal.web.site.samples import Brief
from commonweal.web.site.scored import when
from commonweal.web.site.state import Site
from commonweal.web.site.words import share, span

_SHOWN = 25
_SUBSETS = 60
_STATS = 400

Facts = Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunPage(Page):
    """``others`` are the runs of the same name of other models, each with the page that compares the two models, "" for
    none."""

    template: ClassVar[str] = "run.html"

    name: str
    model: Link
    scenario: Link
    about: str
    status: str
    reason: str
    note: str
    metric: str
    main: Stat | None
    aspects: Sequence[tuple[str, AspectCell]]
    forms: Sequence[Stat]
    chart: Markup
    subsets: Sequence[Stat]
    stats: Sequence[Stat]
    stats_left: int
    scored: int
    expected: int
    failures: Facts
    cost: Facts
    adapter: Facts
    environment: Facts
    command: str
    views: Sequence[ViewLink]
    items: Sequence[Brief]
    earlier: Sequence[Link]
    others: Sequence[tuple[Link, str]]
    across: str


def page(site: Site, run: SavedRun) -> RunPage:
    told, coverage = run.run, run.run.get("coverage") or {}
    digest = site.samples(run).digest
    found = views(digest)
    forms = _forms(run)
    whole = [stat for stat in run.stats if not stat.subset]
    partners = site.partners(run.model)
    return RunPage(
        path=addresses.run(run.model, run.name),
        title=f"{run.name}, {run.model}",
        trail=way(run),
        name=run.name,
        model=Link(text=run.model, path=addresses.model(run.model)),
        scenario=Link(text=run.scenario, path=addresses.scenario(run.scenario)),
        about=str(told["scenario"].get("description", "")),
        status=str(told.get("status", "unfinished")),
        reason=placeless(str(told.get("reason") or run.reason)),
        note=placeless(str(told.get("note") or "")),
        metric=run.main_metric,
        main=run.stat(run.main_metric),
        aspects=list(aspects(run).items()),
        forms=forms,
        chart=bars(f"{run.main_metric}, original and perturbed, with 95% intervals", _bars(forms)),
        subsets=[s for s in run.stats if s.subset and s.name == run.main_metric and not s.perturbation][
            :_SUBSETS
        ],
        stats=whole[:_STATS],
        stats_left=max(0, len(whole) - _STATS),
        scored=int(coverage.get("scored", 0)),
        expected=int(coverage.get("expected", 0)),
        failures=[(str(kind), f"{n:,}") for kind, n in (coverage.get("failures") or {}).items()],
        cost=list(_cost(told)),
        adapter=list(_adapter(told["spec"])),
        environment=list(_environment(told)),
        command=placeless_command(str(told.get("command") or "")),
        views=view_links(run, found),
        items=found[0].briefs[:_SHOWN],
        earlier=[
            Link(text=when(before), path=addresses.earlier(run.model, run.name, number))
            for number, before in enumerate(site.earlier(run), 1)
        ],
        others=[
            (
                Link(text=other.model, path=addresses.run(other.model, other.name)),
                addresses.comparison(run.model, other.model) if other.model in partners else "",
            )
            for other in site.runs_of(name=run.name)
            if other.model != run.model
        ],
        across=addresses.across(run.name, 1) if len(site.runs_of(name=run.name)) > 1 and digest.ids else "",
    )


def aspects(run: SavedRun) -> Mapping[str, AspectCell]:
    """The seven cells of a run, whatever came of it."""
    if not run.stats:
        return {str(name): cell for name, cell in unmeasured(run.reason).items()}
    try:
        spec = RunSpec.from_json(dict(run.run["spec"]))
    except (KeyError, TypeError, ValueError, ConfigError) as error:
        return {str(name): cell for name, cell in unmeasured(f"its spec cannot be read: {error}").items()}
    return {str(name): cell for name, cell in cells(spec, run.stats, DEFINITIONS).items()}


def _forms(run: SavedRun) -> list[Stat]:
    """The main metric of the originals, of each perturbation and in the worst case."""
    split = main.split if (main := run.stat(run.main_metric)) else "test"
    return [s for s in run.stats if s.name == run.main_metric and not s.subset and s.split == split]


def _bars(forms: Sequence[Stat]) -> list[Bar]:
    return [
        Bar(
            name=stat.perturbation or "original",
            value=stat.mean,
            low=stat.low,
            high=stat.high,
            strong=not stat.perturbation,
        )
        for stat in forms
        if stat.mean is not None
    ]


def _cost(told: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    cost = told.get("cost") or {}
    for name in ("requests", "cached", "prompt_tokens", "completion_tokens"):
        if cost.get(name) is not None:
            yield name.replace("_", " "), f"{cost[name]:,}"
    if cost.get("dollars") is not None:
        yield "dollars", f"{cost['dollars']:.4f}"
    if cost.get("joules") is not None:
        yield "joules", f"{cost['joules']:,.0f}"
    if isinstance(pictures := told.get("pictures"), dict):
        yield "pictures", f"{pictures.get('kept', 0)} kept, {pictures.get('left_out', 0)} left out"
    if told.get("seconds") is not None:
        yield "time", span(float(told["seconds"]))
    asked = told.get("instances") or {}
    if asked.get("total"):
        yield "instances", f"{asked['asked']:,} of {asked['total']:,}"
    coverage = told.get("coverage") or {}
    if coverage.get("expected"):
        yield (
            "scored",
            f"{coverage['scored']:,} of {coverage['expected']:,} ({share(float(coverage['share']))})",
        )


def _adapter(spec: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, value in (spec.get("adaptation") or {}).items():
        if value not in ("", [], None, False):
            yield name.replace("_", " "), _plain(value)
    for name in ("args", "metrics", "perturbations", "max_instances", "seed", "version", "rows"):
        if spec.get(name) not in (None, [], {}, ""):
            yield name.replace("_", " "), _plain(spec[name])


def _environment(told: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name in ("endpoint", "judge", "answered_by", "started", "updated", "hash"):
        if told.get(name):
            yield name.replace("_", " "), _plain(told[name])
    for name, value in (told.get("environment") or {}).items():
        yield name.replace("_", " "), _plain(value)
    able = {name: value for name, value in (told.get("abilities") or {}).items() if value}
    if able:
        yield "abilities", _plain(able)
    for source in (told.get("data") or {}).get("sources", ()):
        yield "data", " ".join(_plain(part) for part in source.values() if part)
    for missed in (told.get("data") or {}).get("missed", ()):
        yield "not found", _plain(missed)


def _plain(value: Any) -> str:
    if isinstance(value, str):
        told = placeless(value)
        return json.dumps(told, ensure_ascii=False)[1:-1] if "\n" in told else told
    if isinstance(value, list):
        return ", ".join(map(_plain, value))
    if isinstance(value, dict):
        return ", ".join(f"{name} {_plain(one)}" for name, one in value.items())
    return str(value)
