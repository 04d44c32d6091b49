"""Which pages a hub shows, and the links above all of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.responses import RedirectResponse

from commonweal.pool.api.context import Hub
from commonweal.web.pool import addresses
from commonweal.web.pool.routes import router_of_pool
from commonweal.web.site.files import FILES, router_of_files
from commonweal.web.site.page import MODELS, PLACES, Link
from commonweal.web.site.routes import HEADERS


def places(runs: Path | None) -> Sequence[Link]:
    """The links above every page of a hub; those of evaluations only where it shows some."""
    pool, chat = Link(text="Pool", path=addresses.OVERVIEW), Link(text="Chat", path="chat")
    return (pool, MODELS, chat) if runs is None else (*PLACES, pool, chat)


def enter(app: FastAPI, hub: Hub, runs: Path | None) -> None:
    """The pool's pages; without evaluations the root leads to them."""
    app.include_router(router_of_pool(hub.database, hub.clock, places(runs)))
    if runs is None:
        app.include_router(router_of_files(FILES, HEADERS))
        app.add_api_route("/", _to_the_pool, include_in_schema=False)


def _to_the_pool(request: Request) -> RedirectResponse:
    return RedirectResponse(f"{request.scope.get('root_path', '')}/{addresses.OVERVIEW}", 307)
