"""Loading and unloading what the hub asks for, one at a time and beside the answering.

A model is loaded only if it fits in the memory that its owner lends; the base of an adapter comes first and can be
asked, too. Nothing here ends the member: a load that fails is told to the hub, which asks somebody else.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path

from commonweal.core.errors import CommonwealError
from commonweal.serve.gateway.frames import Frame, Loaded, ModelSpec, Unloaded
from commonweal.serve.router.worker import size_of
from commonweal.serve.worker.engine import Engine
from commonweal.serve.worker.files import Get, fetch
from commonweal.serve.worker.shelf import Shelf

log = logging.getLogger(__name__)


class Loading:
    """``say`` tells the hub."""

    def __init__(
        self, engine: Engine, shelf: Shelf, folder: Path, get: Get, now: Callable[[], float]
    ) -> None:
        self._engine, self._shelf, self._folder, self._get, self._now = engine, shelf, folder, get, now
        self._one = asyncio.Lock()

    async def load(self, spec: ModelSpec, say: Callable[[Frame], None]) -> None:
        async with self._one:
            problem = await self._load(spec)
        if problem:
            log.warning("serve.load_failed model=%s problem=%s", spec.name, problem)
        say(Loaded(identity=spec.identity, problem=problem))

    async def unload(self, identity: str, say: Callable[[Frame], None]) -> None:
        async with self._one:
            try:
                self._shelf.take(identity)
            except CommonwealError as error:
                log.info("serve.kept model=%s because=%s", identity[:12], error.message)
                return
            await self._engine.unload(identity)
        say(Unloaded(identity=identity))

    async def _load(self, spec: ModelSpec) -> str:
        """What went wrong, or ''."""
        if self._shelf.has(spec.identity):
            return ""
        if spec.base is not None and (problem := await self._load(spec.base)):
            return f"its base: {problem}"
        try:
            await self._make_room(size_of(spec))
            self._shelf.begin(spec, size_of(spec))
            files = await asyncio.to_thread(fetch, spec, self._folder, self._get)
            size = await self._engine.load(files)
            self._shelf.put(spec, size, self._now())
        except CommonwealError as error:
            self._shelf.failed(spec.identity)
            return error.message
        except Exception as error:  # whatever a stranger's files do to a library: this member goes on
            log.exception("serve.load_broke model=%s", spec.name)
            self._shelf.failed(spec.identity)
            return f"{type(error).__name__}: {error}"[:500]
        return ""

    async def _make_room(self, size: int) -> None:
        while self._shelf.free() < size and (least := self._shelf.least_used()) is not None:
            self._shelf.take(least)
            await self._engine.unload(least)
