"""The foreman drives jobs: plan, wait, fold; again and again, from whatever state the database holds.

One step of one job is one transaction. An advisory lock keeps a second hub process from doing the same work at
the same time; the job's version, compared and set at the end, makes it harmless if it happens all the same.
What a fold computes is stored as blobs before the transaction that names them, so a crash at any point leaves
the job as it was, and at most some orphans for the collection of garbage.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from commonweal.core.database import Database
from commonweal.core.errors import CommonwealError, InsufficientCredits, Unavailable
from commonweal.core.hashing import BlobHash
from commonweal.core.ids import JobId, MemberId
from commonweal.core.work import Fold, Job, JobFactory, MemberView, Plan, Result, Verdict
from commonweal.pool import accounts
from commonweal.pool.leases import enqueue, expire, open_to_all
from commonweal.pool.scheduler import Progress, decide, reputation_after
from commonweal.pool.schema import attempts, jobs, members, rates, rounds, units

log = logging.getLogger(__name__)

Fault = Callable[[str], None]
"""Called with the name of each phase of a step; a test's fault injector raises or kills here."""


def no_fault(phase: str) -> None:
    """The injector that injects nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ForemanOptions:
    """``present_seconds``: a member is here if it was seen in that time."""

    present_seconds: float = 45.0


class Foreman:
    """Steps jobs. Holds no state but the job objects, which are caches of what the database says."""

    def __init__(
        self,
        database: Database,
        factories: Mapping[str, JobFactory],
        options: ForemanOptions,
        *,
        fault: Fault = no_fault,
    ) -> None:
        self._database = database
        self._factories = factories
        self._options = options
        self._fault = fault
        self._jobs: dict[str, Job] = {}

    def keep_leases(self, now: float) -> None:
        """Take back what silent members held, and open to all what its first choice did not take."""
        with self._database.transaction() as connection:
            expire(connection, now)
            open_to_all(connection, now)

    def running(self) -> list[str]:
        """Ids of the jobs to be stepped."""
        with self._database.transaction() as connection:
            return list(connection.execute(sa.select(jobs.c.id).where(jobs.c.status == "running")).scalars())

    def step(self, job_id: str, now: float) -> bool:
        """Do the next thing for a job, if there is one; True if something was done.

        A job whose budget is used up is paused, with its results kept until it is funded again. A job whose
        code fails is marked failed with the reason. The database or the store being away is raised as
        Unavailable, and the same step is tried again later.
        """
        try:
            return self._step(job_id, now)
        except Unavailable:
            raise
        except InsufficientCredits as error:
            self._pause(job_id, error, now)
            return True
        except Exception as error:
            log.exception("job.failed job=%s", job_id)
            self._fail(job_id, error, now)
            return True

    def _step(self, job_id: str, now: float) -> bool:
        with self._database.transaction() as connection:
            row = _locked(connection, job_id)
            if row is None or row.status != "running":
                return False
            job = self._job(row)
            if row.plan is None:
                return self._plan(connection, row, job, row.state, row.version, now)
            group = _group(connection, job_id, row.plan)
            progress = [Progress(status=u.status, pickup_until=u.pickup_until) for u in group]
            quorum, deadline = row.plan["quorum"], row.plan["deadline"]
            if decide(progress, quorum=quorum, deadline=deadline, now=now) == "wait":
                return False
            self._fold(connection, row, job, group, now)
            return True

    def _job(self, row: sa.Row[Any]) -> Job:
        if row.id not in self._jobs:
            self._jobs[row.id] = self._factories[row.kind](JobId(row.id), row.spec)
        return self._jobs[row.id]

    def _plan(
        self, connection: sa.Connection, row: sa.Row[Any], job: Job, state: Any, version: int, now: float
    ) -> bool:
        present = _present(connection, row.id, now - self._options.present_seconds)
        plan = job.plan(state, present, now)
        if plan is None:
            return False
        _open(connection, row.id, plan, version, now)
        self._fault("planned")
        return True

    def _fold(
        self, connection: sa.Connection, row: sa.Row[Any], job: Job, group: Sequence[sa.Row[Any]], now: float
    ) -> None:
        results = [_result(unit) for unit in group if unit.status == "submitted"]
        self._fault("before fold")
        fold = job.fold(row.state, results, now)
        self._fault("folded")
        accounts.lock(connection, row, [v.member for v in fold.verdicts])
        spent = accounts.pay(connection, row, fold.payments, now)
        self._fault("paid")
        _judge(connection, row, fold.verdicts, now)
        _close(connection, row, group, [r.unit_key for r in results])
        _record(connection, row, fold, spent, now)
        if fold.status != "running":
            accounts.settle(connection, row, now)
            self._jobs.pop(row.id, None)
        self._fault("recorded")
        log.info("job.folded job=%s round=%d status=%s", row.id, row.rounds, fold.status)

    def _pause(self, job_id: str, error: InsufficientCredits, now: float) -> None:
        """The fold was rolled back; its units stay handed in, and are folded when the job is resumed."""
        message = f"budget used up: {error.message}"
        with self._database.transaction() as connection:
            connection.execute(
                jobs.update()
                .where(jobs.c.id == job_id, jobs.c.status == "running")
                .values(status="paused", message=message[:2000], updated=now)
            )

    def _fail(self, job_id: str, error: Exception, now: float) -> None:
        message = str(error) if isinstance(error, CommonwealError) else f"{type(error).__name__}: {error}"
        with self._database.transaction() as connection:
            row = _locked(connection, job_id)
            if row is None:
                return
            connection.execute(
                jobs.update()
                .where(jobs.c.id == job_id)
                .values(status="failed", message=message[:2000], plan=None, updated=now)
            )
            drop_units(connection, job_id)
            accounts.settle(connection, row, now)
        self._jobs.pop(job_id, None)


def drop_units(connection: sa.Connection, job_id: str) -> None:
    """Withdraw every unit of a job that is not folded yet; leases on them are lost."""
    connection.execute(
        units.update()
        .where(units.c.job == job_id, units.c.status.in_(["queued", "leased", "submitted"]))
        .values(status="dropped", fence=units.c.fence + 1)
    )


def _locked(connection: sa.Connection, job_id: str) -> sa.Row[Any] | None:
    """The job's row if no other process is stepping it."""
    lock = sa.select(sa.func.pg_try_advisory_xact_lock(sa.func.hashtextextended(job_id, 0)))
    if not connection.execute(lock).scalar():
        return None
    return connection.execute(sa.select(jobs).where(jobs.c.id == job_id)).first()


