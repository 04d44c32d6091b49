"""The engine of this process (``models/engine``) as the member's side wants it: models by identity.

Needs torch only when something is loaded; the engine itself is handed in.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Protocol

from commonweal.core.completion import Request
from commonweal.core.errors import UserError
from commonweal.core.streaming import Event
from commonweal.serve.router.worker import BYTES_PER_PARAMETER
from commonweal.serve.worker.engine import ModelFiles

_QUANTIZATIONS = ("none", "int8")


class Loaded(Protocol):
    """What the engine says of a model that it loaded."""

    @property
    def parameters(self) -> int: ...


class ModelEngine(Protocol):
    """What ``models.engine.local.LocalEngine`` is."""

    async def load(self, name: str, folder: str | Path, *, quantization: Any = "none") -> Loaded: ...

    async def load_adapter(self, name: str, base: str, folder: str | Path) -> Loaded: ...

    async def unload(self, name: str) -> None: ...

    def stream(self, request: Request) -> AsyncIterator[Event]: ...


class LocalModels:
    """An :class:`~commonweal.serve.worker.engine.Engine` on a :class:`ModelEngine`."""

    def __init__(self, engine: ModelEngine) -> None:
        self._engine = engine

    def stream(self, request: Request) -> AsyncIterator[Event]:
        return self._engine.stream(request)

    async def load(self, model: ModelFiles) -> int:
        """Raises UserError for a quantization that this engine does not know, and what the engine raises."""
        if model.base is not None:
            await self._engine.load_adapter(model.identity, model.base.identity, model.folder)
            return sum(file.stat().st_size for file in model.folder.iterdir())
        if model.quantization not in _QUANTIZATIONS:
            raise UserError(
                f"'{model.name}' is quantized as {model.quantization}, which this engine cannot load"
            )
        loaded = await self._engine.load(model.identity, model.folder, quantization=model.quantization)
        return loaded.parameters * (1 if model.quantization == "int8" else BYTES_PER_PARAMETER)

    async def unload(self, identity: str) -> None:
        await self._engine.unload(identity)
