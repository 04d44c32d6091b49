"""What is done for a fine-tuning job in each stage: one step from a row as it was read to the next.

Everything outside the database can be done twice (see :mod:`~commonweal.serve.tuning.trainer`), and everything in it is
one transaction that holds only if the row is still as it was read. So a step that is cut off at any point, or overtaken
by its owner's wish, is simply done again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from commonweal.core.blobs import Blobs
from commonweal.core.clock import Clock
from commonweal.core.database import Database
from commonweal.core.errors import NotFound
from commonweal.core.ids import new_id
from commonweal.serve import catalogue, publishing
from commonweal.serve.catalogue import ServedModel
from commonweal.serve.files import shelf
from commonweal.serve.files.shelf import StoredFile
from commonweal.serve.tuning.jobs import TuningJob, changed, tell
from commonweal.serve.tuning.recipe import model_name
from commonweal.serve.tuning.results import FILENAME, metrics_csv
from commonweal.serve.tuning.schema import tuning_checkpoints, tuning_events
from commonweal.serve.tuning.trainer import Checked, Progress, Round, Snapshot, Trainer, Work

_MOST_DETAILS = 20
"""Mistakes of a file that are told beside the first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stages:
    """Each method does one thing for a job in that stage; True if there may be more to do at once."""

    database: Database
    blobs: Blobs
    trainer: Trainer
    clock: Clock

    def step(self, job: TuningJob) -> bool:
        if job.status == "paused" and job.stage in ("check", "submit"):
            return self._keep_paused(job)
        match job.stage:
            case "check":
                return self._check(job)
            case "submit":
                return self._submit(job)
            case "watch":
                return self._watch(job)
            case "publish":
                return self._publish(job)
            case "stop":
                return self._stop(job)
            case "over":
                return False

    def _check(self, job: TuningJob) -> bool:
        checked = self.trainer.check(self._work(job))
        now = self.clock.now()
        with self.database.transaction() as connection:
            settled = {**job.recipe.to_json(), **_resolved(job, checked)}
            if not changed(
                connection,
                job,
                stage="submit",
                status="queued",
                recipe=settled,
                steps=checked.steps,
                trouble=0,
            ):
                return False
            for warning in checked.warnings[:_MOST_DETAILS]:
                tell(connection, job.id, warning, now, level="warn")
            tell(connection, job.id, _described(checked), now)
            tell(connection, job.id, "Files validated, moving job to queued state", now)
        return True

    def _submit(self, job: TuningJob) -> bool:
        self.trainer.submit(self._work(job))
        with self.database.transaction() as connection:
            if changed(connection, job, stage="watch", wish=None, trouble=0):
                tell(connection, job.id, "Waiting for machines of the pool", self.clock.now())
                return True
        return False

    def _keep_paused(self, job: TuningJob) -> bool:
        """It was paused while it was being submitted, perhaps: then it is in the pool, and must not run there."""
        if job.stage == "submit" and self.trainer.look(job.id, job.owner, after=job.round) is not None:
            with self.database.transaction() as connection:
                return changed(connection, job, stage="watch", wish="pause")
        return False

    def _watch(self, job: TuningJob) -> bool:
        if job.wish is not None:
            self.trainer.steer(job.id, job.owner, job.wish)
        progress = self.trainer.look(job.id, job.owner, after=job.round)
        if progress is None:
            raise NotFound(f"the pool has no job for {job.id} any more")
        ready = self._exported(job, progress)
        with self.database.transaction() as connection:
            return self._told(connection, job, progress, ready)

    def _exported(self, job: TuningJob, progress: Progress) -> Sequence[tuple[Snapshot, ServedModel]]:
        """The checkpoints that are not served yet, as models. Only adapters: whole models are large, and the last one
        is published anyway."""
        last = progress.snapshots[-1:] if progress.status == "done" else ()
        if not job.recipe.lora:
            return ()
        with self.database.transaction() as connection:
            known = set(
                connection.execute(
                    sa.select(tuning_checkpoints.c.step).where(tuning_checkpoints.c.job == job.id)
                ).scalars()
            )
        wanted = [one for one in progress.snapshots if one not in last and one.step not in known]
        return [(one, self._model(job, one, step=one.step)) for one in wanted]

    def _model(self, job: TuningJob, snapshot: Snapshot, *, step: int | None) -> ServedModel:
        """The trained model, stored and ready to be published."""
        work = self._work(job)
        files = self.trainer.export(work, snapshot)
        base = work.base
        adapter = publishing.ADAPTER_CONFIG in files
        return publishing.examined(
            self.blobs,
            name=model_name(base.name, job.recipe.suffix, job.id, step=step),
            owner=job.owner,
            files=files,
            base=(base.base or base.name) if adapter else None,
            find_base=lambda name: self._find(name, job.owner),
            now=self.clock.now(),
            public=False,
            lineage={
                "job": job.id,
                "parent": base.name,
                "parent_identity": base.identity,
                "training": job.recipe.training,
                "method": job.recipe.method,
                "step": snapshot.step,
            },
        )

    def _told(
        self,
        connection: sa.Connection,
        job: TuningJob,
        progress: Progress,
        ready: Sequence[tuple[Snapshot, ServedModel]],
    ) -> bool:
        """Write down what is new in the pool."""
        now = self.clock.now()
        values = _counted(job, progress) | {"wish": None}
        if progress.status == "done":
            values |= {"status": "running", "stage": "watch" if progress.more else "publish"}
        elif progress.status == "failed":
            values |= {"stage": "over", "status": "failed", "finished": now}
            values |= {"error": {"code": "training_failed", "message": progress.message, "param": None}}
        elif progress.status == "cancelled":
            values |= {"stage": "stop", "status": "cancelled", "finished": now}
        elif progress.status == "paused":
            values |= {"status": "paused", "estimated_finish": None}
        else:
            values |= {"status": "running" if values["round"] >= 0 else "queued"}
            values |= {"estimated_finish": _estimated(job, progress, now)}
        values = {name: value for name, value in values.items() if getattr(job, name) != value}
        if not values and not ready:
            return False
        if not changed(connection, job, trouble=0, **values):
            return False
        self._news(connection, job, progress, values.get("status", job.status), now)
        for snapshot, model in ready:
            catalogue.publish(connection, model)
            _enter_checkpoint(connection, job, snapshot, model.name, progress.rounds, now)
            tell(connection, job.id, f"Checkpoint created at step {snapshot.step}: {model.name}", now)
        return progress.more or progress.status == "done"

    def _news(
        self, connection: sa.Connection, job: TuningJob, progress: Progress, status: str, now: float
    ) -> None:
        if status == "running" and job.status != "running" and job.round < 0:
            tell(connection, job.id, "Fine-tuning job started", now)
        for one in progress.rounds:
            tell(connection, job.id, _line(one, job.steps), one.at, data=_metrics(one, job.steps))
        if status == "paused" and job.status != "paused":
            tell(connection, job.id, f"The job waits: {progress.message}", now, level="warn")
        if status == "failed":
            tell(connection, job.id, f"The job failed: {progress.message}", now, level="error")
        if status == "cancelled" and job.status != "cancelled":
            tell(connection, job.id, f"The pool's job was cancelled: {progress.message}", now, level="warn")

    def _publish(self, job: TuningJob) -> bool:
        progress = self.trainer.look(job.id, job.owner, after=job.round)
        if progress is None or not progress.snapshots:
            raise NotFound(f"the pool has no weights of {job.id} any more")
        last = progress.snapshots[-1]
        model = self._model(job, last, step=None)
        result = self._results(job)
        now = self.clock.now()
        with self.database.transaction() as connection:
            if not changed(
                connection,
                job,
                stage="over",
                status="succeeded",
                finished=now,
                estimated_finish=None,
                model=model.name,
                result_file=result.id,
                **{name: value for name, value in _counted(job, progress).items() if name != "round"},
            ):
                return False
            catalogue.publish(connection, model)
            shelf.add(connection, result, most=None)
            _enter_checkpoint(connection, job, last, model.name, _last_round(connection, job), now)
            tell(connection, job.id, f"New fine-tuned model created: {model.name}", now)
            tell(connection, job.id, "The job has successfully completed", now)
        return False

    def _stop(self, job: TuningJob) -> bool:
        """Cancelled: withdraw it from the pool, then count what was done before."""
        self.trainer.steer(job.id, job.owner, "cancel")
        progress = self.trainer.look(job.id, job.owner, after=job.round)
        now = self.clock.now()
        if progress is not None and progress.rounds:
            with self.database.transaction() as connection:
                if changed(connection, job, **_counted(job, progress)):
                    self._news(connection, job, progress, "cancelled", now)
            return True
        result = self._results(job) if job.round >= 0 else None
        with self.database.transaction() as connection:
            counted = {} if progress is None else _counted(job, progress)
            if (
                changed(
                    connection,
                    job,
                    **counted | {"stage": "over", "result_file": result.id if result else None},
                )
                and result
            ):
                shelf.add(connection, result, most=None)
        return False

    def _results(self, job: TuningJob) -> StoredFile:
        """The file of the metrics that were told, stored. Its name follows from the job's: made twice it is one."""
        with self.database.transaction() as connection:
            told = connection.execute(
                sa.select(tuning_events.c.data)
                .where(tuning_events.c.job == job.id, tuning_events.c.type == "metrics")
                .order_by(tuning_events.c.number)
            ).scalars()
            content = metrics_csv(told)
        return shelf.new_file(
            owner=job.owner,
            filename=FILENAME,
            purpose="fine-tune-results",
            size=len(content),
            blob=self.blobs.put(content),
            now=self.clock.now(),
            file_id=job.id.replace("ftjob_", "file_"),
        )

    def _work(self, job: TuningJob) -> Work:
        return Work(
            id=job.id, owner=job.owner, base=self._find(job.recipe.model, job.owner), recipe=job.recipe
        )

    def _find(self, name: str, owner: str) -> ServedModel:
        with self.database.transaction() as connection:
            return catalogue.find(connection, name, owner)


