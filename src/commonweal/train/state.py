"""The state of a training job between two rounds: small JSON that names its blobs. Pure data, no
decisions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from commonweal.core.hashing import BlobHash
from commonweal.core.ids import MemberId
from commonweal.core.work import Json
from commonweal.train.chain import Update

CHAIN_LENGTH = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A state that is kept."""

    round: int
    step: int
    theta: BlobHash
    tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """Sums over the job so far. ``allreduce_bytes`` is what float32 gradients, sent and received by every
    member at every step, would have used."""

    tokens: int = 0
    member_steps: int = 0
    up_bytes: int = 0
    down_bytes: int = 0
    allreduce_bytes: int = 0
    microcredits: int = 0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Losses:
    """Training loss (nats per token, mean over members) and held-out bits per byte, at first and last."""

    first: float | None = None
    last: float | None = None
    bits_before: float | None = None
    bits_now: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainState:
    """``round`` is the next one to plan, ``attempt`` how often it was tried in vain, ``refused`` how often
    because every contribution was refused; ``step`` the job's inner step; ``position`` where the next round
    begins in the data (windows). ``momentum`` and ``residual`` (of the update's compression) are None while
    they are zero. ``seen`` is the round in which a member last contributed; ``usual`` the median root mean
    squares of the last rounds' contributions.
    """

    round: int = 0
    attempt: int = 0
    refused: int = 0
    step: int = 0
    position: int = 0
    theta: BlobHash
    previous: BlobHash | None = None
    momentum: BlobHash | None = None
    residual: BlobHash | None = None
    chain: tuple[Update, ...] = ()
    seen: Mapping[MemberId, int] = field(default_factory=dict)
    usual: tuple[float, ...] = ()
    checkpoints: tuple[Checkpoint, ...] = ()
    totals: Totals = Totals()
    losses: Losses = Losses()

    def to_json(self) -> Json:
        """Plain JSON that :meth:`from_json` reads back."""
        return {**asdict(self), "chain": [update.to_json() for update in self.chain]}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> TrainState:
        return cls(
            **{
                **value,
                "chain": tuple(Update.from_json(u) for u in value["chain"]),
                "seen": {MemberId(m): int(number) for m, number in value["seen"].items()},
                "usual": tuple(value["usual"]),
                "checkpoints": tuple(Checkpoint(**c) for c in value["checkpoints"]),
                "totals": Totals(**value["totals"]),
                "losses": Losses(**value["losses"]),
            }
        )

    def keeps(self) -> frozenset[BlobHash]:
        """Every blob that this state needs, the state before it included: a member may still be fetching
        that."""
        named = [self.theta, self.previous, self.momentum, self.residual]
        named += [update.blob for update in self.chain] + [c.theta for c in self.checkpoints]
        return frozenset(name for name in named if name is not None)
