"""A server that already runs on a member's machine, as the member's engine: its models under the pool's identities."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping
from typing import Any

import httpx

from commonweal.core.completion import Request
from commonweal.core.errors import Refused, Unavailable, UserError
from commonweal.core.streaming import Event
from commonweal.models.engine.fronted import FrontedEngine, window_of
from commonweal.serve.worker.engine import ModelFiles

_NO_NAME = re.compile(r"[^A-Za-z0-9._]+")


def listed_at(server: str) -> dict[str, dict[str, Any]]:
    """The models that a server lists by name, each with what it says of its window, parameters and quantization, as
    the hub wants to know it. Raises Unavailable and UserError."""
    try:
        answer = httpx.get(f"{server.rstrip('/')}/models", timeout=10)
        answer.raise_for_status()
        listed = {one["id"]: _said(one) for one in answer.json()["data"] if isinstance(one["id"], str)}
    except httpx.HTTPError as error:
        raise Unavailable(
            f"--engine: {server} does not answer: {error or type(error).__name__}",
            hint="start the server first; the address ends with /v1",
        ) from None
    except (httpx.InvalidURL, ValueError, KeyError, TypeError, AttributeError):
        raise UserError(
            f"--engine: {server} is no OpenAI-compatible server", hint="such as http://127.0.0.1:8080/v1"
        ) from None
    return listed


def _said(model: dict[str, Any]) -> dict[str, Any]:
    meta = model.get("meta") or {}
    made: dict[str, Any] = {}
    if window := window_of(model):
        made["window"] = window
    if isinstance(parameters := meta.get("n_params"), int) and parameters > 0:
        made["parameters"] = parameters
    if isinstance(kind := meta.get("ftype"), str) and (plain := _NO_NAME.sub("-", kind).strip("-")):
        made["quantization"] = plain[:40]
    return made


class FrontedModels:
    """An :class:`~commonweal.serve.worker.engine.Engine`. ``names`` are the server's, by identity."""

    def __init__(self, server: str, names: Mapping[str, str]) -> None:
        self._engine = FrontedEngine(server)
        self._names = dict(names)

    async def stream(self, request: Request) -> AsyncIterator[Event]:
        """Raises CompletionFailed, and NotFound once the server does not have the model any more."""
        if request.model not in {loaded.name for loaded in self._engine.models()}:
            await self._engine.load(request.model, self._names.get(request.model, request.model))
        async for event in self._engine.stream(request):
            yield event

    async def load(self, model: ModelFiles) -> int:
        raise Refused(f"'{model.name}': this member serves only what its own server has")

    async def unload(self, identity: str) -> None:
        await self._engine.unload(identity)
