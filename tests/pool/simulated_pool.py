"""A simulated pool: thousands of machines and several jobs on an invented clock, with the hub's own decisions.

No process, no network, no database. What the hub does in SQL (find the candidates, count who is busy) is done
here over dictionaries; what it decides (``choose``, ``decide``, ``retry_until``, ``latest_start``) is the code
under test.
"""

from __future__ import annotations

import heapq
import itertools
import math
import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from commonweal.core.work import Amount
from commonweal.pool.candidates import CANDIDATES_PER_JOB
from commonweal.pool.scheduler import (
    MemberFacts,
    Offer,
    Progress,
    UnitFacts,
    choose,
    decide,
    latest_start,
    patience,
    retry_until,
    smoothed,
)

PICKUP = 5.0
LEASE = 30.0
FOLD = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """``speed`` in amount a second, ``upload`` and ``download`` in bytes a second; the rest is what happens to it, and
    when. One that ``stalls`` takes units and keeps its leases, and hands nothing in."""

    id: str
    speed: float
    upload: float = 2e6
    download: float = 2e6
    stalls: bool = False
    joins: float = 0.0
    dies: float = math.inf
    leaves: float = math.inf
    slow_from: float = math.inf
    slow_by: float = 10.0

    def speed_at(self, now: float) -> float:
        return self.speed / self.slow_by if now >= self.slow_from else self.speed


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedJob:
    """Rounds of one unit for each machine here (``units`` is None), or batches of ``units`` that anyone does."""

    id: str
    amount: Amount
    units: int | None = None
    upload_bytes: float = 1e6
    download_bytes: float = 0.0
    from_: float = 0.0

    @property
    def grouped(self) -> bool:
        return self.units is None


@dataclass(slots=True)
class Unit:
    facts: UnitFacts
    status: str = "queued"
    attempt: int = 0
    leased_at: float = 0.0
    member: str | None = None
    waited_until: float = math.inf


@dataclass(frozen=True, slots=True)
class Handed:
    """A result: who, when it got the unit, how long it computed, how much it did and when it was in."""

    member: str
    leased_at: float
    computed: float
    done: int
    at: float


@dataclass(slots=True)
class Round:
    opened: float
    planned: int
    handed: list[Handed] = field(default_factory=list)
    folded: float = math.inf


@dataclass(slots=True)
class _Open:
    """The open group of a job."""

    round: Round
    deadline: float
    pickup_until: float
    units: list[Unit]
    preferred: dict[str, Unit]
    free: deque[Unit] = field(default_factory=deque)
    leased: int = 0
    started: float | None = None


