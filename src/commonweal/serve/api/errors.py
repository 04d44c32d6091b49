"""Routes under ``/v1`` whose errors have OpenAI's shape: ``{"error": {message, type, param, code}}``.

Routers use ``route_class=OpenAIRoute``: whatever a route raises is told so, validation included (400, not 422), with an
``x-request-id`` on every answer. What each error is on the wire stands in :mod:`commonweal.serve.api.complaints`.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Final

from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import Response
from fastapi.routing import APIRoute
from pydantic import BaseModel
from starlette.routing import BaseRoute, Match
from starlette.types import Message, Scope

from commonweal.core.ids import new_id
from commonweal.serve.api.complaints import ApiError, Complaint, complaint

__all__ = [
    "LARGEST_BODY",
    "ApiError",
    "Complaint",
    "OpenAIError",
    "OpenAIErrorDetail",
    "OpenAIRoute",
    "complaint",
    "documented",
    "refuse_the_rest",
    "too_large",
]

Handler = Callable[[Request], Coroutine[Any, Any, Response]]

LARGEST_BODY: Final = 32 * 2**20
"""Bytes of a body, where a router's route class says nothing else."""


class OpenAIErrorDetail(BaseModel):
    """What went wrong. ``code`` is stable, ``param`` names the field."""

    message: str
    type: str
    param: str | None = None
    code: str | None = None


class OpenAIError(BaseModel):
    """The body of every answer that is not a success."""

    error: OpenAIErrorDetail


class OpenAIRoute(APIRoute):
    """A route of ``/v1``: its errors have OpenAI's shape, its body a limit, its answer an ``x-request-id`` and whatever
    stands in ``request.state.headers``."""

    largest_body: int = LARGEST_BODY

    def get_route_handler(self) -> Handler:
        inner = self.inner_handler()
        largest = self.largest_body

        async def handler(request: Request) -> Response:
            request.state.request_id = request_id = new_id("req")
            length = request.headers.get("content-length")
            try:
                if length is None:  # of a body in pieces: counted as it comes
                    request = Request(request.scope, _Counted(request, largest).receive)
                elif not length.isdecimal() or int(length) > largest:
                    raise too_large(largest)
                response = await inner(request)
            except Exception as error:
                response = complaint(error).response()
            response.raw_headers.append((b"x-request-id", request_id.encode()))
            for name, value in getattr(request.state, "headers", {}).items():
                response.raw_headers.append((name.encode(), value.encode()))
            return response

        return handler

    def inner_handler(self) -> Handler:
        """How a request is answered, errors raised. A route class that spares FastAPI's way overrides this."""
        return super().get_route_handler()


class _Counted:
    """A body of unknown length. Once it is too long, reading it raises 413."""

    def __init__(self, request: Request, largest: int) -> None:
        self._receive = request.receive
        self._largest = largest
        self._left = largest

    async def receive(self) -> Message:
        message = await self._receive()
        self._left -= len(message.get("body", b""))
        if self._left < 0:
            raise too_large(self._largest)
        return message


def too_large(largest: int) -> HTTPException:
    return HTTPException(413, f"The body is larger than {largest} bytes.")


_WORDS: Final = {
    400: "The request is invalid",
    401: "No key, or a wrong one",
    404: "No such thing, for this account",
    409: "Not in this state",
    413: "The body is too large",
    429: "Too many requests, an overload, or no credits",
    503: "Nobody serves the model now",
}


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """A route's ``responses`` for OpenAPI: the errors that it can be expected to answer with, and that any other error
    has the same shape (so FastAPI does not promise a 422)."""
    known: dict[int | str, str] = {status: _WORDS.get(status, "Error") for status in statuses}
    return {
        status: {"model": OpenAIError, "description": words}
        for status, words in {**known, "default": "Any error"}.items()
    }


async def unknown_route(request: Request) -> Response:
    """The answer to a path under ``/v1`` that no route has (404), or not with this method (405)."""
    routes: list[BaseRoute] = request.app.router.routes
    path = f"{request.method} {request.url.path}"
    if any(route.matches(request.scope)[0] is Match.PARTIAL for route in routes):
        raise HTTPException(405, f"Not allowed: {path}")
    raise HTTPException(404, f"Unknown request URL: {path}. Please check the URL for typos.")


class _Rest(OpenAIRoute):
    """Every path under ``/v1``, one with a line break too, which no pattern of a path matches."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        if scope["type"] == "http" and scope["path"].startswith("/v1/"):
            return Match.FULL, {"endpoint": self.endpoint, "path_params": {}}
        return Match.NONE, {}


def refuse_the_rest(app: FastAPI) -> None:
    """Answer what no route under ``/v1`` answers, in OpenAI's shape. Called after all routers are included."""
    methods = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"]
    app.router.routes.append(
        _Rest("/v1/{path:path}", unknown_route, methods=methods, include_in_schema=False)
    )
