"""Requests that are answered once, however often they are sent: what :mod:`~commonweal.serve.api.repeats` decides.

:class:`OnceRoute` is for routes that make something (a job, a batch): a client that got no answer and asks again is
told what its first request made. What was begun is finished, whether or not anybody waits for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request
from fastapi.responses import Response
from starlette.types import Receive

from commonweal.serve.api.complaints import ApiError
from commonweal.serve.api.context import Serve, caller_of, serve_of
from commonweal.serve.api.errors import Handler, OpenAIRoute
from commonweal.serve.api.repeats import Attempt, ClientGone, digest

LONGEST_NAME = 255
_RETRY_COUNT = "x-stainless-retry-count"


class OnceRoute(OpenAIRoute):
    """See this module. Methods other than POST are answered as usual."""

    def inner_handler(self) -> Handler:
        inner = super().inner_handler()

        async def handler(request: Request) -> Response:
            if request.method != "POST":
                return await inner(request)
            serve, account = serve_of(request), await caller_of(request)
            key = (account.name, request.url.path, digest(await request.body()))
            try:
                return await once(serve, request, key, lambda: inner(request), finishes=True)
            except ClientGone:
                return Response(status_code=499)
            except Exception:
                if may_repeat(request):
                    serve.repeats.failed(key)
                raise

        return handler


def may_repeat(request: Request) -> bool:
    """Whether the client says how often it asked."""
    return _RETRY_COUNT in request.headers


async def once(
    serve: Serve,
    request: Request,
    key: tuple[str, str, bytes],
    work: Callable[[], Coroutine[Any, Any, Response]],
    *,
    finishes: bool = False,
) -> Response:
    """The answer to a request, or to the one that it repeats. ``finishes``: what was begun is not given up."""
    headers = request.headers
    name, count = headers.get("idempotency-key"), headers.get(_RETRY_COUNT)
    if name is not None and len(name) > LONGEST_NAME:
        raise ApiError(f"An Idempotency-Key has at most {LONGEST_NAME} characters.", param="Idempotency-Key")
    named: object = key if name is None else (*key[:2], name)
    attempt: Attempt | None = None
    if name is not None or count not in (None, "0"):
        attempt = serve.repeats.earlier(named, key[2], named=name is not None)
    replayed = attempt is not None
    attempt = attempt or serve.repeats.begin(named, key[2], work(), finishes=finishes)
    gone = asyncio.create_task(until_gone(request.receive))
    try:
        answer = await serve.repeats.answered(
            named, attempt, gone, repeats=name is not None or count is not None
        )
    finally:
        gone.cancel()
    return _copy(answer) if replayed else answer


def _copy(answer: Response) -> Response:
    """An answer for another request: each adds its own headers to it."""
    headers = {name: value for name, value in answer.headers.items() if name.startswith("x-commonweal")}
    headers["x-commonweal-replayed"] = "true"
    return Response(answer.body, answer.status_code, headers, media_type="application/json")


async def until_gone(receive: Receive) -> None:
    """Returns when the client has closed its connection."""
    while (await receive())["type"] != "http.disconnect":
        pass
