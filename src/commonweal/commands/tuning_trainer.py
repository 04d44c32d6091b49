"""Who fine-tunes on this hub: the trainer that ``serve`` asks, made of training and the pool.

A job of the pool carries the fine-tuning job's id as its request, under the account that pays: so it is found again
without a note of it, and submitted once. What a model needs is written to a temporary folder for as long as it is read.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from commonweal.core.blobs import Blobs
from commonweal.core.clock import Clock
from commonweal.core.database import Database
from commonweal.core.errors import Conflict
from commonweal.core.hashing import BlobHash
from commonweal.core.work import JobFactory
from commonweal.pool import registry, wire
from commonweal.pool.access import Caller
from commonweal.pool.schema import jobs
from commonweal.serve import catalogue, publishing
from commonweal.serve.catalogue import ServedModel
from commonweal.serve.tuning.trainer import (
    BadExamples,
    Checked,
    Progress,
    Round,
    Snapshot,
    Steering,
    Work,
)
from commonweal.train.record import RoundRecord
from commonweal.train.spec import KIND
from commonweal.train.state import TrainState
from commonweal.train.tuning import Base, CheckedTuning, TuningOptions, check_tuning
from commonweal.train.tuning.checking import BadTuningFile
from commonweal.train.tuning.preparing import prepare_tuning
from commonweal.train.tuning.results import export_tuning

PRICE_FLOOR = 100
"""Micro-credits per 1,000 trained tokens of the smallest model."""
LARGEST_FILE = 128 * 2**20
_ROUNDS_AT_ONCE = 100
_WEIGHTS = (".safetensors", ".safetensors.index.json")


def price_of(parameters: int) -> int:
    """What 1,000 trained tokens pay, in micro-credits. Training reads forwards and back: three times a completion.

    >>> price_of(0), price_of(3_000_000), price_of(1_000_000_000)
    (100, 1000, 300100)
    """
    return PRICE_FLOOR + 3 * parameters // 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolTrainer:
    """``factories`` are the kinds of job that this hub runs."""

    database: Database
    blobs: Blobs
    clock: Clock
    factories: dict[str, JobFactory]

    def check(self, work: Work) -> Checked:
        found = self._checked(work)
        chosen = found.hyperparameters
        budget = found.budget if work.recipe.budget is None else work.recipe.budget
        if budget < found.microcredits:
            raise BadExamples(
                f"the budget of {budget / 1e6:.6f} credits is below the {found.microcredits / 1e6:.6f} that "
                f"{found.tokens} trained tokens cost",
                code="budget_too_small",
                param="commonweal.budget",
                hint="raise it, train for fewer epochs, or on fewer examples",
            )
        return Checked(
            examples=len(found.learned),
            tokens=found.epoch_tokens,
            trained_tokens=found.tokens,
            epochs=chosen.epochs,
            batch_size=chosen.batch_size,
            learning_rate_multiplier=chosen.learning_rate_multiplier,
            beta=None if work.recipe.method == "supervised" else chosen.beta,
            steps=chosen.steps,
            microcredits=found.microcredits,
            budget=budget,
            seconds=found.seconds,
            warnings=found.warnings,
        )

    def preview(self, work: Work) -> Mapping[str, Any]:
        return self._checked(work).preview.to_json()

    def submit(self, work: Work) -> None:
        recipe, caller = work.recipe, _caller(work.owner)
        with self._base(work, weights=True) as base:
            prepared = prepare_tuning(
                base,
                self._content(work, "training_file", recipe.training),
                _options(work),
                self.blobs.put,
                name=f"{work.base.name[:50]} {work.id}",
                validation=self._validation(work),
                training_name=recipe.training_file,
                validation_name=recipe.validation_file or "",
            )
        body = wire.NewJob(
            kind=KIND,
            name=f"{work.base.name[:50]} {work.id}",
            spec=prepared.job.spec,
            blobs=list(prepared.job.blobs),
            budget=recipe.budget or prepared.checked.budget,
            request_id=work.id,
        )
        ready = registry.prepare_job(body, self.factories, self.blobs)
        with self.database.transaction() as connection:
            registry.submit_job(connection, ready, caller, self.clock.now())

    def look(self, job: str, owner: str, *, after: int) -> Progress | None:
        with self.database.transaction() as connection:
            row = _row(connection, job, owner)
            if row is None:
                return None
            rounds = registry.list_rounds(connection, row.id, after=after, limit=_ROUNDS_AT_ONCE)
        state = TrainState.from_json(row.state)
        return Progress(
            status=row.status,
            message=row.message or _last_message(rounds),
            rounds=tuple(_round(one) for one in rounds),
            more=len(rounds) == _ROUNDS_AT_ONCE,
            snapshots=tuple(Snapshot(step=point.step, weights=point.theta) for point in state.checkpoints),
            tokens=state.totals.tokens,
            spent=row.spent,
        )

    def steer(self, job: str, owner: str, to: Steering) -> None:
        caller, now = _caller(owner), self.clock.now()
        with self.database.transaction() as connection:
            row = _row(connection, job, owner)
            if row is None:
                return
            with suppress(Conflict):  # it is over, or already as it is wished
                if to == "cancel":
                    registry.cancel(connection, row.id, caller, now)
                elif to == "pause":
                    registry.pause(connection, row.id, caller, now)
                else:
                    registry.resume(connection, row.id, caller, wire.Resume(), now)

    def export(self, work: Work, snapshot: Snapshot) -> Mapping[str, BlobHash]:
        with self.database.transaction() as connection:
            row = _row(connection, work.id, work.owner)
        assert row is not None, "what has weights was submitted"
        files = export_tuning(row.spec, snapshot.weights, self.blobs.get)
        return {name: self.blobs.put(data) for name, data in files.items() if publishing.wanted(name)}

    def _checked(self, work: Work) -> CheckedTuning:
        try:
            with self._base(work, weights=False) as base:
                return check_tuning(
                    base,
                    self._content(work, "training_file", work.recipe.training),
                    _options(work),
                    validation=self._validation(work),
                    tokens_per_second=self._speed(base.name),
                )
        except BadTuningFile as error:
            raise _bad(error) from error

    def _validation(self, work: Work) -> bytes | None:
        blob = work.recipe.validation
        return None if blob is None else self._content(work, "validation_file", blob)

    def _content(self, work: Work, param: str, blob: BlobHash) -> bytes:
        size = self.blobs.size(blob)
        if size > LARGEST_FILE:
            raise BadExamples(
                f"the file has {size / 1e6:.1f} MB, and at most {LARGEST_FILE / 1e6:.1f} MB are trained on",
                code="file_too_large",
                param=param,
            )
        return self.blobs.get(blob)

    @contextmanager
    def _base(self, work: Work, *, weights: bool) -> Iterator[Base]:
        """The model to begin from, as folders."""
        with tempfile.TemporaryDirectory(prefix="commonweal-tuning-") as tmp:
            if work.base.kind != "adapter":
                self._write(work.base, Path(tmp), weights=weights)
                yield Base(folder=Path(tmp), name=work.base.name)
                return
            with self.database.transaction() as connection:
                below = catalogue.find(connection, work.base.base or "", work.owner)
            folder, adapter = Path(tmp) / "base", Path(tmp) / "adapter"
            self._write(below, folder, weights=weights)
            self._write(work.base, adapter, weights=weights)
            yield Base(folder=folder, name=below.name, adapter=adapter)

    def _write(self, model: ServedModel, folder: Path, *, weights: bool) -> None:
        folder.mkdir(exist_ok=True)
        for name, blob in model.files.items():
            if publishing.wanted(name) and (weights or not name.endswith(_WEIGHTS)):
                with (folder / name).open("wb") as file:
                    file.writelines(self.blobs.stream(blob, 0, self.blobs.size(blob)))

    def _speed(self, base: str) -> float | None:
        """Tokens a second that the pool trained of this model lately; None where it never did."""
        query = (
            sa.select(jobs.c.state)
            .where(
                jobs.c.kind == KIND,
                jobs.c.rounds > 0,
                jobs.c.spec["settings"]["model"]["checkpoint"].astext == base,
            )
            .order_by(jobs.c.updated.desc())
            .limit(1)
        )
        with self.database.transaction() as connection:
            state = connection.execute(query).scalar()
        if state is None:
            return None
        totals = TrainState.from_json(state).totals
        return totals.tokens / totals.seconds if totals.tokens and totals.seconds > 0 else None


def _options(work: Work) -> TuningOptions:
    recipe = work.recipe
    return TuningOptions(
        method=recipe.method,
        lora=recipe.lora,
        rank=recipe.rank,
        epochs=recipe.epochs,
        batch_size=recipe.batch_size,
        learning_rate_multiplier=recipe.learning_rate_multiplier,
        beta=recipe.beta,
        seed=recipe.seed,
        per_1000_tokens=price_of(work.base.parameters),
    )


def _bad(error: BadTuningFile) -> BadExamples:
    others = error.problems.first[1:]
    return BadExamples(
        error.message,
        code=error.code,
        param=error.role,
        hint=error.hint,
        details=tuple(str(problem) for problem in others),
    )


def _caller(owner: str) -> Caller:
    return Caller(role="user", owner=owner)


def _row(connection: sa.Connection, job: str, owner: str) -> sa.Row[Any] | None:
    request = _caller(owner).request(job)
    return connection.execute(sa.select(jobs).where(jobs.c.request_id == request)).first()


def _last_message(rounds: list[wire.RoundView]) -> str:
    return str(rounds[-1].record.get("message", "")) if rounds else ""


def _round(view: wire.RoundView) -> Round:
    record = RoundRecord.from_json(view.record)
    return Round(
        number=view.number,
        at=view.at,
        step=record.step,
        tokens=record.tokens,
        loss=record.loss,
        valid_loss=record.held_out_loss,
        members=sum(member.verdict == "ok" for member in record.members),
        moved_bytes=record.up_bytes + record.down_bytes,
        paid=record.paid,
        message=record.message,
    )
