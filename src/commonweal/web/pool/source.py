"""What the pool's pages are made from: the database, and what of it never changes, kept at hand."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from threading import Lock
from typing import Any

import sqlalchemy as sa

from commonweal.core.errors import ConfigError
from commonweal.pool.public import Machine, job_specs
from commonweal.train.config import TrainSettings
from commonweal.train.spec import KIND
from commonweal.web.pool.history import Histories
from commonweal.web.pool.words import count

_SPECS = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """Of a job: the tokens of one step of training, None for a job of another kind."""

    tokens_per_step: int | None


class Specs:
    """What the pages need of jobs' specifications, which never change. Safe to be used by several threads."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, Spec] = OrderedDict()
        self._lock = Lock()

    def of(self, connection: sa.Connection, jobs: Collection[str]) -> Mapping[str, Spec]:
        with self._lock:
            new = job_specs(connection, [job for job in jobs if job not in self._known])
            self._known |= {job: _spec(kind, spec) for job, (kind, spec) in new.items()}
            found = {job: self._known[job] for job in jobs if job in self._known}
            while len(self._known) > _SPECS:
                self._known.popitem(last=False)
            return found


def _spec(kind: str, spec: Mapping[str, Any]) -> Spec:
    settings = settings_of(kind, spec)
    return Spec(tokens_per_step=settings.train.tokens_per_step if settings else None)


def settings_of(kind: str, spec: Mapping[str, Any]) -> TrainSettings | None:
    """Of a training job; None for another, and for one of a release that this one cannot read."""
    if kind != KIND:
        return None
    try:
        return TrainSettings.from_json(spec["settings"])
    except (ConfigError, KeyError, TypeError):
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """What a page is made with, at one moment."""

    connection: sa.Connection
    now: float
    histories: Histories
    specs: Specs

    def speed(self, machine: Machine) -> str:
        """As it was measured last: tokens a second of training, or units of whatever the job counts."""
        return self.speeds([machine])[machine.id]

    def speeds(self, machines: Collection[Machine]) -> Mapping[str, str]:
        specs = self.specs.of(self.connection, {one.speed.job for one in machines if one.speed})
        return {one.id: _speed(one, specs) for one in machines}


def _speed(machine: Machine, specs: Mapping[str, Spec]) -> str:
    if machine.speed is None:
        return "–"
    spec = specs.get(machine.speed.job)
    if spec is None or spec.tokens_per_step is None:
        return f"{count(machine.speed.rate)} steps/s"
    return f"{count(machine.speed.rate * spec.tokens_per_step)} tokens/s"