def _resolved(job: TuningJob, checked: Checked) -> dict[str, Any]:
    """What was left to be chosen, and what was chosen."""
    chosen = {
        "epochs": checked.epochs,
        "batch_size": checked.batch_size,
        "learning_rate_multiplier": checked.learning_rate_multiplier,
        "beta": checked.beta,
        "budget": checked.budget,
    }
    return {name: value for name, value in chosen.items() if getattr(job.recipe, name) is None}


def _described(checked: Checked) -> str:
    return (
        f"{checked.examples} examples of {checked.tokens} tokens, {checked.epochs} epochs: "
        f"{checked.trained_tokens} trained tokens in {checked.steps} steps, about "
        f"{checked.microcredits / 1e6:.3f} credits"
    )


def _counted(job: TuningJob, progress: Progress) -> dict[str, Any]:
    last = progress.rounds[-1].number if progress.rounds else job.round
    return {"round": last, "trained_tokens": progress.tokens, "spent": progress.spent}


def _estimated(job: TuningJob, progress: Progress, now: float) -> float | None:
    """When it will be done, from the pace of the rounds that were told at once (None before there are two)."""
    if job.steps is None or len(progress.rounds) < 2:
        return job.estimated_finish
    first, last = progress.rounds[0], progress.rounds[-1]
    if last.step <= first.step:
        return job.estimated_finish
    pace = (last.at - first.at) / (last.step - first.step)
    return float(round(now + pace * max(0, job.steps - last.step)))


