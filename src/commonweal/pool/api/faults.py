"""Errors on the wire: every one of them as ``{"error": {message, type, code, param, hint}}``."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from commonweal.core.errors import CommonwealError, Overloaded, Unavailable
from commonweal.pool.wire import ErrorBody

log = logging.getLogger(__name__)


def error_response(
    status: int,
    message: str,
    code: str,
    *,
    param: str | None = None,
    hint: str | None = None,
    headers: dict[str, str] | None = None,
) -> JSONResponse:
    kind = "server_error" if status >= 500 else "invalid_request_error"
    detail = {
        "message": _sendable(message),
        "type": kind,
        "code": code,
        "param": _sendable(param),
        "hint": _sendable(hint),
    }
    return JSONResponse({"error": detail}, status_code=status, headers=headers)


def answer(error: CommonwealError) -> JSONResponse:
    """What is raised on purpose, on the wire."""
    headers: dict[str, str] = {}
    if isinstance(error, Overloaded):
        headers["Retry-After"] = str(max(1, round(error.retry_after)))
    elif isinstance(error, Unavailable):
        headers["Retry-After"] = "1"
    if error.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    headers.update(getattr(error, "headers", {}))
    return error_response(
        error.status,
        error.message,
        error.code,
        param=getattr(error, "param", None),
        hint=error.hint,
        headers=headers,
    )


def _sendable(text: str | None) -> str | None:
    """Messages repeat what was sent, and JSON can hold half surrogate pairs that UTF-8 cannot."""
    return None if text is None else text.encode(errors="replace").decode()[:2000]


def documented(*errors: type[CommonwealError]) -> dict[int | str, dict[str, Any]]:
    """A route's ``responses`` for OpenAPI: the errors that it can be expected to answer with."""
    found: dict[int | str, dict[str, Any]] = {}
    for error in errors:
        codes = [error.code, *found.get(error.status, {}).get("description", "").split(", ")]
        found[error.status] = {"model": ErrorBody, "description": ", ".join(filter(None, codes))}
    return found


def install(app: FastAPI) -> None:
    """Translate what the routes raise."""

    @app.exception_handler(CommonwealError)
    async def known(request: Request, error: CommonwealError) -> JSONResponse:
        return answer(error)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        first: dict[str, Any] = dict(error.errors()[0])
        where = ".".join(str(part) for part in first["loc"] if part != "body")
        return error_response(
            422, f"{where or 'body'}: {first['msg']}", "invalid_request", param=where or None
        )

    @app.exception_handler(HTTPException)
    async def plain(request: Request, error: HTTPException) -> JSONResponse:
        code = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code, "invalid_request")
        headers = dict(error.headers) if error.headers else None
        return error_response(error.status_code, str(error.detail), code, headers=headers)

    @app.exception_handler(Exception)
    async def unknown(request: Request, error: Exception) -> JSONResponse:
        log.exception("request.failed path=%s", request.url.path)
        return error_response(500, "the hub made a mistake; its log says which", "internal_error")


class LimitBody:
    """Refuses bodies above a size before they are read into memory. Routes that count by themselves are exempt (uploads
    are streamed); a job may name many blobs, so its limit is larger."""

    def __init__(
        self, app: ASGIApp, largest: int, exempt: str | tuple[str, ...], larger: Mapping[str, int]
    ) -> None:
        self._app = app
        self._largest = largest
        self._exempt = exempt
        self._larger = larger

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].startswith(self._exempt):
            await self._app(scope, receive, send)
            return
        limit = self._larger.get(scope["path"], self._largest)
        length = dict(scope["headers"]).get(b"content-length", b"0")
        if not length.isdigit() or int(length) > limit:
            await _too_large(limit)(scope, receive, send)
            return
        counted = _Counted(receive, send, limit)
        await self._app(scope, counted.receive, counted.send)
        if counted.over:
            await _too_large(limit)(scope, receive, send)


class _Counted:
    """A body of unknown length, counted as it comes. Once it is too long the route sees a broken connection,
    and its answer is replaced."""

    def __init__(self, receive: Receive, send: Send, limit: int) -> None:
        self._receive = receive
        self._send = send
        self._left = limit

    @property
    def over(self) -> bool:
        return self._left < 0

    async def receive(self) -> Message:
        message = await self._receive()
        self._left -= len(message.get("body", b""))
        return {"type": "http.disconnect"} if self.over else message

    async def send(self, message: Message) -> None:
        if not self.over:
            await self._send(message)


def _too_large(limit: int) -> JSONResponse:
    return error_response(
        413, f"the body is larger than {limit} bytes", "too_large", hint="upload bulk as blobs"
    )
