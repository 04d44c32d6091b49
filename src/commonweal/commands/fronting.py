"""A server that already runs on a member's machine, as the member's engine: its models under the pool's identities."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping

import httpx

from commonweal.core.completion import Request
from commonweal.core.errors import Refused, Unavailable, UserError
from commonweal.core.streaming import Event
from commonweal.models.engine.fronted import FrontedEngine
from commonweal.serve.worker.engine import ModelFiles


def names_at(server: str) -> dict[str, int | None]:
    """The models that a server lists, each with its window where it says so. Raises Unavailable and UserError."""
    try:
        answer = httpx.get(f"{server.rstrip('/')}/models", timeout=10)
        answer.raise_for_status()
        listed = [one for one in answer.json()["data"] if isinstance(one["id"], str)]
    except httpx.HTTPError as error:
        raise Unavailable(
            f"--engine: {server} does not answer: {error or type(error).__name__}",
            hint="start the server first; the address ends with /v1",
        ) from None
    except (httpx.InvalidURL, ValueError, KeyError, TypeError):
        raise UserError(
            f"--engine: {server} is no OpenAI-compatible server", hint="such as http://127.0.0.1:8080/v1"
        ) from None
    return {one["id"]: _window(one.get("max_model_len")) for one in listed}


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


def _window(value: object) -> int | None:
    return value if isinstance(value, int) and value > 0 else None
