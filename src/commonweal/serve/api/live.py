"""``GET /serve/v1/live``: what serving is doing now, for the operator (it names members)."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request

from commonweal.serve import live
from commonweal.serve.api.context import Caller, ServeDep, operator
from commonweal.serve.api.errors import OpenAIRoute, documented

router = APIRouter(route_class=OpenAIRoute, tags=["serving"])


@router.get("/serve/v1/live", responses=documented(401))
async def now(request: Request, serve: ServeDep, caller: Caller) -> dict[str, Any]:
    """Workers, loaded models and their speeds, what waits, the books and the audits of this hub."""
    operator(caller)
    return live.gather(request.app.state.serving, serve.clock.now())
