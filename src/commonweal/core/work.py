"""The seam between those who move work and those who know what it means.

``pool`` moves :class:`WorkUnit` s to members and :class:`Result` s back without understanding either; a
:class:`Job` (training here; generation, scoring and evaluation later) plans units and folds results without
knowing who computes them or how they travel; an :class:`Executor` computes one unit on a member's machine.

Everything that crosses the network is plain JSON plus blobs named by their content hash.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from commonweal.core.hashing import BlobHash
from commonweal.core.ids import JobId, MemberId

Json = dict[str, Any]

LEAST_COMPUTING, MOST_COMPUTING = 0.25, 2.0
"""What a slow or a fast link may make of the target time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Amount:
    """How much of a unit one member is asked to do, in the unit's own measure (inner steps, tokens, rows).

    The scheduler asks for ``rate * computing(...)`` where ``rate`` is the member's measured speed at this kind
    of work, kept within ``least`` and ``most``; a member without a measured speed is asked for ``first``.
    ``up_bytes`` and ``down_bytes`` are what the unit has a member move, and ``transfer_seconds`` how long that takes
    the typical one, who computes for ``target_seconds``.
    """

    least: int
    most: int
    first: int
    target_seconds: float
    up_bytes: float = 0.0
    down_bytes: float = 0.0
    transfer_seconds: float = 0.0

    def moving(self, upload: float | None, download: float | None) -> float:
        """Seconds that the bytes take over a link of so many bytes a second; the typical time where it is not
        measured."""
        if not upload or not download:
            return self.transfer_seconds
        return self.up_bytes / upload + self.down_bytes / download

    def computing(self, moving: float) -> float:
        """Seconds left to compute for whom the bytes take ``moving`` seconds, so that it is done when the others are.

        >>> amount = Amount(least=1, most=99, first=9, target_seconds=60.0, transfer_seconds=3.0)
        >>> [amount.computing(moving) for moving in (1.0, 3.0, 23.0, 500.0)]
        [62.0, 60.0, 40.0, 15.0]
        """
        left = self.target_seconds + self.transfer_seconds - moving
        return min(max(left, LEAST_COMPUTING * self.target_seconds), MOST_COMPUTING * self.target_seconds)


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """What a member must have to be given a unit. All of it is compared with measurements, not with claims."""

    role: str = "train"
    memory_bytes: int = 0
    min_reputation: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkUnit:
    """A piece of work that one member does.

    ``key`` is unique within the job: planning it twice is planning it once. A member is given at most one
    unit of a ``group`` (the empty group is no group). ``prefers`` names the member that did the like before
    (it has the data and the optimizer state); others get it only when that member does not come for it.
    """

    key: str
    kind: str
    payload: Mapping[str, Any]
    amount: Amount
    needs: Needs = field(default_factory=Needs)
    group: str = ""
    prefers: MemberId | None = None
    excludes: tuple[MemberId, ...] = ()
    max_attempts: int = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Units to be done together, and when to stop waiting for them.

    The group is folded when every unit is done or given up, or at ``deadline`` (seconds since the epoch) if
    at least ``quorum`` results are there. A unit that nobody picks up for ``pickup_seconds`` is given up as
    soon as the others are done.
    """

    units: tuple[WorkUnit, ...]
    deadline: float
    quorum: int = 1
    pickup_seconds: float = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberView:
    """What a planner may know of a member that is here now. ``rate`` is in units of amount per second for the
    job's kind of work, or None before the first measurement; link speeds are measured, in bytes a second."""

    id: MemberId
    rate: float | None
    upload: float | None
    download: float | None
    reputation: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What a member handed in for one unit: ``report`` is small JSON, bulk is in ``blobs`` by name."""

    unit_key: str
    member: MemberId
    payload: Mapping[str, Any]
    report: Mapping[str, Any]
    blobs: Mapping[str, BlobHash]
    amount_asked: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What the fold decided of one result. A refused one is unpaid and costs reputation, unless ``fault`` is
    'none' (a late or stale result is nobody's crime)."""

    unit_key: str
    member: MemberId
    accepted: bool
    reason: str = "ok"
    fault: Literal["none", "member"] = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Payment:
    """Micro-credits that an accepted result earns its member. Paid once, whatever happens (``unit_key``)."""

    unit_key: str
    member: MemberId
    microcredits: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Fold:
    """The outcome of folding a group: committed in one transaction, or not at all.

    ``keeps`` lists every blob that the new state (with its checkpoints) still needs; what earlier folds kept
    and this one does not is garbage.
    """

    state: Json
    record: Json
    verdicts: tuple[Verdict, ...] = ()
    payments: tuple[Payment, ...] = ()
    keeps: frozenset[BlobHash] = frozenset()
    status: Literal["running", "done", "failed"] = "running"


class Job(Protocol):
    """A long-running piece of work, as pure decisions over a small JSON state. Blobs that a fold produces are
    stored before it returns; they are only named by the state that it returns."""

    def start(self) -> Json:
        """The state before any work."""
        ...

    def plan(self, state: Json, members: Sequence[MemberView], now: float) -> Plan | None:
        """The units to do next, or None while there is nothing to do (too few members, say)."""
        ...

    def fold(self, state: Json, results: Sequence[Result], now: float) -> Fold:
        """The next state. ``results`` are in the order of their unit keys, so the same results give the same
        bits."""
        ...


JobFactory = Callable[[JobId, Json], Job]
"""Makes the job of a kind from its id and its saved specification."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A leased unit as the executor sees it: do ``amount`` of it, but hand in what is done after
    ``seconds``."""

    job: JobId
    unit_key: str
    kind: str
    payload: Mapping[str, Any]
    amount: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What an executor computed. ``blobs`` are bytes to be stored; the agent uploads them and submits."""

    report: Json
    blobs: Mapping[str, bytes] = field(default_factory=dict)
    amount_done: int
    seconds: float


class WorkIO(Protocol):
    """What an executor may do with the world outside."""

    stop: threading.Event
    """Set when the lease is lost or the member leaves: give up soon, the outcome is not wanted."""

    def get(self, blob: BlobHash) -> bytes:
        """The bytes of a blob, verified; kept on disk, so a second call is cheap."""
        ...

    def progress(self, amount_done: int) -> None:
        """Say how far it is (sent with the next heartbeat)."""
        ...


class Executor(Protocol):
    """Computes units of one kind. It may keep a session (weights, optimizer) between calls."""

    def run(self, task: Task, io: WorkIO) -> Outcome: ...

    def close(self) -> None: ...
