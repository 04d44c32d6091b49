"""Training jobs as they were read: a job's rounds are only ever added to, so what was read of them stays true.

Owns the rounds and payments of the jobs that were asked for last. Of a job that goes on only what is new is read; what
may change (its state, its machines) is read each time. Safe to be used by several threads.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from threading import Lock

import sqlalchemy as sa

from commonweal.core.errors import NotFound
from commonweal.labels.records import (
    Payment,
    Round,
    Training,
    Word,
    machines_of,
    member_names,
    payments_of,
    rounds_after,
    training_with,
)
from commonweal.pool import registry
from commonweal.train.spec import KIND

_MOST_ROUNDS = 50_000
"""Of all jobs at hand, some 0.2 GB; the job that was asked for last is kept whatever it has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    rounds: tuple[Round, ...] = ()
    payments: tuple[Payment, ...] = ()
    members: frozenset[str] = frozenset()


class Trainings:
    """What was read of training jobs."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._lock = Lock()

    def of(self, connection: sa.Connection, job: str, *, word: Word = "hub") -> Training:
        """A job of the pool as it is now. Raises NotFound, also for a job of another kind."""
        view = registry.find_job(connection, job)
        if view.kind != KIND:
            raise NotFound(f"job {job} is a {view.kind} job", hint="only training jobs make a model")
        with self._lock:
            known = self._known.get(job, _Known())
        new = rounds_after(connection, job, known.rounds[-1].number if known.rounds else -1)
        if new:
            known = _Known(
                rounds=known.rounds + new,
                payments=known.payments + payments_of(connection, job, new),
                members=known.members | set(member_names(new)),
            )
        self._keep(job, known)
        return training_with(
            view,
            known.rounds,
            machines=machines_of(connection, sorted(known.members)),
            payments=known.payments,
            word=word,
        )

    def _keep(self, job: str, known: _Known) -> None:
        """Never less than another thread has found meanwhile."""
        with self._lock:
            other = self._known.get(job)
            if other is None or len(other.rounds) < len(known.rounds):
                self._known[job] = known
            self._known.move_to_end(job)
            total = sum(len(one.rounds) for one in self._known.values())
            while total > _MOST_ROUNDS and len(self._known) > 1:
                _, gone = self._known.popitem(last=False)
                total -= len(gone.rounds)
