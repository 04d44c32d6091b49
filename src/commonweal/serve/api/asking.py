"""Routes that ask a model: one way through key, limits, repeats and body, without FastAPI's own.

:class:`AskRoute` answers a POST whose endpoint is ``endpoint(request, body, caller)``, the body a pydantic model.
FastAPI documents such a route as any other; what it does for each request would take longer than all else here, so
the body is parsed by orjson (which knows no NaN, no bottomless nesting and no half surrogate pairs) and checked by its
model, and everything runs on the event loop.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, TypeVar, get_type_hints

import orjson
from fastapi import Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from commonweal.core.errors import CommonwealError, NotFound
from commonweal.serve.api.complaints import ApiError
from commonweal.serve.api.context import Account, caller_of, serve_of
from commonweal.serve.api.errors import Handler, OpenAIRoute
from commonweal.serve.api.invalid import invalid_request
from commonweal.serve.api.once import may_repeat, once
from commonweal.serve.api.rates import estimated_tokens
from commonweal.serve.api.repeats import ClientGone, digest

Body = TypeVar("Body", bound=BaseModel)
Endpoint = Callable[[Request, Any, Account], Coroutine[Any, Any, Response]]


class Strict(BaseModel):
    """What a client sends: types are not converted, unknown fields refused."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Extension(Strict):
    """Commonweal's own field. ``trusted``: only workers of the operator's, or of the account itself, may read the
    prompt; others' machines are never asked."""

    trusted: bool = False


class AskBody(Strict):
    """What all bodies that ask a model have."""

    model: str = Field(
        min_length=1, max_length=256, description="A model's name, as GET /v1/models tells it."
    )
    user: str | None = Field(default=None, description="Accepted and not kept.")
    commonweal: Extension | None = Field(
        default=None, description="Commonweal's extension, also as the header X-Commonweal-Trusted: true."
    )


def parsed(model: type[Body], raw: bytes) -> Body:
    """A body as its model. Raises ApiError in OpenAI's words."""
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise ApiError(
            f"We could not parse the JSON body of your request: {error.msg}. The API expects a JSON payload.",
            code="invalid_json",
        ) from None
    if not isinstance(value, dict):
        raise ApiError("The body of your request must be a JSON object.", code="invalid_json")
    try:
        return model.model_validate(value)
    except ValidationError as error:
        found = invalid_request(error.errors(include_url=False))
        raise ApiError(found.message, param=found.param, code=found.code) from None


class AskRoute(OpenAIRoute):
    """See this module."""

    def inner_handler(self) -> Handler:
        endpoint: Endpoint = self.endpoint
        model: type[BaseModel] = next(
            kind
            for kind in get_type_hints(endpoint).values()
            if isinstance(kind, type) and issubclass(kind, AskBody)
        )
        path = self.path

        async def handler(request: Request) -> Response:
            serve, account = serve_of(request), await caller_of(request)
            raw = await request.body()
            repeats = may_repeat(request)
            key = (account.name, path, digest(raw))
            try:
                serve.rates.admit(account.name, estimated_tokens(raw))
                request.state.headers = serve.rates.headers(account.name)
                body = parsed(model, raw)
                if getattr(body, "stream", None):
                    return await endpoint(request, body, account)
                return await once(serve, request, key, lambda: endpoint(request, body, account))
            except ClientGone:
                return Response(status_code=499)
            except CommonwealError as error:
                if repeats:
                    serve.repeats.failed(key)
                raise as_model_error(error) from error

        return handler


def wants_trusted(request: Request, body: AskBody) -> bool:
    """Whether only trusted workers may read the prompt."""
    if body.commonweal is not None and body.commonweal.trusted:
        return True
    told = request.headers.get("x-commonweal-trusted", "").lower()
    if told not in ("", "true", "false", "1", "0"):
        raise ApiError("The header X-Commonweal-Trusted is 'true' or 'false'.", param="X-Commonweal-Trusted")
    return told in ("true", "1")


def read_by(trusted: bool) -> str:
    """Which kind of worker may have read the prompt."""
    return "trusted" if trusted else "members"


def as_model_error(error: Exception) -> Exception:
    """What the desk does not find is the model: said as OpenAI says it."""
    if isinstance(error, NotFound):
        return ApiError(error.message, hint=error.hint, status=404, param="model", code="model_not_found")
    return error
