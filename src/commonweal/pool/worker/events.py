"""What an agent tells whoever watches it: a console, a log, a test. Facts, not text.

A listener is called from several threads, must return soon, and must not raise.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from commonweal.core.ids import MemberId


@dataclass(frozen=True, slots=True, kw_only=True)
class Joined:
    """The machine is a member; ``new`` if it just became one."""

    member: MemberId
    name: str
    new: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """The first look at hours, battery and load has found nothing against working. Where it has, ``Paused`` comes
    instead, and later ``Resumed``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Leased:
    """A unit was lent to it."""

    unit: str
    job: str
    kind: str
    amount: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Progressed:
    unit: str
    amount_done: int
    amount: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Downloading:
    """A blob that the unit needs is on its way: ``here`` bytes of ``size`` (None: nobody says). Told now and then."""

    here: int
    size: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Uploading:
    """The unit is computed; ``size`` bytes go to the hub."""

    unit: str
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Submitted:
    """The hub has the result. ``seconds`` is what the executor took."""

    unit: str
    amount_done: int
    seconds: float
    duplicate: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost:
    """The lease is not valid any more: somebody else has the unit, or nobody wants it."""

    unit: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Released:
    """The unit was handed back undone; ``failure`` is '' where nothing failed."""

    unit: str
    failure: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Paused:
    """No work is asked for until the reason is gone."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Resumed:
    """The reason is gone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """The hub (or its store) is away or busy; the next try is in ``seconds``."""

    reason: str
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Left:
    """The agent has ended. ``told`` if the hub knows."""

    told: bool


Event = (
    Joined
    | Ready
    | Leased
    | Progressed
    | Downloading
    | Uploading
    | Submitted
    | Lost
    | Released
    | Paused
    | Resumed
    | Waiting
    | Left
)
Listener = Callable[[Event], None]
