"""Two models, paired: who is better at what by how much, and the instances that came out otherwise."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from markupsafe import Markup

from commonweal.evals.metrics.registry import DEFINITIONS
from commonweal.evals.summary.comparison import Compared, compare
from commonweal.web.site import addresses
from commonweal.web.site.charts import Bar, differences
from commonweal.web.site.listing import anchor
from commonweal.web.site.page import HOME, Link, Page
from commonweal.web.site.samples import Brief, natural
from commonweal.web.site.state import Site

FLIPS = 150
"""Instances of each side on a page of those that flipped."""

_ALPHA = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairing:
    """One scenario of both. ``better`` is the model that is better beyond noise, "" for none."""

    name: str
    metric: str
    higher_is_better: bool
    compared: Compared
    low: float | None
    high: float | None
    p: float | None
    better: str
    runs: tuple[Link, Link]
    flips: Link | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonPage(Page):
    template: ClassVar[str] = "comparison.html"

    a: Link
    b: Link
    pairings: Sequence[Pairing]
    won: tuple[int, int]
    undecided: int
    only: tuple[Sequence[str], Sequence[str]]
    chart: Markup


@dataclass(frozen=True, slots=True, kw_only=True)
class Flip:
    id: str
    input: str
    outputs: tuple[str, str]
    paths: tuple[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class FlipsPage(Page):
    template: ClassVar[str] = "flips.html"

    name: str
    metric: str
    a: Link
    b: Link
    sides: Sequence[tuple[str, Sequence[Flip], int]]
    p: float | None


def pages(site: Site, a: str, b: str) -> Iterator[ComparisonPage | FlipsPage]:
    """The page of two models, and what flipped on each run that both have."""
    made = page(site, a, b)
    yield made
    for one in made.pairings:
        if one.flips is not None:
            yield _flips_page(site, a, b, one.compared)


def page(site: Site, a: str, b: str) -> ComparisonPage:
    return _page(site, a, b, site.compared(a, b) if _shared(site, a, b) else ())


def flips_page(site: Site, a: str, b: str, name: str) -> FlipsPage | None:
    one = compared_on(site, a, b, name)
    return _flips_page(site, a, b, one) if one is not None and _has_flips(one) else None


def compared_on(site: Site, a: str, b: str, name: str) -> Compared | None:
    """Two models on one run; None where not both have it."""
    if (a, name) not in site.by_place or (b, name) not in site.by_place:
        return None
    [one] = compare([site.by_place[a, name]], [site.by_place[b, name]])
    return one


def flips(site: Site, a: str, b: str, one: Compared) -> Iterator[FlipsPage]:
    """The page of what flipped, where something did."""
    if _has_flips(one):
        yield _flips_page(site, a, b, one)


def _shared(site: Site, a: str, b: str) -> bool:
    return not {run.name for run in site.runs_of(model=a)}.isdisjoint(
        run.name for run in site.runs_of(model=b)
    )


def _has_flips(one: Compared) -> bool:
    return one.flips is not None and any(one.flips)


def _page(site: Site, a: str, b: str, found: Sequence[Compared]) -> ComparisonPage:
    pairings = [_pairing(a, b, one) for one in found]
    names = [{run.name for run in site.runs_of(model=model)} for model in (a, b)]
    return ComparisonPage(
        path=addresses.comparison(a, b),
        title=f"{a} and {b}",
        trail=(HOME,),
        a=Link(text=a, path=addresses.model(a)),
        b=Link(text=b, path=addresses.model(b)),
        pairings=pairings,
        won=(sum(one.better == a for one in pairings), sum(one.better == b for one in pairings)),
        undecided=sum(not one.better for one in pairings),
        only=(sorted(names[0] - names[1]), sorted(names[1] - names[0])),
        chart=differences(
            f"{b} minus {a}, with 95% intervals",
            [
                Bar(
                    name=one.name,
                    value=one.compared.difference.mean,
                    low=one.low,
                    high=one.high,
                    strong=bool(one.better),
                )
                for one in pairings
                if one.compared.difference is not None
            ],
        ),
    )


def _pairing(a: str, b: str, one: Compared) -> Pairing:
    definition = DEFINITIONS.get(one.metric) or DEFINITIONS.get(one.metric.partition("@")[0])
    higher = definition.higher_is_better if definition else True
    gap = one.difference
    known = gap is not None and gap.n > 1
    return Pairing(
        name=one.name,
        metric=one.metric,
        higher_is_better=higher,
        compared=one,
        low=gap.low if gap and known else None,
        high=gap.high if gap and known else None,
        p=gap.p if gap else None,
        better=(b if (gap.mean > 0) == higher else a) if gap and gap.p < _ALPHA and gap.mean else "",
        runs=(
            Link(text=a, path=addresses.run(a, one.name)),
            Link(text=b, path=addresses.run(b, one.name)),
        ),
        flips=Link(text=_flips_text(one), path=addresses.flips(a, b, one.name)) if _has_flips(one) else None,
    )


def _flips_text(one: Compared) -> str:
    assert one.flips is not None
    return f"{len(one.flips[0]):,} / {len(one.flips[1]):,}"


def _flips_page(site: Site, a: str, b: str, one: Compared) -> FlipsPage:
    assert one.flips is not None
    runs = site.by_place[a, one.name], site.by_place[b, one.name]
    left, right = (
        {brief.id: brief for brief in reversed(site.samples(run).digest.originals)} for run in runs
    )
    better = _pairing(a, b, one).higher_is_better
    sides = one.flips if better else (one.flips[1], one.flips[0])
    return FlipsPage(
        path=addresses.flips(a, b, one.name),
        title=f"{one.name}: {a} and {b}",
        trail=(HOME, Link(text=f"{a} and {b}", path=addresses.comparison(a, b))),
        name=one.name,
        metric=one.metric,
        a=Link(text=a, path=addresses.run(a, one.name)),
        b=Link(text=b, path=addresses.run(b, one.name)),
        sides=[
            (
                model,
                [_flip(a, b, one.name, key, left, right) for key in sorted(keys, key=natural)[:FLIPS]],
                len(keys),
            )
            for model, keys in zip((a, b), sides, strict=True)
        ],
        p=one.p_flips,
    )


def _flip(a: str, b: str, name: str, key: str, left: Mapping[str, Brief], right: Mapping[str, Brief]) -> Flip:
    return Flip(
        id=key,
        input=left[key].input,
        outputs=(left[key].output, right[key].output),
        paths=(
            f"{addresses.shard(a, name, left[key].shard)}#{anchor(key)}",
            f"{addresses.shard(b, name, right[key].shard)}#{anchor(key)}",
        ),
    )
