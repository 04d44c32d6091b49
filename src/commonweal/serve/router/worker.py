"""What the router knows: of each worker, and of what is asked. Plain records; nothing here decides.

A worker is one open connection of a member. It may have been opened to another hub process (``hub``): then what is
known of it is what that process last said, and what was sent there since. Models are known by their identity.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from commonweal.serve.gateway.frames import Held, ModelSpec, Speed

BYTES_PER_PARAMETER = 4
"""As float32, which is what a member without a graphics card computes in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lender:
    """Whose machine it is, as the pool says. ``account`` is paid for what it answers; ``owner`` is the account whose
    asks it serves first and for nothing. ``trusted`` is the operator's word, ``reputation`` is between 0 and 1,
    ``accepted`` counts what it did well so far."""

    member: str
    account: str
    owner: str
    trusted: bool = False
    reputation: float = 0.5
    accepted: int = 0


@dataclass(slots=True, kw_only=True)
class Worker:
    """Changes as the worker speaks and as asks are given to it. ``running`` counts the asks that it was given and has
    not ended; ``heard`` is when it last said anything. ``speeds`` are its claims, ``measured`` is what the hub saw,
    which counts more. ``failed`` are models that it could not load. ``judges``: it is given nothing but audits."""

    id: str
    lender: Lender
    slots: int
    hub: str = ""
    engine: str = ""
    loads: bool = True
    judges: bool = False
    memory: int = 0
    free: int = 0
    running: int = 0
    names: Mapping[str, str] = field(default_factory=dict)
    models: frozenset[str] = frozenset()
    held: Mapping[str, Held] = field(default_factory=dict)
    loading: frozenset[str] = frozenset()
    speeds: Mapping[str, Speed] = field(default_factory=dict)
    measured: dict[str, Speed] = field(default_factory=dict)
    failed: frozenset[str] = frozenset()
    heard: float = 0.0
    leaving: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What the router must know of an ask to place it. ``since`` is when it arrived, ``tokens`` how many it will make,
    as far as one can guess. ``tried`` are workers that it must not be given to (again), ``excludes`` members.
    ``own`` demands the account's own workers, ``here`` those that are connected to this process. ``audit``: an answer
    is scored anew, which a judge does too."""

    id: str
    account: str
    model: ModelSpec
    since: float
    tokens: float = 100.0
    trusted: bool = False
    own: bool = False
    here: bool = False
    audit: bool = False
    priority: int = 0
    tried: frozenset[str] = frozenset()
    excludes: frozenset[str] = frozenset()

    @property
    def identity(self) -> str:
        return self.model.identity


@dataclass(frozen=True, slots=True, kw_only=True)
class RouterOptions:
    """Seconds, but where it says otherwise. ``patience``: an ask that would wait longer is refused at once.
    ``load_patience``: how long asks wait for a model that is being loaded. ``silence``: a worker that said nothing for
    so long is given nothing; ``lost``: it is given up. ``stall``: an ask of which nothing was heard for so long is.
    ``level``: one step of priority, in seconds of a worker's time; ``aging``: waiting so long raises it by one.
    ``spread``: where asks would wait longer, another worker loads the model; ``keep``: a model asked for within this
    time is not unloaded for another. ``queue``: asks that wait, at most, and ``attempts``: workers that an ask is given
    to, one after the other."""

    patience: float = 30.0
    load_patience: float = 300.0
    silence: float = 3.0
    lost: float = 15.0
    stall: float = 120.0
    level: float = 2.0
    aging: float = 10.0
    spread: float = 5.0
    keep: float = 20.0
    queue: int = 5000
    attempts: int = 4
    unknown: Speed = field(default_factory=lambda: Speed(tokens=30.0, first=0.3))


def size_of(model: ModelSpec) -> int:
    """Bytes that a model takes in a worker's memory, with room to compute; of an adapter, without its base."""
    return model.parameters * BYTES_PER_PARAMETER * 5 // 4


def speed_of(worker: Worker, identity: str, options: RouterOptions) -> Speed:
    """As measured here, else as the worker says, else a guess."""
    return worker.measured.get(identity) or worker.speeds.get(identity, options.unknown)
