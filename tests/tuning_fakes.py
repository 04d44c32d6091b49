"""A trainer that trains nothing: jobs of its pool move when a test says so; and a process that dies where told."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from commonweal.core.blobs import Blobs
from commonweal.core.database import Database
from commonweal.core.errors import InsufficientCredits
from commonweal.core.hashing import BlobHash
from commonweal.serve.tuning.trainer import BadExamples, Checked, Progress, Round, Snapshot, Steering, Work

STEPS = 4
TOKENS = 100


def adapter(blobs: Blobs, weights: str) -> dict[str, BlobHash]:
    """The files of an adapter of four numbers."""
    header = json.dumps({"a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}).encode()
    data = len(header).to_bytes(8, "little") + header + weights.encode()[:16].ljust(16)
    return {"adapter_config.json": blobs.put(b'{"r": 8}'), "adapter_model.safetensors": blobs.put(data)}


@dataclass(slots=True)
class PoolJob:
    """``rounds`` were folded; one is a step of 100 tokens and 7 micro-credits."""

    rounds: int = 0
    status: str = "running"
    message: str = ""


@dataclass(slots=True)
class FakeTrainer:
    """``out_of_credits``: nobody can pay. ``page``: rounds that are told at once."""

    blobs: Blobs
    total: int = 4
    page: int = 3
    out_of_credits: bool = False
    trouble: list[Exception] = field(default_factory=list)
    pool: dict[str, PoolJob] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)

    def check(self, work: Work) -> Checked:
        self._called("check")
        lines = self.blobs.get(work.recipe.training).decode().splitlines()
        if "bad" in lines:
            raise BadExamples(
                f"line {1 + lines.index('bad')}: not JSON",
                code="not_json",
                param="training_file",
                details=("line 9: messages: is missing",),
            )
        epochs = work.recipe.epochs or 3
        return Checked(
            examples=len(lines),
            tokens=10 * len(lines),
            trained_tokens=10 * len(lines) * epochs,
            epochs=epochs,
            batch_size=work.recipe.batch_size or 2,
            learning_rate_multiplier=work.recipe.learning_rate_multiplier or 1.0,
            beta=(work.recipe.beta or 0.1) if work.recipe.method != "supervised" else None,
            steps=self.total,
            microcredits=400,
            budget=work.recipe.budget or 500,
            warnings=("line 2: the same as line 1",) if len(lines) > 2 else (),
        )

    def preview(self, work: Work) -> Mapping[str, Any]:
        return {"examples": 1}

    def submit(self, work: Work) -> None:
        self._called("submit")
        if self.out_of_credits:
            raise InsufficientCredits("no credits left")
        self.pool.setdefault(work.id, PoolJob())

    def look(self, job: str, owner: str, *, after: int) -> Progress | None:
        self._called("look")
        there = self.pool.get(job)
        if there is None:
            return None
        numbers = range(after + 1, there.rounds)
        told = tuple(
            Round(number=n, at=100.0 + n, step=n + 1, tokens=TOKENS * (n + 1), loss=1 / (n + 1), paid=7)
            for n in numbers[: self.page]
        )
        status = "done" if there.rounds == self.total else there.status
        return Progress(
            status=status,  # type: ignore[arg-type]
            message=there.message,
            rounds=told,
            more=len(numbers) > self.page,
            snapshots=tuple(
                Snapshot(step=n, weights=BlobHash(f"{n:064}")) for n in range(2, there.rounds + 1, 2)
            ),
            tokens=TOKENS * there.rounds,
            spent=7 * there.rounds,
        )

    def steer(self, job: str, owner: str, to: Steering) -> None:
        self._called(to)
        there = self.pool.get(job)
        if there is not None and there.status in ("running", "paused"):
            there.status = {"pause": "paused", "resume": "running", "cancel": "cancelled"}[to]

    def export(self, work: Work, snapshot: Snapshot) -> Mapping[str, BlobHash]:
        self._called("export")
        return adapter(self.blobs, f"{work.id[-8:]} {snapshot.step}")

    def fold(self) -> None:
        """One more round of each job that runs."""
        for job in self.pool.values():
            if job.status == "running" and job.rounds < self.total:
                job.rounds += 1

    def _called(self, what: str) -> None:
        self.calls.append(what)
        if self.trouble:
            raise self.trouble.pop(0)


class Killed(BaseException):
    """The process ends here."""


@dataclass(slots=True)
class Deaths:
    """Kills at the ``at``-th point that is passed."""

    at: int
    passed: int = 0

    def here(self) -> None:
        self.passed += 1
        if self.passed == self.at:
            raise Killed


@dataclass(frozen=True)
class MortalDatabase(Database):
    """Before each transaction, before its end, and after it is a point."""

    deaths: Deaths = field(default_factory=lambda: Deaths(at=0))

    @contextmanager
    def transaction(self) -> Iterator[sa.Connection]:
        self.deaths.here()
        with super().transaction() as connection:
            yield connection
            self.deaths.here()
        self.deaths.here()


class MortalTrainer(FakeTrainer):
    """After each call is a point: done, and nobody knows."""

    deaths: Deaths

    def _called(self, what: str) -> None:
        super()._called(what)

    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        if name not in ("check", "submit", "look", "steer", "export"):
            return found

        def mortal(*args: Any, **kwargs: Any) -> Any:
            value = found(*args, **kwargs)
            self.deaths.here()
            return value

        return mortal
