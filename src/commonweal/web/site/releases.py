"""The releases: what was frozen when, and what changed from one to the next, and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from commonweal.web.site import addresses
from commonweal.web.site.page import HOME, Page
from commonweal.web.site.state import Site

CHANGES = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Changed:
    kind: str
    model: str
    run: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    name: str
    created: str
    hash: str
    before: str
    runs: int
    models: int
    changes: Sequence[Changed]
    left_out: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleasesPage(Page):
    template: ClassVar[str] = "releases.html"

    releases: Sequence[Release]


def page(site: Site) -> ReleasesPage:
    return ReleasesPage(
        path=addresses.RELEASES,
        title="Releases",
        trail=(HOME,),
        releases=[_release(one) for one in site.releases],
    )


def _release(told: Mapping[str, Any]) -> Release:
    changes = told["changes"]
    return Release(
        name=told["name"],
        created=told["created"],
        hash=told["hash"],
        before=told["before"] or "",
        runs=len(told["runs"]),
        models=len({run["model"] for run in told["runs"]}),
        changes=[Changed(**change) for change in changes[:CHANGES]],
        left_out=max(0, len(changes) - CHANGES),
    )
