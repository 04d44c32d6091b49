"""Errors on the wire: every one of them as ``{"error": {message, type, code, param, hint}}``."""

from __future__ import annotations

import logging
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from commonweal.core.errors import CommonwealError, Overloaded, Unavailable

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
    detail = {"message": message, "type": kind, "code": code, "param": param, "hint": hint}
    return JSONResponse({"error": detail}, status_code=status, headers=headers)


def install(app: FastAPI) -> None:
    """Translate what the routes raise."""

    @app.exception_handler(CommonwealError)
    async def known(request: Request, error: CommonwealError) -> JSONResponse:
        headers: dict[str, str] = {}
        if isinstance(error, Overloaded):
            headers["Retry-After"] = str(max(1, round(error.retry_after)))
        elif isinstance(error, Unavailable):
            headers["Retry-After"] = "1"
        if error.status == 401:
            headers["WWW-Authenticate"] = "Bearer"
        return error_response(
            error.status,
            error.message,
            error.code,
            param=getattr(error, "param", None),
            hint=error.hint,
            headers=headers,
        )

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
    """Refuses bodies above a size before they are read into memory. Uploads are streamed and exempt."""

    def __init__(self, app: ASGIApp, largest: int, exempt: str) -> None:
        self._app = app
        self._largest = largest
        self._exempt = exempt

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].startswith(self._exempt):
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        length = headers.get(b"content-length", b"0")
        if not length.isdigit() or int(length) > self._largest:
            await self._refuse(scope, receive, send)
            return
        read = 0

        async def counted() -> Message:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > self._largest:
                return {"type": "http.disconnect"}
            return message

        await self._app(scope, counted, send)

    async def _refuse(self, scope: Scope, receive: Receive, send: Send) -> None:
        response = error_response(
            413, f"the body is larger than {self._largest} bytes", "too_large", hint="upload bulk as blobs"
        )
        await response(scope, receive, send)
