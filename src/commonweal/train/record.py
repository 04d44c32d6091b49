"""The record of a round: everything that the live table and the model's label say of it. Written once, by the
fold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from commonweal.core.hashing import BlobHash
from commonweal.core.ids import MemberId
from commonweal.core.work import Json

VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberRecord:
    """One result of a round. ``loss`` is the mean over its steps (nats per token), ``seconds`` from lease to
    submit, ``clip`` what its contribution was multiplied by, ``gain`` by how much it lowered the loss on
    held-out text (None: not scored). ``verdict`` is "ok", or why it was refused."""

    member: MemberId
    asked: int
    steps: int = 0
    tokens: int = 0
    loss: float | None = None
    seconds: float = 0.0
    up_bytes: int = 0
    down_bytes: int = 0
    norm: float | None = None
    clip: float = 1.0
    gain: float | None = None
    verdict: str = "ok"


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundRecord:
    """One round, folded or in vain (``outcome``).

    ``step`` and ``tokens`` are the job's totals after it; ``inner_steps`` the typical member's.
    ``stragglers`` were given a unit, or a place, and handed nothing in. Bytes are this round's, of all
    members; ``allreduce_bytes`` what float32 gradients at every step would have used up and down, and
    ``fewer_bytes`` how many times more that is. ``seconds`` is from plan to fold. ``bits_per_byte`` is of the
    held-out text, where it was measured; ``metrics`` what else was, of a job on examples: token_accuracy, or of
    preferences margin (nats) and right (the share that is told rightly).
    """

    version: int = VERSION
    round: int
    attempt: int
    outcome: Literal["folded", "repeated", "failed"]
    message: str = ""
    step: int
    inner_steps: int
    tokens: int
    members: tuple[MemberRecord, ...]
    stragglers: int = 0
    loss: float | None = None
    held_out_loss: float | None = None
    bits_per_byte: float | None = None
    up_bytes: int = 0
    down_bytes: int = 0
    update_bytes: int = 0
    allreduce_bytes: int = 0
    fewer_bytes: float | None = None
    seconds: float = 0.0
    codec_up: str = ""
    codec_down: str = ""
    fragment: tuple[int, int] = (0, 0)
    reason: str = ""
    state: BlobHash
    paid: int = 0
    metrics: Mapping[str, float] = field(default_factory=dict)

    def to_json(self) -> Json:
        """Plain JSON that :meth:`from_json` reads back."""
        made = {name: getattr(self, name) for name in _ROUND}  # asdict copies deeply: ten times as slow
        made["members"] = [{name: getattr(one, name) for name in _MEMBER} for one in self.members]
        made["fragment"] = list(self.fragment)
        made["metrics"] = dict(self.metrics)
        if not self.metrics:  # a job on text has none
            del made["metrics"]
        return made

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> RoundRecord:
        members = tuple(MemberRecord(**m) for m in value["members"])
        start, stop = value["fragment"]
        return cls(**{**value, "members": members, "fragment": (start, stop)})


_ROUND = tuple(one.name for one in fields(RoundRecord))
_MEMBER = tuple(one.name for one in fields(MemberRecord))
