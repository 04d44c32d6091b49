"""Who gets what: pure decisions over facts, without a database, a network or a clock.

A member's facts are what the hub measured (link, reputation, the memory it ran out of), and its speed at a job, of
which its own word is taken only within what the hub saw. ``choose`` ranks the queued units for one member that
asks; ``decide`` says whether a group of units is to be folded now. Both are called inside short transactions and by
the simulated pool alike.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from commonweal.core.work import Amount

_ROUNDING = 1e-6  # three steps that take all of the time are three

MISSED_TOO_OFTEN = 3
"""Groups in a row that were folded without what a member had been lent: from then on it is not waited for."""

UnitStatus = Literal["queued", "leased", "submitted", "folded", "dropped"]


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberFacts:
    """``memory`` is what is free now, in bytes, and below what it ever failed on; ``rates`` is by job;
    ``groups`` holds (job, group) of every group in which it already has or had a unit. ``upload`` and ``download``
    are bytes a second, None before they are measured; ``missed`` is how many groups in a row were folded without what
    it had been lent."""

    id: str
    roles: frozenset[str]
    kinds: frozenset[str]
    memory: int
    reputation: float
    rates: Mapping[str, float]
    groups: frozenset[tuple[str, str]]
    upload: float | None = None
    download: float | None = None
    missed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitFacts:
    id: str
    job: str
    group: str
    kind: str
    role: str
    memory: int
    min_reputation: float
    prefers: str | None
    excludes: frozenset[str]
    amount: Amount
    deadline: float
    pickup_until: float
    created: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """Unit ``unit``, ``amount`` of it, to be handed in after ``seconds`` at the latest. Its group waits for it until
    ``waited_until``, if not for longer than for any (None)."""

    unit: str
    amount: int
    seconds: float
    waited_until: float | None = None


def choose(
    member: MemberFacts, units: Sequence[UnitFacts], busy: Mapping[str, int], now: float
) -> list[Offer]:
    """The units that ``member`` may have, best first.

    Its own units (the ones that prefer it) come first; then the job with the fewest members at work
    (``busy``), so that jobs share the pool evenly; then the oldest.
    """
    allowed = [unit for unit in units if _allowed(member, unit, now)]
    allowed.sort(key=lambda u: (u.prefers != member.id, busy.get(u.job, 0), u.created, u.id))
    offers = (_offer(member, unit, now) for unit in allowed)
    return [offer for offer in offers if offer is not None]


def _allowed(member: MemberFacts, unit: UnitFacts, now: float) -> bool:
    return (
        unit.role in member.roles
        and unit.kind in member.kinds
        and unit.memory <= member.memory
        and unit.min_reputation <= member.reputation
        and member.id not in unit.excludes
        and (not unit.group or (unit.job, unit.group) not in member.groups)
        and (unit.prefers is None or unit.prefers == member.id or now >= unit.pickup_until)
    )


def _offer(member: MemberFacts, unit: UnitFacts, now: float) -> Offer | None:
    """As much as the member can do in the time that its link leaves it, or in what is left before the deadline."""
    amount, rate = unit.amount, member.rates.get(unit.job)
    left = unit.deadline - now
    if left <= 0:
        return None
    moving = amount.moving(member.upload, member.download)
    computing = amount.computing(moving)
    # Who computes fetches first, and its time runs from the lease on.
    fetching = amount.down_bytes / member.download if member.upload and member.download else 0.0
    seconds = min(left, patience(computing + fetching))
    until = _waited_until(member, unit, computing + moving, now)
    if rate is None or rate <= 0:
        return Offer(unit=unit.id, amount=amount.first, seconds=seconds, waited_until=until)
    asked = int(min(rate * min(computing, left) + _ROUNDING, amount.most))
    if asked < amount.least:
        asked = amount.least
        if asked / rate > left:
            return None
    return Offer(unit=unit.id, amount=asked, seconds=seconds, waited_until=until)


def _waited_until(member: MemberFacts, unit: UnitFacts, needs: float, now: float) -> float | None:
    """Until when the others may have to wait for the member's part of a group. Not longer than they compute themselves
    for whom a part that it can hand in comes too late, so slow is its link, and for whom has let them wait in vain
    again and again. What it does hand in by then counts."""
    together = unit.amount.target_seconds + unit.amount.transfer_seconds
    late = needs > patience(together) or member.missed >= MISSED_TOO_OFTEN
    return now + together if unit.group and late else None


def patience(target_seconds: float) -> float:
    """A member hands in what it has after a fifth more than the target time: a straggler never holds up the
    others for long, and its work is not lost."""
    return target_seconds * 1.2


def latest_start(started: float, pickup_seconds: float) -> float:
    """Until when a unit of a group is a whole unit, once its first member has ``started``. Who comes later is
    given only the time that is left until the others are done (:func:`patience` after this)."""
    return started + pickup_seconds


def retry_until(
    *,
    grouped: bool,
    deadline: float,
    leased_at: float,
    target_seconds: float,
    attempts_left: int,
    now: float,
) -> float | None:
    """The deadline of a unit that came back undone, or None to give it up. Who takes over a unit of a group
    must be done when the others are, so the group never waits for it."""
    until = min(deadline, leased_at + patience(target_seconds)) if grouped else deadline
    return until if attempts_left > 0 and until - now > 0.3 * target_seconds else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Where one unit of a group stands. ``deadline`` is the unit's own: that of one taken over late is early."""

    status: UnitStatus
    pickup_until: float
    deadline: float = math.inf


Decision = Literal["wait", "fold"]


def decide(units: Sequence[Progress], *, quorum: int, deadline: float, now: float) -> Decision:
    """Whether a group is to be folded.

    Folded when nothing more can come: every unit is handed in, dropped, or was not picked up in time while no
    other is under way; or at the deadline, once ``quorum`` results are there or nobody works on it any more. A
    unit past its own deadline is not waited for either.
    """
    results = sum(unit.status == "submitted" for unit in units)
    leased = any(unit.status == "leased" and (now < unit.deadline or results < quorum) for unit in units)
    waiting = any(unit.status == "queued" and now < unit.pickup_until for unit in units)
    if now >= deadline:
        return "fold" if results >= quorum or not leased else "wait"
    if leased or waiting:
        return "wait"
    queued = any(unit.status == "queued" for unit in units)
    return "fold" if results >= quorum or not queued else "wait"


def reputation_after(reputation: float, accepted: bool) -> float:
    """A moving judgement in [0, 1]: good work raises it slowly, bad work halves it (after BOINC's adaptive
    replication: trust is earned by runs of valid results, and lost at once)."""
    return reputation + (1 - reputation) * 0.05 if accepted else reputation * 0.5


def smoothed(old: float | None, new: float) -> float:
    """A moving mean of measured speeds. It falls faster than it rises: who is asked for too much holds up the
    others, who is asked for too little does a little less."""
    if old is None:
        return new
    return old + (0.7 if new < old else 0.3) * (new - old)