def _present(connection: sa.Connection, job_id: str, since: float) -> list[MemberView]:
    rows = connection.execute(
        sa.select(members, rates.c.rate)
        .outerjoin(rates, sa.and_(rates.c.member == members.c.id, rates.c.job == job_id))
        .where(members.c.last_seen >= since, members.c.state.in_(["idle", "working"]))
        .order_by(members.c.id)
    )
    return [
        MemberView(
            id=MemberId(row.id),
            rate=row.rate,
            upload=row.upload,
            download=row.download,
            reputation=row.reputation,
        )
        for row in rows
    ]


def _open(connection: sa.Connection, job_id: str, plan: Plan, version: int, now: float) -> None:
    opened = {
        "deadline": plan.deadline,
        "quorum": plan.quorum,
        "keys": [unit.key for unit in plan.units],
        "since": now,
    }
    done = connection.execute(
        jobs.update()
        .where(jobs.c.id == job_id, jobs.c.version == version, jobs.c.status == "running")
        .values(plan=opened, updated=now)
    )
    if done.rowcount == 1:
        enqueue(
            connection,
            job_id,
            plan.units,
            deadline=plan.deadline,
            pickup_seconds=plan.pickup_seconds,
            now=now,
        )


def _group(connection: sa.Connection, job_id: str, plan: Mapping[str, Any]) -> Sequence[sa.Row[Any]]:
    return connection.execute(
        sa.select(units).where(units.c.job == job_id, units.c.key.in_(plan["keys"])).order_by(units.c.key)
    ).all()


def _result(unit: sa.Row[Any]) -> Result:
    return Result(
        unit_key=unit.key,
        member=MemberId(unit.member),
        payload=unit.payload,
        report=unit.result["report"],
        blobs={name: BlobHash(h) for name, h in unit.result["blobs"].items()},
        amount_asked=unit.asked,
        seconds=unit.submitted_at - unit.leased_at,
    )


def _judge(connection: sa.Connection, row: sa.Row[Any], verdicts: Sequence[Verdict], now: float) -> None:
    """Good work raises a member's reputation; bad work lowers it and costs what it has in escrow."""
    for verdict in sorted(verdicts, key=lambda v: (v.member, v.unit_key)):
        if not verdict.accepted and verdict.fault == "none":
            continue
        old = connection.execute(
            sa.select(members.c.reputation).where(members.c.id == verdict.member).with_for_update()
        ).scalar_one()
        counter = members.c.accepted if verdict.accepted else members.c.refused
        connection.execute(
            members.update()
            .where(members.c.id == verdict.member)
            .values({members.c.reputation: reputation_after(old, verdict.accepted), counter: counter + 1})
        )
        if not verdict.accepted:
            accounts.forfeit(connection, verdict.member, key=f"{row.id}:{verdict.unit_key}:forfeit", now=now)


def _close(
    connection: sa.Connection, row: sa.Row[Any], group: Sequence[sa.Row[Any]], folded: list[str]
) -> None:
    """Mark what was folded, and withdraw the rest of the group: it came too late."""
    mine = sa.and_(units.c.job == row.id, units.c.id.in_([unit.id for unit in group]))
    connection.execute(units.update().where(mine, units.c.key.in_(folded)).values(status="folded"))
    connection.execute(
        units.update()
        .where(mine, units.c.status.in_(["queued", "leased", "submitted"]))
        .values(status="dropped", fence=units.c.fence + 1)
    )
    _forget_old_units(connection, row.id)


def _forget_old_units(connection: sa.Connection, job_id: str, keep: int = 2000) -> None:
    """The last units are kept for late submitters and for the curious; the round records keep the rest."""
    old = (
        sa.select(units.c.id)
        .where(units.c.job == job_id, units.c.status.in_(["folded", "dropped"]))
        .order_by(units.c.created.desc())
        .offset(keep)
    )
    gone = connection.execute(units.delete().where(units.c.id.in_(old)).returning(units.c.id)).scalars().all()
    if gone:
        connection.execute(attempts.delete().where(attempts.c.unit.in_(gone)))


def _record(connection: sa.Connection, row: sa.Row[Any], fold: Fold, spent: int, now: float) -> None:
    connection.execute(rounds.insert().values(job=row.id, number=row.rounds, at=now, record=fold.record))
    done = connection.execute(
        jobs.update()
        .where(jobs.c.id == row.id, jobs.c.version == row.version, jobs.c.status == "running")
        .values(
            state=fold.state,
            plan=None,
            version=row.version + 1,
            rounds=row.rounds + 1,
            spent=row.spent + spent,
            keeps=sorted(fold.keeps),
            status=fold.status,
            message=fold.record.get("message", ""),
            updated=now,
        )
    )
    if done.rowcount != 1:
        raise Unavailable(f"job {row.id} changed while it was folded; the fold is repeated")
