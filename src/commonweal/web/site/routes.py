"""The site, live: the same bytes as the export has, made anew when a run has changed.

Looks for changes when a page is asked for, and at most every few seconds; while a new state is read the others wait.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Lock
from typing import ClassVar

from fastapi import APIRouter, Request
from fastapi.responses import Response

from commonweal.core.clock import Clock
from commonweal.core.errors import NotFound
from commonweal.evals.summary.runs import SavedRun
from commonweal.web.site.book import PREFIXES, find
from commonweal.web.site.catalogue import Catalogue
from commonweal.web.site.files import FILES, router_of_files
from commonweal.web.site.label import Labels
from commonweal.web.site.model import ModelPage
from commonweal.web.site.page import PLACES, File, Link, Page
from commonweal.web.site.render import media_type, render
from commonweal.web.site.state import Site, fingerprint, load

_LOOK_SECONDS = 5.0

_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
HEADERS = {
    "Content-Security-Policy": _POLICY,
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-cache",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class EmptyPage(Page):
    """What stands in place of a board while there is no run."""

    template: ClassVar[str] = "empty.html"


class LiveSite:
    """The site of some folders as it is now, with what the hub says of its models. ``places`` are the links above every
    page."""

    def __init__(
        self,
        paths: Sequence[Path],
        clock: Clock,
        releases: Path | None = None,
        places: Sequence[Link] = PLACES,
        catalogue: Catalogue | None = None,
        labels: Labels | None = None,
    ) -> None:
        self._paths, self._clock, self._releases, self._places = paths, clock, releases, places
        self._catalogue, self._labels = catalogue, labels
        self._lock = Lock()
        self._site: Site | None = None
        self._seen: frozenset[tuple[str, int]] = frozenset()
        self._looked = float("-inf")

    def site(self) -> Site:
        """Raises NotFound where there is no run yet, DataError where one cannot be read."""
        with self._lock:
            now = self._clock.now()
            if self._site is None or now - self._looked >= _LOOK_SECONDS:
                seen = fingerprint([*self._paths, *([self._releases] if self._releases else [])])
                if self._site is None or seen != self._seen:
                    self._site = load(self._paths, self._releases, self._catalogue, self._labels)
                self._seen, self._looked = seen, now
            return self._site

    def runs_of(self, model: str) -> Sequence[SavedRun]:
        """The runs of a model as they are now, none where there is no run at all."""
        try:
            return self.site().runs_of(model=model)
        except NotFound:
            return ()

    def answer(self, path: str, base: str = "") -> Response:
        """The page at a path; ``base`` is the address that the hub was asked at."""
        try:
            page: Page | File = find(self.site(), path)
        except NotFound:
            if self._site is not None:
                raise
            page = self._without_runs(path)
        if isinstance(page, ModelPage):
            page = replace(page, base=base.rstrip("/"))
        return Response(render(page, self._places), media_type=media_type(page), headers=HEADERS)

    def _without_runs(self, path: str) -> Page | File:
        """The board says what makes a run; the hub's models are there all the same."""
        if path == "index.html":
            return EmptyPage(path=path, title="Leaderboard")
        if not path.startswith("models/"):
            raise NotFound(f"no page '{path[:120]}'", hint="there is no run yet: commonweal eval makes one")
        return find(Site((), catalogue=self._catalogue, labels=self._labels), path)


def router_of(live: LiveSite) -> APIRouter:
    """The routes of a site, at the root of a hub."""
    router = APIRouter(include_in_schema=False)

    # Sync, so that they run in threads: reading Parquet would hold up all others.
    @router.get("/")
    @router.get("/index.html")
    def board() -> Response:
        return live.answer("index.html")

    @router.get("/releases.html")
    def releases() -> Response:
        return live.answer("releases.html")

    def below(prefix: str) -> None:
        @router.get(f"/{prefix}/{{path:path}}")
        def page(path: str, request: Request) -> Response:
            return live.answer(f"{prefix}/{path}", str(request.base_url))

    for prefix in PREFIXES:
        below(prefix)
    router.include_router(router_of_files(FILES, HEADERS))
    return router
