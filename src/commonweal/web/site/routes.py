"""The site, live: the same bytes as the export has, made anew when a run has changed.

Looks for changes when a page is asked for, and at most every few seconds; while a new state is read the others wait.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Lock
from typing import ClassVar

from fastapi import APIRouter, Request
from fastapi.responses import Response

from commonweal.core.clock import Clock
from commonweal.core.errors import DataError, NotFound
from commonweal.evals.exchange.reported import any_reported
from commonweal.evals.summary.release import INDEX
from commonweal.evals.summary.runs import SavedRun
from commonweal.web.site import addresses
from commonweal.web.site.book import PREFIXES, find
from commonweal.web.site.catalogue import Catalogue
from commonweal.web.site.files import FILES, router_of_files
from commonweal.web.site.label import Labels
from commonweal.web.site.model import ModelPage
from commonweal.web.site.page import PLACES, File, Link, Page
from commonweal.web.site.render import media_type, render
from commonweal.web.site.state import Site, load

_LOOK_SECONDS = 5.0
_KEPT_BYTES = 32 * 2**20
_OF_THE_HUB = ("models/", "models.html")
"""Where what the hub says stands, which is asked anew each time."""

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


@dataclass(frozen=True, slots=True, kw_only=True)
class DamagedPage(Page):
    """What stands in place of a page whose run cannot be read; the other pages are as they were."""

    template: ClassVar[str] = "damaged.html"

    message: str


class Kept:
    """The answers that were given last, as long as nothing has changed. Safe to be used by several threads."""

    def __init__(self) -> None:
        self._site: Site | None = None
        self._answers: OrderedDict[str, Response] = OrderedDict()
        self._size = 0
        self._lock = Lock()

    def get(self, site: Site, path: str) -> Response | None:
        with self._lock:
            if site is not self._site:
                return None
            if (found := self._answers.get(path)) is not None:
                self._answers.move_to_end(path)
            return found

    def put(self, site: Site, path: str, answer: Response) -> None:
        with self._lock:
            if site is not self._site:
                self._site, self._size = site, 0
                self._answers.clear()
            if path not in self._answers:
                self._answers[path] = answer
                self._size += len(answer.body)
            while self._size > _KEPT_BYTES:
                _, oldest = self._answers.popitem(last=False)
                self._size -= len(oldest.body)


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
        reported: Path | None = None,
    ) -> None:
        self._paths, self._clock, self._releases, self._places = paths, clock, releases, places
        self._catalogue, self._labels, self._reported = catalogue, labels, reported
        self._lock = Lock()
        self._site: Site | None = None
        self._kept = Kept()
        self._looked = float("-inf")

    def site(self) -> Site:
        """Raises NotFound where there is no run yet. While one thread looks what has changed, others are given what was
        there before."""
        if not self._lock.acquire(blocking=self._site is None) and self._site is not None:
            return self._site
        try:
            now = self._clock.now()
            if self._site is None or now - self._looked >= _LOOK_SECONDS:
                there = self._releases is not None and (self._releases / INDEX).is_file()
                releases = self._releases if there else None
                reported = self._reported if any_reported(self._reported) else None
                paths = [path for path in self._paths if path.is_dir()] if reported else self._paths
                self._site = load(
                    paths,
                    releases,
                    self._catalogue,
                    self._labels,
                    before=self._site,
                    reported=reported,
                )
                self._looked = self._clock.now()
            return self._site
        finally:
            self._lock.release()

    def runs_of(self, model: str) -> Sequence[SavedRun]:
        """The runs of a model as they are now, none where there is no run at all."""
        try:
            return self.site().runs_of(model=model)
        except NotFound:
            return ()

    def answer(self, path: str, base: str = "") -> Response:
        """The page at a path; ``base`` is the address that the hub was asked at."""
        try:
            site = self.site()
        except NotFound:
            return self._answer(self._without_runs(path), base)
        key = self._key(site, path)
        if (kept := self._kept.get(site, key)) is not None:
            return kept
        try:
            page = find(site, path)
            answer = self._answer(page, base)
        except DataError as error:
            where, _, why = error.message.partition(": ")
            message = f"{'/'.join(Path(where).parts[-3:])}: {why}"  # not where on the disk
            return self._answer(DamagedPage(path=path, title="Damaged", message=message), base, status=500)
        if not path.startswith(_OF_THE_HUB):
            self._kept.put(site, key, answer)
        return answer

    def _key(self, site: Site, path: str) -> str:
        """The board of all also has the models that nobody has run: it changes with their names."""
        return path if path != "index.html" else "\n".join((path, *site.served_slugs().values()))

    def _answer(self, page: Page | File, base: str, status: int = 200) -> Response:
        if isinstance(page, ModelPage):
            page = replace(page, base=base.rstrip("/"))
        return Response(
            render(page, self._places), status_code=status, media_type=media_type(page), headers=HEADERS
        )

    def _without_runs(self, path: str) -> Page | File:
        """The board says what makes a run; the hub's models are there all the same."""
        if path == "index.html":
            return EmptyPage(path=path, title="Leaderboard")
        if not path.startswith(("models/", "schemas/")):
            raise NotFound(f"no page '{path[:120]}'", hint="there is no run yet: commonweal eval makes one")
        return find(Site((), catalogue=self._catalogue, labels=self._labels), path)


def router_of(live: LiveSite) -> APIRouter:
    """The routes of a site, at the root of a hub."""
    router = router_of_models(live)

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
        def page(path: str) -> Response:
            return live.answer(f"{prefix}/{path}")

    for prefix in PREFIXES:
        below(prefix)
    router.include_router(router_of_files(FILES, HEADERS))
    return router


def router_of_models(live: LiveSite) -> APIRouter:
    """The pages of models, and their labels with the schema: they are there on a hub that shows no evaluations too."""
    router = APIRouter(include_in_schema=False)

    @router.get(f"/{addresses.LABEL_SCHEMA}")
    def schema() -> Response:
        return live.answer(addresses.LABEL_SCHEMA)

    @router.get("/models/{path:path}")
    def page(path: str, request: Request) -> Response:
        return live.answer(f"models/{path}", str(request.base_url))

    return router
