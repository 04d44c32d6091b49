"""A pool of one process: the same jobs and the same executors as over the network, without the network.

For trying a job out on one machine, and for tests. Members work one after the other; what they take is
counted as if they had worked side by side.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field

from commonweal.core.blobs import Blobs
from commonweal.core.hashing import BlobHash
from commonweal.core.ids import JobId, MemberId
from commonweal.core.work import Executor, Fold, Job, Json, MemberView, Outcome, Result, Task, WorkUnit


@dataclass(slots=True)
class LocalIO:
    """A member's world: the store itself. ``fetched`` lists what it asked for."""

    blobs: Blobs
    stop: threading.Event = field(default_factory=threading.Event)
    fetched: list[BlobHash] = field(default_factory=list)

    def get(self, blob: BlobHash) -> bytes:
        self.fetched.append(blob)
        return self.blobs.get(blob)

    def progress(self, amount_done: int) -> None:
        pass


class LocalPool:
    """Runs one job with executors by member. ``state`` is the job's, as a hub would keep it.

    With ``steady`` nobody's speed counts: everybody is asked for the same and given the time, so that a run
    gives the same bits every time.
    """

    def __init__(
        self,
        job: Job,
        job_id: JobId,
        blobs: Blobs,
        members: Mapping[MemberId, Executor],
        *,
        now: float = 0.0,
        steady: bool = False,
    ) -> None:
        self.job = job
        self.steady = steady
        self.state = job.start()
        self.now = now
        self.members = dict(members)
        self._id = job_id
        self._blobs = blobs
        self._rates: dict[MemberId, float] = {}

    def round(self) -> Fold:
        """Plan, compute and fold one round. Raises RuntimeError when there is nothing to do."""
        results = self.results()
        fold = self.job.fold(self.state, results, self.now)
        self.state = fold.state
        return fold

    def run(self, most_rounds: int) -> list[Json]:
        """Rounds until the job is over, or ``most_rounds``; their records."""
        records: list[Json] = []
        for _ in range(most_rounds):
            fold = self.round()
            records.append(fold.record)
            if fold.status != "running":
                break
        return records

    def results(self) -> list[Result]:
        """What the members hand in for the next round, in the order of the unit keys."""
        views = [
            MemberView(id=m, rate=self._rates.get(m), upload=None, download=None, reputation=0.5)
            for m in sorted(self.members)
        ]
        plan = self.job.plan(self.state, views, self.now)
        if plan is None:
            raise RuntimeError("there is nothing to do: too few members")
        done = [result for unit in plan.units if (result := self._do(unit)) is not None]
        self.now += 1.0 if self.steady else max((result.seconds for result in done), default=1.0)
        return sorted(done, key=lambda result: result.unit_key)

    def close(self) -> None:
        for executor in self.members.values():
            executor.close()

    def _do(self, unit: WorkUnit) -> Result | None:
        member = unit.prefers
        if member is None or member not in self.members:
            return None
        task = self._task(unit, member)
        outcome = self.members[member].run(task, LocalIO(self._blobs))
        if outcome.amount_done == 0:
            return None
        if not self.steady:
            self._rates[member] = outcome.amount_done / outcome.seconds
        return self._result(unit, member, task, outcome)

    def _task(self, unit: WorkUnit, member: MemberId) -> Task:
        amount, rate = unit.amount, self._rates.get(member)
        asked = amount.first if rate is None else int(rate * amount.target_seconds)
        return Task(
            job=self._id,
            unit_key=unit.key,
            kind=unit.kind,
            payload=unit.payload,
            amount=max(amount.least, min(asked, amount.most)),
            seconds=1.2 * amount.target_seconds,
        )

    def _result(self, unit: WorkUnit, member: MemberId, task: Task, outcome: Outcome) -> Result:
        return Result(
            unit_key=unit.key,
            member=member,
            payload=unit.payload,
            report=outcome.report,
            blobs={name: self._blobs.put(data) for name, data in outcome.blobs.items()},
            amount_asked=task.amount,
            seconds=1.0 if self.steady else outcome.seconds,
        )
