"""The same instances across all models that were asked them, those that they differ on most first."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

from commonweal.web.site import addresses
from commonweal.web.site.listing import pager
from commonweal.web.site.page import HOME, Link, Page
from commonweal.web.site.samples import Brief, natural
from commonweal.web.site.state import Site

PER_PAGE = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class DisputedRow:
    """``marks`` are what came of the instance for each model, None where it was not asked."""

    id: str
    input: str
    right: int
    asked: int
    marks: Sequence[Brief | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class DisputedPage(Page):
    """``disagreed`` is how many of ``total`` instances came out otherwise for one model than for another; ``folders``
    are where the instances of each model's run lie."""

    template: ClassVar[str] = "disputed.html"

    name: str
    metric: str
    models: Sequence[Link]
    folders: Sequence[str]
    rows: Sequence[DisputedRow]
    total: int
    disagreed: int
    pager: Sequence[Link]


def pages(site: Site, name: str) -> Iterator[DisputedPage]:
    made = _Asked(site, name)
    for number in range(1, made.pages + 1):
        yield made.page(number)


def page(site: Site, name: str, number: int) -> DisputedPage | None:
    made = _Asked(site, name)
    return made.page(number) if 1 <= number <= made.pages else None


class _Asked:
    """The originals of a run's name, by instance and model; the first trial counts."""

    def __init__(self, site: Site, name: str) -> None:
        self._name = name
        self._runs = site.runs_of(name=name)
        self._briefs: dict[str, dict[str, Brief]] = {}
        for run in self._runs if len(self._runs) > 1 else ():
            for brief in site.samples(run).digest.originals:
                if brief.trial == 0:
                    self._briefs.setdefault(brief.id, {})[run.model] = brief
        self._spread = {key: _variance(found.values()) for key, found in self._briefs.items()}
        self._order = sorted(self._briefs, key=lambda key: (-self._spread[key], natural(key)))
        self.pages = -(-len(self._order) // PER_PAGE)

    def page(self, number: int) -> DisputedPage:
        first = self._runs[0]
        keys = self._order[(number - 1) * PER_PAGE : number * PER_PAGE]
        return DisputedPage(
            path=addresses.across(self._name, number),
            title=f"{self._name} across models",
            trail=(HOME, Link(text=first.scenario, path=addresses.scenario(first.scenario))),
            name=self._name,
            metric=first.main_metric,
            models=[Link(text=run.model, path=addresses.run(run.model, run.name)) for run in self._runs],
            folders=[addresses.folder(run.model, run.name) for run in self._runs],
            rows=[self._row(key) for key in keys],
            total=len(self._order),
            disagreed=sum(spread > 0 for spread in self._spread.values()),
            pager=pager(number, self.pages, lambda n: addresses.across(self._name, n)),
        )

    def _row(self, key: str) -> DisputedRow:
        found = self._briefs[key]
        return DisputedRow(
            id=key,
            input=next(iter(found.values())).input,
            right=sum(one.outcome == "right" for one in found.values()),
            asked=len(found),
            marks=[found.get(run.model) for run in self._runs],
        )


def _variance(briefs: Iterable[Brief]) -> float:
    """Of the main metric over the models; 0 where all have the same."""
    values = [one.value for one in briefs if one.value is not None]
    if len(set(values)) < 2:
        return 0.0
    mean = math.fsum(values) / len(values)
    return math.fsum([(value - mean) ** 2 for value in values]) / len(values)
