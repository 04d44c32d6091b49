"""One request to a model, beside its body: who asks, under which id, which model, and who may read it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from fastapi import Request as HttpRequest
from fastapi.responses import Response

from commonweal.core.completion import Request
from commonweal.core.streaming import Usage
from commonweal.serve.api.asking import AskBody, as_model_error, read_by, wants_trusted
from commonweal.serve.api.context import Account, Serve, serve_of
from commonweal.serve.api.rates import estimated_tokens
from commonweal.serve.api.streams import EventStream
from commonweal.serve.catalogue import ServedModel
from commonweal.serve.desk import Ask


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """``estimate`` are the tokens that were counted against the account's limit when it was admitted."""

    serve: Serve
    account: Account
    id: str
    model: ServedModel
    trusted: bool = False
    priority: int = 0
    estimate: int = 0
    created: int = 0

    def named(self, prefix: str) -> str:
        """The id of the answer, which shares the request's random part."""
        return prefix + self.id.removeprefix("req_")

    def ask(self, request: Request, part: str = "") -> Ask:
        return Ask(
            id=self.id + part,
            account=self.account.name,
            request=request,
            trusted=self.trusted,
            priority=self.priority,
        )

    def asks(self, requests: Sequence[Request]) -> list[Ask]:
        if len(requests) == 1:
            return [self.ask(requests[0])]
        return [self.ask(request, f"-{number}") for number, request in enumerate(requests)]

    def charge(self, usage: Usage) -> None:
        """Count what the answer took beyond the estimate."""
        self.serve.rates.charge(
            self.account.name, usage.prompt_tokens + usage.completion_tokens - self.estimate
        )

    def head(self, id: str, kind: str) -> dict[str, Any]:
        """What every answer and every chunk of it begins with."""
        return {
            "id": id,
            "object": kind,
            "created": self.created,
            "model": self.model.name,
            "system_fingerprint": fingerprint(self.model),
        }

    def read_by(self) -> dict[str, str]:
        return {"read_by": read_by(self.trusted)}

    def headers(self) -> dict[str, str]:
        return {"x-commonweal-read-by": read_by(self.trusted)}

    def json(self, value: Any) -> Response:
        """A whole answer."""
        return Response(orjson.dumps(value), headers=self.headers(), media_type="application/json")

    def stream(self, frames: AsyncGenerator[bytes, None], **options: Any) -> EventStream:
        """An answer in events."""
        settings = self.serve.options
        return EventStream(
            frames,
            patience=settings.patience_seconds,
            keep_alive=settings.keep_alive_seconds,
            headers=self.headers(),
            as_error=as_model_error,
            **options,
        )


def fingerprint(model: ServedModel) -> str:
    """The model's identity: equal for equal weights, base and quantization."""
    return f"fp_{model.identity[:16]}"


async def turn_of(request: HttpRequest, body: AskBody, account: Account) -> Turn:
    """Raises NotFound for a model that this account may not use."""
    serve = serve_of(request)
    return Turn(
        serve=serve,
        account=account,
        id=request.state.request_id,
        model=await serve.model(body.model, account),
        trusted=wants_trusted(request, body),
        estimate=estimated_tokens(await request.body()),
        created=int(serve.clock.now()),
    )
