"""What a training job file says. Every default is one that works, so a short file is enough:

    name = "tales"
    [data]
    kind = "files"
    path = "texts/*.txt"
    [train]
    tokens = 20_000_000

Owns the meaning and the limits of every setting; the resolved settings are saved in the job's specification.
No torch here: a job file is read and checked on any machine.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from commonweal.core.config import from_table, load_toml
from commonweal.core.errors import ConfigError
from commonweal.data.sources import Source
from commonweal.data.tokenizer import TokenizerSettings
from commonweal.models.settings import ModelSettings
from commonweal.train.codecs import make_codec
from commonweal.train.contributions import HUGE

Weights = Literal["equal", "tokens"]
Optimizer = Literal["adamw", "muon"]


@dataclass(frozen=True, slots=True, kw_only=True)
class InnerSettings:
    """The inner loop. The job ends after ``steps`` inner steps of a typical member, or after ``tokens``
    accepted tokens of all members; give one of them.

    The learning rate warms up over the ``warmup`` share of the job and decays by a cosine to ``final_lr``
    times ``lr``; it follows the job's own step, not a member's. ``optimizer`` muon is for matrices between
    embedding and output, with AdamW for all else; it wants a larger ``lr``.
    """

    steps: int | None = None
    tokens: int | None = None
    seq_len: int = 128
    batch_size: int = 8
    optimizer: Optimizer = "adamw"
    lr: float = 3e-3
    final_lr: float = 0.05
    warmup: float = 0.05
    weight_decay: float = 0.1
    clip_norm: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        if (self.steps is None) == (self.tokens is None):
            raise ValueError("steps: set either steps or tokens, to say when the job is done")
        for name in ("steps", "tokens", "seq_len", "batch_size"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name}: must be at least 1")
        if self.seq_len < 2:
            raise ValueError("seq_len: must be at least 2")
        _check_positive(self, "lr", "clip_norm")
        if not 0 <= self.final_lr <= 1:
            raise ValueError("final_lr: a share of lr, between 0 and 1")
        if not 0 <= self.warmup < 1:
            raise ValueError("warmup: a share of the job, at least 0 and below 1")
        if not 0 <= self.weight_decay < 10:
            raise ValueError("weight_decay: must be between 0 and 10")
        if not 0 <= self.seed < 1 << 63:
            raise ValueError("seed: must be between 0 and 2^63 - 1")

    @property
    def tokens_per_step(self) -> int:
        return self.batch_size * self.seq_len


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundSettings:
    """How often members meet, and in what encoding.

    ``plan`` lets the planner choose codec and inner steps from the measured links, so that communication
    stays under ``comm_share`` of a round; without it, ``codec_up``, ``codec_down`` and the schedule hold as
    they are: inner steps a round grow from ``first_inner_steps`` to ``last_inner_steps`` over the ``growth``
    share of the job. ``seconds`` is how long a round may compute (0: derived from the members' measured
    speeds). With ``fragments`` above 1 a round carries one fragment of the parameters; with ``overlap``
    members go on computing while a round is folded. ``weights`` counts members equally or by their tokens.
    After ``fruitless`` rounds in a row in which every contribution was refused the job fails.

    The outer step begins as plain averaging and reaches ``outer_lr`` and ``outer_momentum`` after the
    ``growth`` share of the job.
    """

    plan: bool = True
    codec_up: str = "int4"
    codec_down: str = "int4"
    first_inner_steps: int = 4
    last_inner_steps: int = 28
    growth: float = 0.33
    outer_lr: float = 0.8
    outer_momentum: float = 0.8
    comm_share: float = 0.05
    seconds: float = 0.0
    min_members: int = 1
    max_members: int = 64
    quorum: int = 1
    fragments: int = 1
    overlap: bool = False
    weights: Weights = "equal"
    fruitless: int = 5

    def __post_init__(self) -> None:
        for name in ("first_inner_steps", "min_members", "quorum", "fragments", "fruitless"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: must be at least 1")
        if self.last_inner_steps < self.first_inner_steps:
            raise ValueError("last_inner_steps: must not be below first_inner_steps")
        if not 0 < self.growth <= 1:
            raise ValueError("growth: a share of the job, above 0 and at most 1")
        for name in ("codec_up", "codec_down"):
            _check_codec(name, getattr(self, name))
            if getattr(self, name).startswith("cocktail") and self.last_inner_steps > 1:
                raise ValueError(
                    f"{name}: cocktail is for a meeting at every step, with more it diverges: set first_inner_steps "
                    "and last_inner_steps to 1 and plan to false, or take topk"
                )
            if getattr(self, name).startswith("cocktail") and self.plan:
                raise ValueError(f"{name}: the planner knows no cocktail: set plan to false")
        if not self.min_members <= self.max_members <= 4096:
            raise ValueError("max_members: must be between min_members and 4096")
        if self.quorum > self.max_members:
            raise ValueError("quorum: must not be above max_members")
        if not 0 < self.outer_lr <= 10:
            raise ValueError("outer_lr: must be above 0 and at most 10")
        if not 0 <= self.outer_momentum < 1:
            raise ValueError("outer_momentum: must be between 0 and 1 (exclusive)")
        if not 0 < self.comm_share < 1:
            raise ValueError("comm_share: a share of a round's time, between 0 and 1")
        if not 0 <= self.seconds <= 1e7:
            raise ValueError("seconds: must be 0 (derived) to 1e7")


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckSettings:
    """How contributions of strangers are judged. A norm above ``norm_limit`` times the round's median is
    refused, one above the median is clipped to it. With ``score``, a contribution that raises the loss on
    held-out text by more than the noise is refused; it needs torch on the hub."""

    score: bool = True
    score_batches: int = 4
    tolerance: float = 0.001
    norm_limit: float = HUGE
    clip: bool = True

    def __post_init__(self) -> None:
        if self.score_batches < 1:
            raise ValueError("score_batches: must be at least 1")
        if not 0 <= self.tolerance < 1:
            raise ValueError("tolerance: a fraction of the loss, between 0 and 1")
        if not self.norm_limit > 1:
            raise ValueError("norm_limit: must be above 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class KeepSettings:
    """A checkpoint every ``every`` rounds, of which the last ``keep`` stay. The held-out loss is measured
    every ``evaluate_every`` rounds on ``held_out_windows`` windows spread over the held-out text."""

    every: int = 20
    keep: int = 3
    evaluate_every: int = 5
    held_out_windows: int = 64

    def __post_init__(self) -> None:
        for name in ("every", "keep", "evaluate_every", "held_out_windows"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: must be at least 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class PaySettings:
    """What the job pays per 1,000 tokens of accepted contributions, and at most in all (0: no limit of its
    own), in micro-credits."""

    per_1000_tokens: int = 1000
    budget: int = 0

    def __post_init__(self) -> None:
        for name in ("per_1000_tokens", "budget"):
            if not 0 <= getattr(self, name) <= 1 << 53:
                raise ValueError(f"{name}: must be between 0 and 2^53")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainSettings:
    """A training job, whole."""

    name: str
    train: InnerSettings
    data: Source = field(default_factory=Source)
    held_out: Source | None = None
    tokenizer: TokenizerSettings = field(default_factory=TokenizerSettings)
    model: ModelSettings = field(default_factory=ModelSettings)
    rounds: RoundSettings = field(default_factory=RoundSettings)
    checks: CheckSettings = field(default_factory=CheckSettings)
    checkpoints: KeepSettings = field(default_factory=KeepSettings)
    pay: PaySettings = field(default_factory=PaySettings)

    def __post_init__(self) -> None:
        if not self.name.strip() or len(self.name) > 80 or not self.name.isprintable():
            raise ValueError("name: 1 to 80 printable characters")

    def to_json(self) -> dict[str, Any]:
        """Plain JSON that :meth:`from_json` reads back: every setting, resolved."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> TrainSettings:
        """Read :meth:`to_json` back. Raises ConfigError."""
        return from_table(_tabled(value), cls, where="job")


def load_job(path: Path) -> TrainSettings:
    """Read a job file. Raises ConfigError naming the file, the field and what to do."""
    return load_toml(path, TrainSettings)


def _tabled(value: dict[str, Any]) -> dict[str, Any]:
    """JSON as TOML would have it: no nulls (a missing key is the default, and every ``X | None`` defaults to
    None), lists for tuples."""
    return {key: _untupled(item) for key, item in value.items() if item is not None}


def _untupled(value: Any) -> Any:
    if isinstance(value, dict):
        return _tabled(value)
    return [_untupled(item) for item in value] if isinstance(value, list | tuple) else value


def _check_positive(settings: object, *names: str) -> None:
    for name in names:
        if not 0 < getattr(settings, name) < math.inf:
            raise ValueError(f"{name}: must be above 0")


def _check_codec(name: str, codec: str) -> None:
    try:
        make_codec(codec)
    except ConfigError as error:
        raise ValueError(f"{name}: {error}") from None