def _line(one: Round, steps: int | None) -> str:
    said = f"Step {one.step}/{steps}" if steps else f"Step {one.step}"
    if one.message and one.loss is None:
        return f"{said}: {one.message}"
    said += "" if one.loss is None else f": training loss={one.loss:.4f}"
    return said + ("" if one.valid_loss is None else f", validation loss={one.valid_loss:.4f}")


def _metrics(one: Round, steps: int | None) -> dict[str, Any]:
    return {
        "step": one.step,
        "total_steps": steps,
        "train_loss": one.loss,
        "valid_loss": one.valid_loss,
        "tokens": one.tokens,
        "members": one.members,
        "moved_bytes": one.moved_bytes,
        "microcredits": one.paid,
    }


def _last_round(connection: sa.Connection, job: TuningJob) -> tuple[Round, ...]:
    """The round that was told last, for the metrics of the last checkpoint."""
    data = connection.execute(
        sa.select(tuning_events.c.data)
        .where(tuning_events.c.job == job.id, tuning_events.c.type == "metrics")
        .order_by(tuning_events.c.number.desc())
        .limit(1)
    ).scalar()
    if data is None:
        return ()
    return (
        Round(
            number=job.round,
            at=0.0,
            step=data["step"],
            tokens=data["tokens"],
            loss=data["train_loss"],
            valid_loss=data["valid_loss"],
        ),
    )


def _enter_checkpoint(
    connection: sa.Connection,
    job: TuningJob,
    snapshot: Snapshot,
    model: str,
    rounds: Sequence[Round],
    now: float,
) -> None:
    """Its metrics are those of the round that led to it, where that is among ``rounds``."""
    at = next((one for one in rounds if one.step == snapshot.step), None)
    metrics: dict[str, float] = {"step": snapshot.step}
    if at is not None:
        known = {"train_loss": at.loss, "valid_loss": at.valid_loss}
        metrics |= {name: value for name, value in known.items() if value is not None}
    connection.execute(
        sa.insert(tuning_checkpoints).values(
            id=new_id("ftckpt"), job=job.id, step=snapshot.step, model=model, created=now, metrics=metrics
        )
    )
