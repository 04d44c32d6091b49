"""What each error is on the wire, in OpenAI's shape and with its status codes.

``complaint`` is the table: the answer to a request that failed, and the event in a stream that has begun. What a client
should not repeat says so (``x-should-retry: false``, which the openai client reads).
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from commonweal.core.completion import CompletionFailed, FailureKind
from commonweal.core.errors import (
    CommonwealError,
    Conflict,
    InsufficientCredits,
    NotAuthorized,
    Overloaded,
    Unavailable,
    UserError,
)
from commonweal.serve.api.invalid import invalid_request

log = logging.getLogger(__name__)


class ApiError(CommonwealError):
    """A refusal with everything that OpenAI's shape has. For what no error of ``core.errors`` says."""

    def __init__(
        self,
        message: str,
        *,
        status: int = 400,
        type: str = "invalid_request_error",
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.status = status
        self.type = type
        self.param = param
        self.code = code  # type: ignore[assignment]  # OpenAI's may be null
        self.headers = dict(headers or {})


@dataclass(frozen=True, slots=True, kw_only=True)
class Complaint:
    """An error as it goes over the wire."""

    status: int
    type: str
    message: str
    code: str | None = None
    param: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)

    def body(self) -> dict[str, Any]:
        return {
            "error": {
                "message": _sendable(self.message),
                "type": self.type,
                "param": None if self.param is None else _sendable(self.param),
                "code": self.code,
            }
        }

    def response(self) -> Response:
        return Response(
            orjson.dumps(self.body()), self.status, dict(self.headers), media_type="application/json"
        )


_INVALID = "invalid_request_error"
_SERVER = "server_error"
_NEVER_AGAIN = {"x-should-retry": "false"}

_FAILURES: Mapping[FailureKind, tuple[int, str, str]] = {
    "bad_request": (400, _INVALID, "invalid_request"),
    "too_long": (400, _INVALID, "context_length_exceeded"),
    "unsupported": (400, _INVALID, "unsupported"),
    "refused": (400, _INVALID, "content_filter"),
    "rate_limited": (429, "rate_limit_error", "rate_limit_exceeded"),
    "server_error": (500, _SERVER, "server_error"),
    "timeout": (504, _SERVER, "timeout"),
    "unreachable": (503, _SERVER, "worker_lost"),
    "malformed": (502, _SERVER, "malformed_answer"),
    "not_authorized": (502, _SERVER, "worker_not_authorized"),
    "budget": (429, "insufficient_quota", "insufficient_quota"),
}


def complaint(error: Exception) -> Complaint:
    """What ``error`` is on the wire. One that nobody raised on purpose is logged, and told without its text."""
    match error:
        case ApiError():
            told = Complaint(
                status=error.status,
                type=error.type,
                message=_full(error),
                code=error.code,
                param=error.param,
                headers=error.headers,
            )
        case CompletionFailed():
            status, kind, code = _FAILURES[error.kind]
            again = (
                _NEVER_AGAIN
                if code == "insufficient_quota"
                else {"Retry-After": "1"}
                if status == 429
                else {}
            )
            told = Complaint(status=status, type=kind, message=_full(error), code=code, headers=again)
        case InsufficientCredits():
            told = Complaint(
                status=429,
                type="insufficient_quota",
                message=_full(error),
                code="insufficient_quota",
                headers=_NEVER_AGAIN,
            )
        case CommonwealError():
            told = _of_the_tree(error)
        case RequestValidationError():
            told = _invalid(error)
        case HTTPException():
            told = _of_http(error)
        case _:
            log.error("request.failed", exc_info=error)
            told = Complaint(
                status=500,
                type=_SERVER,
                message="The hub made a mistake while it processed your request; its log says which.",
                code="internal_error",
            )
    return told


def _of_the_tree(error: CommonwealError) -> Complaint:
    headers: dict[str, str] = {}
    status, kind, code = error.status, _INVALID if error.status < 500 else _SERVER, error.code
    match error:
        case Overloaded():
            kind = "rate_limit_error"
            headers = {
                "Retry-After": str(max(1, math.ceil(error.retry_after))),
                "retry-after-ms": str(max(1, round(1000 * error.retry_after))),
            }
        case Unavailable():
            headers = {"Retry-After": "1"}
        case NotAuthorized():
            code, headers = "invalid_api_key", {"WWW-Authenticate": "Bearer"}
        case Conflict():  # the openai client would repeat it, and the state would not have changed
            headers = dict(_NEVER_AGAIN)
        case UserError():
            status = 400
    headers.update(getattr(error, "headers", {}))
    return Complaint(
        status=status,
        type=kind,
        message=_full(error),
        code=code,
        param=getattr(error, "param", None),
        headers=headers,
    )


def _invalid(error: RequestValidationError) -> Complaint:
    found = invalid_request(error.errors())
    return Complaint(status=400, type=_INVALID, message=found.message, code=found.code, param=found.param)


def _of_http(error: HTTPException) -> Complaint:
    codes = {404: "not_found", 405: "method_not_allowed", 413: "too_large"}
    return Complaint(
        status=error.status_code,
        type=_INVALID if error.status_code < 500 else _SERVER,
        message=str(error.detail),
        code=codes.get(error.status_code, "invalid_request"),
        headers=dict(error.headers or {}),
    )


def _full(error: CommonwealError) -> str:
    """The message, and what to do next: OpenAI's shape has one field for both."""
    if not error.hint:
        return error.message
    message = error.message if error.message.endswith((".", "?", "!")) else f"{error.message}."
    hint = error.hint[0].upper() + error.hint[1:]
    return f"{message} {hint}" if hint.endswith((".", "?", "!")) else f"{message} {hint}."


def _sendable(text: str) -> str:
    """Messages repeat what was sent, and JSON can hold half surrogate pairs that UTF-8 cannot."""
    return text.encode(errors="replace").decode()[:2000]
