"""Lists of a run's samples: all, those that were right, wrong or failed, those of a perturbation. Linked pages, so that
a filter needs no script and has an address."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from commonweal.evals.summary.runs import SavedRun
from commonweal.web.site import addresses
from commonweal.web.site.addresses import slug
from commonweal.web.site.page import HOME, Link, Page
from commonweal.web.site.samples import Brief, Digest, Outcome
from commonweal.web.site.state import Site

PER_PAGE = 200

OUTCOMES: Mapping[Outcome, str] = {
    "right": "right",
    "wrong": "wrong",
    "partly": "partly right",
    "measured": "measured",
    "unscored": "no number of its own",
    "failed": "failed",
}

MARKS: Mapping[Outcome, str] = {
    "right": "✓",
    "wrong": "✗",
    "partly": "◐",
    "measured": "·",
    "unscored": "○",
    "failed": "!",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """A filter. ``name`` stands in the address."""

    name: str
    text: str
    briefs: Sequence[Brief]

    @property
    def pages(self) -> int:
        return max(1, -(-len(self.briefs) // PER_PAGE))


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewLink:
    link: Link
    count: int
    here: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ListingPage(Page):
    template: ClassVar[str] = "listing.html"

    view: str
    about: str
    metric: str
    views: Sequence[ViewLink]
    items: Sequence[Brief]
    total: int
    first: int
    pager: Sequence[Link]
    trials: bool


def views(digest: Digest) -> list[View]:
    """The filters of a run that let something through; all first."""
    found = [View(name="all", text="all", briefs=digest.originals)]
    for name, text in OUTCOMES.items():
        whose = digest.briefs if name == "failed" else digest.originals
        found.append(View(name=name, text=text, briefs=[one for one in whose if one.outcome == name]))
    found.append(View(name="changed", text="changed by a perturbation", briefs=_changed(digest)))
    for form in digest.perturbations:
        briefs = [one for one in digest.briefs if one.perturbation == form]
        found.append(View(name=f"by-{slug(form)}", text=form, briefs=briefs))
    return [view for view in found if view.briefs or view.name == "all"]


def _changed(digest: Digest) -> list[Brief]:
    """The perturbed samples that came out otherwise than their original."""
    originals = {(one.id, one.trial): one.outcome for one in digest.originals}
    return [
        one
        for one in digest.briefs
        if one.perturbation and originals.get((one.id, one.trial), one.outcome) != one.outcome
    ]


def view_links(run: SavedRun, found: Sequence[View], here: str = "") -> list[ViewLink]:
    return [
        ViewLink(
            link=Link(text=view.text, path=addresses.listing(run.model, run.name, view.name, 1)),
            count=len(view.briefs),
            here=view.name == here,
        )
        for view in found
    ]


def anchor(instance: str) -> str:
    """Where an instance stands on its page."""
    return f"i-{slug(instance)}"


def pages(site: Site, run: SavedRun) -> Iterator[ListingPage]:
    found = views(site.samples(run).digest)
    for view in found:
        for number in range(1, view.pages + 1):
            yield _page(run, found, view, number)


def page(site: Site, run: SavedRun, name: str, number: int) -> ListingPage | None:
    found = views(site.samples(run).digest)
    view = next((view for view in found if view.name == name), None)
    return _page(run, found, view, number) if view and 1 <= number <= view.pages else None


def _page(run: SavedRun, found: Sequence[View], view: View, number: int) -> ListingPage:
    first = (number - 1) * PER_PAGE
    return ListingPage(
        path=addresses.listing(run.model, run.name, view.name, number),
        title=f"{run.name}, {run.model}: {view.text}",
        trail=(*way(run), Link(text="Run", path=addresses.run(run.model, run.name))),
        view=view.name,
        about=view.text,
        metric=run.main_metric,
        views=view_links(run, found, view.name),
        items=view.briefs[first : first + PER_PAGE],
        total=len(view.briefs),
        first=first + 1,
        pager=pager(number, view.pages, lambda n: addresses.listing(run.model, run.name, view.name, n)),
        trials=any(one.trial for one in view.briefs),
    )


def way(run: SavedRun) -> tuple[Link, ...]:
    """From the board to a run."""
    return (
        HOME,
        Link(text=run.scenario, path=addresses.scenario(run.scenario)),
        Link(text=run.model, path=addresses.model(run.model)),
    )


def pager(number: int, pages: int, path: object) -> list[Link]:
    """Links to the first, the neighbouring and the last pages; the page itself leads nowhere, a gap is an ellipsis."""
    assert callable(path)
    if pages < 2:
        return []
    near = sorted({1, pages, *range(max(1, number - 2), min(pages, number + 2) + 1)})
    made: list[Link] = []
    for i, n in enumerate(near):
        if i and n - near[i - 1] > 1:
            made.append(Link(text="…"))
        made.append(Link(text=str(n), path="" if n == number else path(n)))
    return made
