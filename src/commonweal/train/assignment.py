"""What a unit of a training round says: written by the job's plan, carried out by a member, read again by the
fold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from commonweal.core.errors import InvalidContribution
from commonweal.core.hashing import BlobHash
from commonweal.core.work import Json
from commonweal.train.chain import Update


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """Start from state ``base`` (the blob of that name, or what ``chain`` makes of an older state), take
    inner steps on slot ``slot`` of ``slots`` of the data from ``position``, and send the elements ``start``
    to ``stop`` of what changed in ``codec``.

    ``step`` is the job's inner step at the beginning, of ``total_steps``; ``inner_steps`` what a typical
    member takes. ``planned`` is the hub's time (seconds since the epoch). ``codec_down`` and ``reason`` are
    for the fold.
    """

    worker: BlobHash
    round: int
    attempt: int
    base: BlobHash
    chain: tuple[Update, ...]
    slot: int
    slots: int
    position: int
    step: int
    total_steps: int
    inner_steps: int
    start: int
    stop: int
    codec: str
    codec_down: str
    seed: int
    overlap: bool
    planned: float
    reason: str

    def to_json(self) -> Json:
        """Plain JSON that :meth:`from_json` reads back."""
        return {**asdict(self), "chain": [update.to_json() for update in self.chain]}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Assignment:
        """Raises InvalidContribution when ``value`` is not an assignment (of a version that is known)."""
        try:
            return cls(**{**value, "chain": tuple(Update.from_json(u) for u in value["chain"])})
        except (TypeError, KeyError, ValueError) as error:
            raise InvalidContribution(f"not a unit of a training round: {error}") from None

    @property
    def key(self) -> str:
        """The unit's key; keys sort as slots do."""
        return unit_key(self.round, self.attempt, self.slot)


def unit_key(number: int, attempt: int, slot: int) -> str:
    """
    >>> unit_key(12, 0, 3)
    'r000012.0.s0003'
    """
    return f"r{number:06d}.{attempt}.s{slot:04d}"
