"""What a fine-tuning job may be asked for, and what is chosen where nothing is asked.

Epochs and batch size follow the number of examples as OpenAI's "auto" does: about a hundred steps at least
where examples are few, and batches of a five-hundredth of them. The learning rate of multiplier 1 follows the
width of the model (Schulman et al. 2025, "LoRA without regret": ``5e-5 * (2000 / width)^0.775``, ten times
that for adapters, whatever their rank), and a preference, which must not lead far from where it began, takes
a fifth.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from commonweal.core.errors import ConfigError
from commonweal.data.conversations.examples import Method
from commonweal.data.examples import Objective
from commonweal.models.settings import LoraSettings
from commonweal.train.config import InnerSettings, RoundSettings

OBJECTIVES: dict[Method, Objective] = {"supervised": "sft", "dpo": "dpo", "kto": "kto"}

MOST_EPOCHS = 50
MOST_BATCH = 256
USUAL_RANK = 8
_ALPHA = 32.0
_USUAL_BETA = 0.1
_ROUNDS = 20
_MEMBERS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class TuningOptions:
    """What is asked for; None is "auto". ``per_1000_tokens`` is the price in micro-credits."""

    method: Method = "supervised"
    lora: bool = True
    rank: int | None = None
    epochs: int | None = None
    batch_size: int | None = None
    learning_rate_multiplier: float | None = None
    beta: float | None = None
    seed: int = 0
    per_1000_tokens: int = 1000

    def __post_init__(self) -> None:
        if self.method not in OBJECTIVES:
            raise ConfigError(f"method: '{self.method}' is not one of {', '.join(OBJECTIVES)}")
        _between("n_epochs", self.epochs, 1, MOST_EPOCHS)
        _between("batch_size", self.batch_size, 1, MOST_BATCH)
        _between("rank", self.rank, 1, 256)
        _between("learning_rate_multiplier", self.learning_rate_multiplier, 1e-3, 100)
        _between("beta", self.beta, 1e-3, 10)
        _between("seed", self.seed, 0, 2**31 - 1)
        if self.rank is not None and not self.lora:
            raise ConfigError("rank: only adapters have one", hint="leave it out, or train adapters")


@dataclass(frozen=True, slots=True, kw_only=True)
class Hyperparameters:
    """What a job is trained by. ``steps`` are batches over all epochs, shared by its members."""

    epochs: int
    batch_size: int
    learning_rate_multiplier: float
    learning_rate: float
    beta: float
    steps: int
    lora: LoraSettings | None


def choose(
    options: TuningOptions, *, examples: int, width: int, adapter: LoraSettings | None = None
) -> Hyperparameters:
    """The hyperparameters for so many ``examples`` and a model of hidden size ``width``. An ``adapter`` that
    is trained further keeps its shape. Raises ConfigError for a rank that it does not have."""
    if adapter is not None and options.lora and options.rank not in (None, adapter.rank):
        raise ConfigError(
            f"rank: the model is an adapter of rank {adapter.rank}",
            hint="leave rank out, or begin from its base",
        )
    lora = adapter or LoraSettings(rank=options.rank or USUAL_RANK, alpha=_ALPHA)
    epochs = options.epochs or _epochs(examples)
    batch = min(options.batch_size or _batch(examples), examples)
    multiplier = 1.0 if options.learning_rate_multiplier is None else options.learning_rate_multiplier
    rate = 5e-5 * (2000 / width) ** 0.775 * (10 if options.lora else 1)
    return Hyperparameters(
        epochs=epochs,
        batch_size=batch,
        learning_rate_multiplier=multiplier,
        learning_rate=multiplier * rate * (1.0 if options.method == "supervised" else 0.2),
        beta=_USUAL_BETA if options.beta is None else options.beta,
        steps=math.ceil(epochs * examples / batch),
        lora=lora if options.lora else None,
    )


def inner_settings(chosen: Hyperparameters, *, tokens: int, mean_tokens: int, seed: int) -> InnerSettings:
    """The inner loop: it ends by tokens, so that the examples are seen ``epochs`` times by all members
    together. A sequence counts as the mean length of an example, which is what ``seq_len`` says here."""
    return InnerSettings(
        tokens=tokens,
        seq_len=mean_tokens,
        batch_size=chosen.batch_size,
        lr=chosen.learning_rate,
        warmup=0.05,
        final_lr=0.05,
        weight_decay=0.0,
        seed=seed,
    )


def round_settings(chosen: Hyperparameters) -> RoundSettings:
    """About twenty rounds for two members, of plain averages: too few for an outer momentum to settle."""
    inner = min(100, max(4, chosen.steps // (_MEMBERS * _ROUNDS)))
    return RoundSettings(
        plan=False,
        codec_up="int4",
        codec_down="int4",
        first_inner_steps=inner,
        last_inner_steps=inner,
        outer_lr=1.0,
        outer_momentum=0.0,
        weights="tokens",
    )


def _epochs(examples: int) -> int:
    if examples * 3 < 100:
        return min(25, math.ceil(100 / examples))
    return 3 if examples * 3 <= 25_000 else max(1, 25_000 // examples)


def _batch(examples: int) -> int:
    return min(MOST_BATCH, max(1 if examples < 64 else 4, round(examples / 500)))


def _between(name: str, value: Any, least: float, most: float) -> None:
    if value is not None and not (isinstance(value, int | float) and least <= value <= most):
        raise ConfigError(f"{name}: must be from {least} to {most}", hint='or "auto"')
