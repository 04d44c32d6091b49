"""The foreman drives jobs: plan, wait, fold; again and again, from whatever state the database holds.

A step holds the job's lock, so that a second hub process does not do the same work at the same time, but no
transaction while the job's own code computes. It reads in one transaction, in which it also withdraws what will
not be waited for: from then on the results to fold are fixed, and a repeated fold folds the same. It writes in
another, if the job's version is still the one that was read. What a fold computes is stored as blobs before the
transaction that names them, so a crash at any point leaves the job as it was, and at most some orphans for the
collection of garbage.
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
from commonweal.pool.leases import RATE_IS_GOOD_FOR, enqueue, expire, hurry, open_to_all
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
            query = sa.select(jobs.c.id).where(jobs.c.status == "running").order_by(jobs.c.created)
            found = list(connection.execute(query).scalars())
        for ended in set(self._jobs) - set(found):
            self._jobs.pop(ended, None)
        return found

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
        with self._database.exclusive(f"job {job_id}") as mine:
            if not mine:
                return False
            with self._database.transaction() as connection:
                row = _running(connection, job_id)
                if row is None:
                    return False
                if row.plan is not None and not _ready(connection, row, now):
                    return False
                ready = _results(connection, job_id) if row.plan is not None else None
            if ready is None:
                return self._plan(row, now)
            self._fold(row, ready, now)
            return True

    def _job(self, row: sa.Row[Any]) -> Job:
        if row.id not in self._jobs:
            self._jobs[row.id] = self._factories[row.kind](JobId(row.id), row.spec)
        return self._jobs[row.id]

    def _plan(self, row: sa.Row[Any], now: float) -> bool:
        with self._database.transaction() as connection:
            present = _present(connection, row.id, now, self._options.present_seconds)
        plan = self._job(row).plan(row.state, present, now)
        if plan is None:
            return False
        with self._database.transaction() as connection:
            if not _unchanged(connection, row):
                return False
            _open(connection, row.id, plan, now)
            self._fault("planned")
        return True

    def _fold(self, row: sa.Row[Any], results: Sequence[Result], now: float) -> None:
        self._fault("before fold")
        fold = self._job(row).fold(row.state, results, now)
        self._fault("folded")
        with self._database.transaction() as connection:
            if not _unchanged(connection, row):
                log.info("job.changed job=%s round=%d", row.id, row.rounds)
                return
            self._commit(connection, row, fold, now)
        if fold.status != "running":
            self._jobs.pop(row.id, None)
        log.info("job.folded job=%s round=%d status=%s", row.id, row.rounds, fold.status)

    def _commit(self, connection: sa.Connection, row: sa.Row[Any], fold: Fold, now: float) -> None:
        """The payments, the verdicts and the state they lead to: all or nothing."""
        payees = {v.member for v in fold.verdicts} | {p.member for p in fold.payments}
        accounts.lock(connection, row, sorted(payees))
        spent = accounts.pay(connection, row, fold.payments, now)
        self._fault("paid")
        _judge(connection, row, fold.verdicts, now)
        _close(connection, row.id)
        _record(connection, row, fold, spent, now)
        if fold.status != "running":
            accounts.settle(connection, row, now)
        self._fault("recorded")

    def _pause(self, job_id: str, error: InsufficientCredits, now: float) -> None:
        """The fold was rolled back; its units stay handed in, and are folded when the job is resumed."""
        message = f"budget used up: {error.message}"
        with self._database.transaction() as connection:
            connection.execute(
                jobs.update()
                .where(jobs.c.id == job_id, jobs.c.status == "running")
                .values(status="paused", message=_storable(message), updated=now)
            )

    def _fail(self, job_id: str, error: Exception, now: float) -> None:
        message = str(error) if isinstance(error, CommonwealError) else f"{type(error).__name__}: {error}"
        with self._database.transaction() as connection:
            row = _running(connection, job_id, lock=True)
            if row is None:
                return
            connection.execute(
                jobs.update()
                .where(jobs.c.id == job_id)
                .values(status="failed", message=_storable(message), plan=None, updated=now)
            )
            accounts.settle(connection, row, now)
            drop_units(connection, job_id)
        self._jobs.pop(job_id, None)


def drop_units(connection: sa.Connection, job_id: str) -> None:
    """Withdraw every unit of a job that is not folded yet; leases on them are lost."""
    _withdraw(connection, job_id, ["queued", "leased", "submitted"])


def _withdraw(connection: sa.Connection, job_id: str, statuses: list[str]) -> None:
    connection.execute(
        units.update()
        .where(units.c.job == job_id, units.c.status.in_(statuses))
        .values(status="dropped", fence=units.c.fence + 1)
    )


def _running(connection: sa.Connection, job_id: str, *, lock: bool = False) -> sa.Row[Any] | None:
    query = sa.select(jobs).where(jobs.c.id == job_id, jobs.c.status == "running")
    return connection.execute(query.with_for_update(key_share=True) if lock else query).first()


def _unchanged(connection: sa.Connection, row: sa.Row[Any]) -> bool:
    """Whether the job is still as it was read (nobody paused or cancelled it); if so it stays so, locked."""
    now = _running(connection, row.id, lock=True)
    return now is not None and now.version == row.version


def _ready(connection: sa.Connection, row: sa.Row[Any], now: float) -> bool:
    """Whether the open group is to be folded. If so, what is not handed in by now is withdrawn."""
    counted = connection.execute(
        sa.select(units.c.status, units.c.pickup_until, units.c.deadline, sa.func.count().label("n"))
        .where(units.c.job == row.id, units.c.status.in_(["queued", "leased", "submitted"]))
        .group_by(units.c.status, units.c.pickup_until, units.c.deadline)
    ).all()
    progress = [
        Progress(status=c.status, pickup_until=c.pickup_until, deadline=c.deadline)
        for c in counted
        for _ in range(c.n)
    ]
    quorum, deadline = row.plan["quorum"], row.plan["deadline"]
    if decide(progress, quorum=quorum, deadline=deadline, now=now) == "wait":
        if not row.plan["hurried"] and hurry(connection, row.id, row.plan["pickup_seconds"]):
            connection.execute(
                jobs.update().where(jobs.c.id == row.id).values(plan=row.plan | {"hurried": True})
            )
        return False
    _note_missed(connection, row.id, now)
    _withdraw(connection, row.id, ["queued", "leased"])
    return True


def _note_missed(connection: sa.Connection, job_id: str, now: float) -> None:
    """Count it for whoever had all the time that its unit was to take, and has not handed it in."""
    took = units.c.leased_at + units.c.amount["target_seconds"].as_float()
    late = sa.select(units.c.member).where(
        units.c.job == job_id, units.c.status == "leased", units.c.group != "", took <= now
    )
    mine = (
        sa.select(members.c.id)
        .where(members.c.id.in_(late))
        .order_by(members.c.id)
        .with_for_update(key_share=True)
    )
    found = connection.execute(mine).scalars().all()
    if found:
        connection.execute(
            members.update().where(members.c.id.in_(found)).values(missed=members.c.missed + 1)
        )


def _storable(message: str) -> str:
    return message.replace("\0", "").encode(errors="replace").decode()[:2000]


def _present(connection: sa.Connection, job_id: str, now: float, within: float) -> list[MemberView]:
    speed = sa.and_(
        rates.c.member == members.c.id, rates.c.job == job_id, rates.c.measured > now - RATE_IS_GOOD_FOR
    )
    rows = connection.execute(
        sa.select(members, rates.c.rate)
        .outerjoin(rates, speed)
        .where(members.c.last_seen >= now - within, members.c.state.in_(["idle", "working"]))
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


def _open(connection: sa.Connection, job_id: str, plan: Plan, now: float) -> None:
    opened = {
        "deadline": plan.deadline,
        "quorum": plan.quorum,
        "pickup_seconds": plan.pickup_seconds,
        "since": now,
        "hurried": False,
    }
    connection.execute(jobs.update().where(jobs.c.id == job_id).values(plan=opened, updated=now))
    enqueue(
        connection, job_id, plan.units, deadline=plan.deadline, pickup_seconds=plan.pickup_seconds, now=now
    )


def _results(connection: sa.Connection, job_id: str) -> list[Result]:
    """In the order of their keys, which is the same on every server: it is not the database that sorts."""
    rows = connection.execute(sa.select(units).where(units.c.job == job_id, units.c.status == "submitted"))
    return sorted(map(_result, rows), key=lambda result: result.unit_key)


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
    counted = [v for v in verdicts if v.accepted or v.fault == "member"]
    locked = connection.execute(
        sa.select(members.c.id, members.c.reputation, members.c.accepted, members.c.refused)
        .where(members.c.id.in_({v.member for v in counted}))
        .order_by(members.c.id)
        .with_for_update(key_share=True)
    )
    standing = {m.id: m._asdict() for m in locked}
    for verdict in sorted(counted, key=lambda v: (v.member, v.unit_key)):
        after = standing[verdict.member]
        after["reputation"] = reputation_after(after["reputation"], verdict.accepted)
        after["accepted" if verdict.accepted else "refused"] += 1
    if standing:
        _write_standing(connection, list(standing.values()))
    for verdict in counted:
        if not verdict.accepted:
            accounts.forfeit(connection, verdict.member, key=f"{row.id}:{verdict.unit_key}:forfeit", now=now)


def _write_standing(connection: sa.Connection, standing: list[dict[str, Any]]) -> None:
    connection.execute(
        members.update()
        .where(members.c.id == sa.bindparam("member"))
        .values(
            reputation=sa.bindparam("new_reputation"),
            accepted=sa.bindparam("new_accepted"),
            refused=sa.bindparam("new_refused"),
        ),
        [
            {
                "member": m["id"],
                "new_reputation": m["reputation"],
                "new_accepted": m["accepted"],
                "new_refused": m["refused"],
            }
            for m in standing
        ],
    )


def _close(connection: sa.Connection, job_id: str) -> None:
    connection.execute(
        units.update().where(units.c.job == job_id, units.c.status == "submitted").values(status="folded")
    )
    _forget_old_units(connection, job_id)


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
    connection.execute(
        jobs.update()
        .where(jobs.c.id == row.id)
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
