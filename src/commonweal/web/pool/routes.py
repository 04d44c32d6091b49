"""The pool's pages over HTTP: HTML for all, news as Server-Sent Events, and what is one's own for who sends a key."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Annotated

from fastapi import APIRouter, Header, Query, Request
from fastapi.responses import RedirectResponse, Response
from starlette.concurrency import run_in_threadpool

from commonweal.core.clock import Clock
from commonweal.core.database import Database
from commonweal.core.errors import NotAuthorized, NotFound
from commonweal.pool.access import Caller
from commonweal.pool.api.context import authenticate
from commonweal.web.pool import addresses, yours
from commonweal.web.pool.events import SILENCE_SECONDS, EventStream, stream
from commonweal.web.pool.job import JobPage
from commonweal.web.pool.join import JoinPage
from commonweal.web.pool.newsroom import News, Newsroom
from commonweal.web.pool.pages import PoolPages
from commonweal.web.pool.render import parts, piece, render
from commonweal.web.pool.source import Source
from commonweal.web.site.files import files_of, router_of_files
from commonweal.web.site.page import Link, Page
from commonweal.web.site.render import HTML
from commonweal.web.site.routes import HEADERS as SITE_HEADERS

HEADERS = {
    **SITE_HEADERS,
    "Content-Security-Policy": SITE_HEADERS["Content-Security-Policy"] + "; connect-src 'self'",
}
_LONGEST_ID = 10
"""Digits of the number of an event."""
_STREAM_HEADERS = {**HEADERS, "Cache-Control": "no-store", "X-Accel-Buffering": "no"}
_PRIVATE_HEADERS = {**HEADERS, "Cache-Control": "no-store"}

Before = Annotated[int | None, Query(ge=0, le=2**62)]
Key = Annotated[str | None, Header(alias="authorization")]


def router_of_pool(database: Database, clock: Clock, places: Sequence[Link]) -> APIRouter:
    """The routes below ``/pool``, beside the pool's API. ``places`` are the links above every page."""
    router = APIRouter(include_in_schema=False)
    pages = PoolPages(database, clock)
    newsroom = Newsroom(lambda path: news_of(pages.page(path)))

    @router.get("/pool")
    @router.get("/pool/")
    def pool(request: Request) -> Response:
        return RedirectResponse(f"{request.scope.get('root_path', '')}/{addresses.OVERVIEW}", 307)

    # Sync, so that it runs in threads: the database may take its time.
    @router.get("/pool/{name:path}.html")
    def page(name: str, request: Request) -> Response:
        found = pages.page(f"pool/{name}.html")
        if isinstance(found, JoinPage):
            found = replace(found, hub=str(request.base_url).rstrip("/"))
        return Response(render(found, places, clock.now()), media_type=HTML, headers=HEADERS)

    @router.get("/pool/{name:path}.events")
    async def news(
        name: str,
        after: Annotated[int, Query(ge=-1, le=2**31)] = -1,
        last_event_id: Annotated[str | None, Header()] = None,
    ) -> Response:
        path = f"pool/{name}.html"
        if not refresh_of(await run_in_threadpool(pages.page, path)):
            raise NotFound(f"page '{path[:120]}' does not change")
        seen = seen_by(last_event_id, after)
        newsroom.check()
        followed = stream(newsroom.follow(path, silence=SILENCE_SECONDS), seen)
        return EventStream(followed, media_type="text/event-stream", headers=_STREAM_HEADERS)

    def own(request: Request, authorization: str | None, make: Callable[[Source, Caller], bytes]) -> Response:
        caller = authenticate(request, authorization)
        if caller.role == "join":
            raise NotAuthorized("a join token owns nothing", hint="sign in with your own key, or a machine's")
        with pages.source() as source:
            return Response(make(source, caller), media_type=HTML, headers=_PRIVATE_HEADERS)

    @router.get("/pool/yours.part")
    def mine(request: Request, before: Before = None, authorization: Key = None) -> Response:
        def make(source: Source, caller: Caller) -> bytes:
            found = yours.yours(source, caller, before)
            return piece("yours.part.html", yours.page(source), mine=found, books=found.books)

        return own(request, authorization, make)

    @router.get("/pool/machines/{member}.part")
    def books(member: str, request: Request, before: Before = None, authorization: Key = None) -> Response:
        def make(source: Source, caller: Caller) -> bytes:
            found = yours.machine_books(source, caller, member, before)
            return piece("yours.part.html", yours.page(source), mine=None, books=found)

        return own(request, authorization, make)

    router.include_router(router_of_files(files_of("commonweal.web.pool", addresses.STATIC), HEADERS))
    return router


def refresh_of(page: Page) -> float:
    """In how many seconds a page is worth another look; 0 for one that does not change."""
    return float(getattr(page, "refresh", 0.0))


def news_of(page: Page) -> News:
    points = page.points if isinstance(page, JobPage) else ()
    return News(parts=parts(page), points=points, refresh=refresh_of(page))


def seen_by(last_event_id: str | None, after: int) -> int:
    """The event that a page has seen last: by its header, which anybody may write, else ``after``.

    >>> seen_by("7", -1), seen_by(None, 3), seen_by("x", 3), seen_by("9" * 5000, 3)
    (7, 3, 3, 3)
    """
    told = last_event_id or ""
    return int(told) if told.isdecimal() and len(told) <= _LONGEST_ID else after
