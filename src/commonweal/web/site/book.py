"""All pages of a site: which there are, in which order, and which one a path means.

Invariant: ``find(site, page.path)`` is the same page as the one that ``pages(site)`` gives, for each of them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from commonweal.core.errors import NotFound
from commonweal.web.site import (
    addresses,
    comparison,
    disputed,
    earlier,
    instances,
    label,
    leaderboard,
    listing,
    model,
    pictures,
    releases,
    reported,
    run,
    scenario,
)
from commonweal.web.site.addresses import slug
from commonweal.web.site.files import FILES
from commonweal.web.site.page import MODELS, File, Page
from commonweal.web.site.scored import ScoredRun
from commonweal.web.site.state import Site

Made = Page | File


def pages(site: Site) -> Iterator[Made]:
    """Every page and file."""
    yield from first_pages(site)
    for scenario_name in site.scenario_slugs.values():
        yield scenario.page(site, scenario_name)
    for name in site.name_slugs.values():
        for each in site.runs_of(name=name):
            yield from run_pages(site, each)
        yield from disputed.pages(site, name)
    for a, b in site.pairs:
        yield from comparison.pages(site, a, b)


def first_pages(site: Site) -> Iterator[Made]:
    """What is not of one scenario or run: boards, models, releases."""
    yield from FILES.values()
    for group in site.groups:
        yield home(site) if group == "all" else leaderboard.page(site, group)
        yield from leaderboard.files(site, group)
    yield model.models_page(site)
    for one in site.every_model():
        if (found := model.page(site, one)) is not None:
            yield found
            yield from label.pages(site, one)
    yield label.SCHEMA
    yield releases.page(site)
    yield from reported.pages(site)


def home(site: Site) -> Page:
    """The board of all runs; on a site that has none, what others reported."""
    others = reported.index(site, "index.html") if not site.runs else None
    return others or leaderboard.page(site, "all")


def run_pages(site: Site, each: ScoredRun) -> Iterator[Made]:
    """The pages of one run. What is read of it is read once, as its pages stand together."""
    yield run.page(site, each)
    yield from listing.pages(site, each)
    yield from earlier.pages(site, each)
    yield from instances.pages(site, each)


def find(site: Site, path: str) -> Made:
    """The page at a path below the root; "" is the board. Raises NotFound."""
    for pattern, make in _WAYS:
        match = pattern.fullmatch(path or "index.html")
        if match and (found := make(site, *match.groups())) is not None:
            return found
    raise NotFound(f"no page '{path[:120]}'", hint="the board is at index.html")


def _board(site: Site, part: str) -> Made | None:
    group = {slug(name): name for name in site.groups}.get(part)
    return leaderboard.page(site, group) if group and group != "all" else None


def _board_file(site: Site, part: str, kind: str) -> Made | None:
    group = {slug(name): name for name in site.groups}.get(part)
    return leaderboard.file(site, group, kind) if group else None


def _scenario(site: Site, part: str) -> Made | None:
    name = site.scenario_slugs.get(part)
    return scenario.page(site, name) if name else None


def _model(site: Site, part: str) -> Made | None:
    name = site.model_slugs.get(part) or site.served_slugs().get(part)
    return model.page(site, name) if name else None


def _label(site: Site, part: str, kind: str) -> Made | None:
    name = site.model_slugs.get(part) or site.served_slugs().get(part)
    found = label.pages(site, name) if name else ()
    return next((made for made in found if made.path.endswith(kind)), None)


def _disputed(site: Site, part: str, number: str) -> Made | None:
    name = site.name_slugs.get(part)
    return disputed.page(site, name, int(number)) if name else None


def _pair(site: Site, a: str, b: str) -> tuple[str, str] | None:
    """Two models by their slugs, in the order that the address of their page has."""
    return (
        (site.model_slugs[a], site.model_slugs[b])
        if a in site.model_slugs and b in site.model_slugs and a < b
        else None
    )


def _comparison(site: Site, a: str, b: str) -> Made | None:
    pair = _pair(site, a, b)
    return comparison.page(site, *pair) if pair else None


def _flips(site: Site, a: str, b: str, part: str) -> Made | None:
    pair, name = _pair(site, a, b), site.name_slugs.get(part)
    return comparison.flips_page(site, *pair, name) if pair and name else None


def _run(site: Site, a: str, b: str) -> Made | None:
    found = site.run_slugs.get((a, b))
    return run.page(site, found) if found else None


def _earlier(site: Site, a: str, b: str, number: str) -> Made | None:
    found = site.run_slugs.get((a, b))
    return earlier.page(site, found, int(number)) if found else None


def _shard(site: Site, a: str, b: str, number: str) -> Made | None:
    found = site.run_slugs.get((a, b))
    return instances.page(site, found, int(number)) if found else None


def _listing(site: Site, a: str, b: str, view: str, number: str) -> Made | None:
    found = site.run_slugs.get((a, b))
    return listing.page(site, found, view, int(number)) if found else None


def _text(site: Site, a: str, b: str, number: str, name: str) -> Made | None:
    found = site.run_slugs.get((a, b))
    return instances.text_file(site, found, int(number), name) if found else None


def _picture(site: Site, a: str, b: str, name: str, ending: str) -> Made | None:
    found = site.run_slugs.get((a, b))
    return pictures.file(found, name, ending) if found else None


_PART, _NUMBER = "([a-z0-9][a-z0-9_.-]*)", "([1-9][0-9]{0,6})"

_WAYS: tuple[tuple[re.Pattern[str], Callable[..., Made | None]], ...] = (
    (re.compile(r"index\.html"), home),
    (re.compile(rf"static/{_PART}"), lambda site, name: FILES.get(name)),
    (re.compile(rf"boards/{_PART}\.html"), _board),
    (re.compile(rf"boards/{_PART}\.(csv|json|parquet)"), _board_file),
    (re.compile(rf"scenarios/{_PART}\.html"), _scenario),
    (re.compile(re.escape(MODELS.path)), lambda site: model.models_page(site)),
    (re.compile(rf"models/{_PART}\.html"), _model),
    (re.compile(rf"models/{_PART}/label\.(html|json|md)"), _label),
    (re.compile(re.escape(addresses.LABEL_SCHEMA)), lambda site: label.SCHEMA),
    (re.compile(re.escape(addresses.RELEASES)), lambda site: releases.page(site)),
    (re.compile(r"reported/index\.html"), reported.index),
    (re.compile(rf"reported/{_PART}/{_PART}\.html"), reported.find),
    (re.compile(rf"reported/{_PART}\.(csv|json|parquet)"), reported.find_file),
    (re.compile(rf"across/{_PART}/{_NUMBER}\.html"), _disputed),
    (re.compile(rf"compare/{_PART}/{_PART}\.html"), _comparison),
    (re.compile(rf"compare/{_PART}/{_PART}/{_PART}\.html"), _flips),
    (re.compile(rf"runs/{_PART}/{_PART}/index\.html"), _run),
    (re.compile(rf"runs/{_PART}/{_PART}/earlier-{_NUMBER}\.html"), _earlier),
    (re.compile(rf"runs/{_PART}/{_PART}/instances-{_NUMBER}\.html"), _shard),
    (re.compile(rf"runs/{_PART}/{_PART}/([a-z0-9_.-]+)-{_NUMBER}\.html"), _listing),
    (re.compile(rf"runs/{_PART}/{_PART}/text-{_NUMBER}/([a-z0-9-]+)\.txt"), _text),
    (re.compile(rf"runs/{_PART}/{_PART}/images/([0-9a-f]{{64}})\.(png|jpg|gif|webp)"), _picture),
)

PREFIXES = ("boards", "reported", "scenarios", "across", "compare", "runs")
"""The first parts of the paths of pages, but for those of models."""