class SimulatedPool:
    """``rounds`` by job and ``leases`` by machine are what the tests look at."""

    def __init__(self, machines: Sequence[Machine], jobs: Sequence[SimulatedJob], seed: int = 0) -> None:
        self.machines = {m.id: m for m in machines}
        self.jobs = {j.id: j for j in jobs}
        self.rounds: dict[str, list[Round]] = {j.id: [] for j in jobs}
        self.leases: dict[str, int] = dict.fromkeys(self.machines, 0)
        self.busy_seconds: dict[str, float] = dict.fromkeys(self.machines, 0.0)
        self.decisions = 0
        self.now = 0.0
        self._random = random.Random(seed)
        self._rates: dict[str, dict[str, float]] = {m: {} for m in self.machines}
        self._measured: set[str] = set()
        self._missed: dict[str, int] = dict.fromkeys(self.machines, 0)
        self._groups: dict[str, set[tuple[str, str]]] = {m: set() for m in self.machines}
        self._open: dict[str, _Open] = {}
        self._busy: dict[str, int] = dict.fromkeys(self.jobs, 0)
        self._idle: dict[str, None] = {}
        self._here: dict[str, None] = {}
        self._events: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._numbers = itertools.count()
        for machine in machines:
            self._at(machine.joins + self._random.random(), self._arrive, machine.id)
            self._at(min(machine.dies, machine.leaves), self._depart, machine.id)
        for job in jobs:
            self._at(job.from_ + 2.0, self._plan, job.id)

    def run(self, until: float) -> None:
        while self._events and self._events[0][0] <= until:
            self.now, _, action, arguments = heapq.heappop(self._events)
            action(*arguments)
        self.now = until

    def _at(self, when: float, action: Callable[..., None], *arguments: Any) -> None:
        if when < math.inf:
            heapq.heappush(self._events, (when, next(self._numbers), action, arguments))

    # Machines

    def _arrive(self, member: str) -> None:
        self._here[member] = None
        self._ask(member)

    def _depart(self, member: str) -> None:
        self._here.pop(member, None)
        self._idle.pop(member, None)

    def _ask(self, member: str) -> None:
        if member not in self._here:
            return
        offers = self._choose(member)
        if offers:
            self._lease(member, *offers[0])
        else:
            self._idle[member] = None

    def _choose(self, member: str) -> list[tuple[str, Unit, Offer]]:
        groups = self._groups[member]
        found = {
            u.facts.id: (j, u) for j, o in self._open.items() for u in self._candidates(o, member, groups)
        }
        if not found:
            return []
        facts = MemberFacts(
            id=member,
            roles=frozenset({"train"}),
            kinds=frozenset({"work"}),
            memory=2**33,
            reputation=0.5,
            rates=self._rates[member],
            groups=frozenset(groups),
            upload=self.machines[member].upload if member in self._measured else None,
            download=self.machines[member].download if member in self._measured else None,
            missed=self._missed[member],
        )
        self.decisions += 1
        offers = choose(facts, [u.facts for _, u in found.values()], self._busy, self.now)
        return [(*found[offer.unit], offer) for offer in offers]

    def _candidates(self, open_: _Open, member: str, groups: set[tuple[str, str]]) -> list[Unit]:
        mine = open_.preferred.get(member)
        if mine is not None and mine.status == "queued":
            return [mine]
        while open_.free and (open_.free[0].status != "queued" or open_.free[0].facts.deadline <= self.now):
            open_.free.popleft()
        first = itertools.islice(open_.free, CANDIDATES_PER_JOB)
        return [
            u
            for u in first
            if u.status == "queued" and not (u.facts.group and (u.facts.job, u.facts.group) in groups)
        ]

    def _lease(self, member: str, job: str, unit: Unit, offer: Offer) -> None:
        open_, machine = self._open[job], self.machines[member]
        unit.status, unit.member, unit.leased_at = "leased", member, self.now
        unit.attempt += 1
        open_.leased += 1
        self._busy[job] += 1
        self.leases[member] += 1
        if unit.facts.group:
            self._groups[member] = {g for g in self._groups[member] if g[0] != job} | {
                (job, unit.facts.group)
            }
            if open_.started is None:
                open_.started = self.now
                self._at(open_.pickup_until, self._hurry, job, open_)
        if offer.waited_until is not None:
            unit.waited_until = offer.waited_until
            self._at(offer.waited_until, self._look, job, open_)
        if machine.stalls:
            return
        speed = machine.speed_at(self.now)
        fetching = self.jobs[job].download_bytes / machine.download
        computed = min(offer.amount / speed, max(1 / speed, offer.seconds - fetching))
        done = max(1, min(offer.amount, int(speed * computed + 1e-6)))
        finished = self.now + fetching + computed
        sent = finished + self.jobs[job].upload_bytes / machine.upload
        if machine.dies <= sent:
            self._at(machine.dies + LEASE, self._lost, job, open_, unit)
        elif machine.leaves <= sent:
            self._at(machine.leaves, self._lost, job, open_, unit)
        else:
            self.busy_seconds[member] += computed
            self._at(sent, self._submit, job, open_, unit, Handed(member, self.now, computed, done, sent))

    def _submit(self, job: str, open_: _Open, unit: Unit, handed: Handed) -> None:
        rates = self._rates[handed.member]
        if unit.status == "leased" and unit.member == handed.member:
            rates[job] = smoothed(rates.get(job), handed.done / handed.computed)
            self._measured.add(handed.member)
            self._missed[handed.member] = 0
            unit.status = "submitted"
            self._end_lease(job, open_)
            open_.round.handed.append(handed)
            self._look(job, open_)
        self._ask(handed.member)

    def _lost(self, job: str, open_: _Open, unit: Unit) -> None:
        if unit.status != "leased":
            return
        until = retry_until(
            grouped=bool(unit.facts.group),
            deadline=unit.facts.deadline,
            leased_at=unit.leased_at,
            target_seconds=unit.facts.amount.target_seconds,
            attempts_left=3 - unit.attempt,
            now=self.now,
        )
        unit.status = "dropped" if until is None else "queued"
        self._end_lease(job, open_)
        if until is not None:
            self._offer_to_all(open_, unit, until)
        self._look(job, open_)

    def _end_lease(self, job: str, open_: _Open) -> None:
        open_.leased -= 1
        self._busy[job] -= 1

    # The foreman

    def _plan(self, job_id: str) -> None:
        job = self.jobs[job_id]
        here = list(self._here)
        number = len(here) if job.units is None else job.units
        if not here:
            self._at(self.now + 1, self._plan, job_id)
            return
        target = job.amount.target_seconds
        deadline = self.now + (3 * target if job.grouped else 100 * target)
        count = len(self.rounds[job_id])
        units = [
            Unit(self._facts(job, count, i, deadline, here[i] if job.grouped else None))
            for i in range(number)
        ]
        preferred = {u.facts.prefers: u for u in units if u.facts.prefers is not None}
        open_ = _Open(Round(self.now, number), deadline, self.now + PICKUP, units, preferred)
        open_.free.extend(u for u in units if u.facts.prefers is None)
        self.rounds[job_id].append(open_.round)
        self._open[job_id] = open_
        self._at(deadline, self._look, job_id, open_)
        self._at(open_.pickup_until, self._open_to_all, job_id, open_)
        self._wake(list(preferred) if job.grouped else list(self._idle)[:number])

    def _facts(
        self, job: SimulatedJob, count: int, i: int, deadline: float, prefers: str | None
    ) -> UnitFacts:
        return UnitFacts(
            id=f"{job.id}-{count}-{i}",
            job=job.id,
            group=f"r{count}" if job.grouped else "",
            kind="work",
            role="train",
            memory=2**30,
            min_reputation=0.0,
            prefers=prefers,
            excludes=frozenset(),
            amount=job.amount,
            deadline=deadline,
            pickup_until=self.now + PICKUP,
            created=self.now,
        )

    def _open_to_all(self, job: str, open_: _Open) -> None:
        if self._open.get(job) is open_:
            for unit in open_.units:
                if unit.status == "queued" and unit.facts.prefers is not None:
                    self._offer_to_all(open_, unit, unit.facts.deadline)
            open_.preferred.clear()
            self._look(job, open_)

    def _offer_to_all(self, open_: _Open, unit: Unit, deadline: float) -> None:
        unit.facts = _replaced(unit.facts, deadline=deadline, prefers=None)
        open_.free.append(unit)
        self._wake(list(itertools.islice(self._idle, 2)))

    def _hurry(self, job: str, open_: _Open) -> None:
        if self._open.get(job) is not open_ or open_.started is None:
            return
        until = latest_start(open_.started, PICKUP) + patience(self.jobs[job].amount.target_seconds)
        for unit in open_.units:
            if unit.status == "queued":
                unit.facts = _replaced(unit.facts, deadline=min(unit.facts.deadline, until))

    def _wake(self, members: Sequence[str]) -> None:
        for member in members:
            if member in self._idle:
                del self._idle[member]
                self._ask(member)

    def _look(self, job: str, open_: _Open) -> None:
        if self._open.get(job) is not open_:
            return
        if self.now < open_.deadline and any(
            u.status == "leased" and self.now < u.waited_until for u in open_.units
        ):
            return
        units = [
            Progress(status=u.status, pickup_until=u.facts.pickup_until, deadline=u.waited_until)  # type: ignore[arg-type]
            for u in open_.units
        ]
        quorum = max(1, len(units) // 2)
        if decide(units, quorum=quorum, deadline=open_.deadline, now=self.now) == "fold":
            for unit in open_.units:
                if unit.status == "leased":
                    self._end_lease(job, open_)
                    self._miss(unit)
                unit.status = "folded" if unit.status == "submitted" else "dropped"
            open_.round.folded = self.now
            del self._open[job]
            self._at(self.now + FOLD, self._plan, job)

    def _miss(self, unit: Unit) -> None:
        if unit.facts.group and unit.member and self.now >= unit.leased_at + unit.facts.amount.target_seconds:
            self._missed[unit.member] += 1
        if unit.member and self.machines[unit.member].stalls:
            self._at(self.now + FOLD, self._ask, unit.member)


def _replaced(facts: UnitFacts, *, deadline: float, prefers: str | None = None) -> UnitFacts:
    return UnitFacts(
        id=facts.id,
        job=facts.job,
        group=facts.group,
        kind=facts.kind,
        role=facts.role,
        memory=facts.memory,
        min_reputation=facts.min_reputation,
        prefers=prefers,
        excludes=facts.excludes,
        amount=facts.amount,
        deadline=deadline,
        pickup_until=facts.pickup_until,
        created=facts.created,
    )
