"""Served models as the router needs them, found in the catalogue and kept for a moment.

A thousand asks a second for one model are one look into the database every few seconds; a model that was retired or
made private is served that much longer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import sqlalchemy as sa

from commonweal.core.database import Database
from commonweal.serve import catalogue
from commonweal.serve.catalogue import ServedModel
from commonweal.serve.gateway.frames import ModelSpec

KEEP_SECONDS = 3.0
_MOST_KEPT = 10_000
_DEEPEST = 4


class Models:
    """``now`` is a clock in seconds."""

    def __init__(
        self, database: Database, now: Callable[[], float], *, keep_seconds: float = KEEP_SECONDS
    ) -> None:
        self._database, self._now, self._keep = database, now, keep_seconds
        self._known: dict[tuple[str, str], tuple[float, ServedModel, ModelSpec]] = {}

    async def find(self, name: str, account: str) -> tuple[ServedModel, ModelSpec]:
        """A model that this account may use. Raises NotFound with the near names."""
        key = (name, account)
        known = self._known.get(key)
        if known is None or known[0] < self._now():
            model, spec = await asyncio.to_thread(self._read, name, account)
            if len(self._known) >= _MOST_KEPT:
                self._known.clear()
            self._known[key] = known = (self._now() + self._keep, model, spec)
        return known[1], known[2]

    def _read(self, name: str, account: str) -> tuple[ServedModel, ModelSpec]:
        with self._database.transaction() as connection:
            model = catalogue.find(connection, name, account)
            return model, spec_of(connection, model)


def spec_of(connection: sa.Connection, model: ServedModel, *, depth: int = 0) -> ModelSpec:
    """A model with its base, as a worker is told of it. Raises NotFound for a base that is not served any more."""
    base = None
    if model.base is not None and depth < _DEEPEST:
        base = spec_of(connection, catalogue.find(connection, model.base, model.owner), depth=depth + 1)
    return ModelSpec(
        name=model.name,
        identity=model.identity,
        kind=model.kind,
        files=model.files,
        quantization=model.quantization,
        parameters=model.parameters,
        window=model.window,
        base=base,
    )
