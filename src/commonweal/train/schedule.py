"""Two schedules over a job's inner steps: the learning rate, and H, the steps between synchronizations.

Early in training the members' weights move fast and averaging them seldom costs most; later, as the learning
rate decays, they drift apart slowly. So H starts small and grows (the Quadratic Synchronization Rule, Gu et al. 2024,
makes it inverse to the square of the learning rate). Everything here is a pure function of the step.
"""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class RateOptions:
    """Linear warm-up over ``warmup`` (a share of all steps), then a cosine down to ``final`` times the peak."""

    peak: float = 3e-3
    warmup: float = 0.05
    final: float = 0.05

    def __post_init__(self) -> None:
        if self.peak <= 0:
            raise ValueError("peak: must be above 0")
        if not 0 <= self.warmup < 1 or not 0 <= self.final <= 1:
            raise ValueError("warmup, final: must be shares between 0 and 1")


def learning_rate(step: int, total_steps: int, options: RateOptions) -> float:
    """The inner learning rate at ``step`` (from 0) of ``total_steps``."""
    warmup = options.warmup * total_steps
    if step < warmup:
        return options.peak * (step + 1) / (warmup + 1)
    progress = min(1.0, (step - warmup) / max(1.0, total_steps - warmup))
    return options.peak * (options.final + (1 - options.final) * 0.5 * (1 + math.cos(math.pi * progress)))


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncOptions:
    """H grows from ``first`` to ``last`` over the first ``growth`` share of the steps, with the given power."""

    first: int = 4
    last: int = 32
    growth: float = 0.5
    power: float = 1.0

    def __post_init__(self) -> None:
        if not 1 <= self.first <= self.last:
            raise ValueError("first, last: need 1 <= first <= last")
        if not 0 < self.growth <= 1 or self.power <= 0:
            raise ValueError("growth: must be above 0 and at most 1; power: must be above 0")


def inner_steps(step: int, total_steps: int, options: SyncOptions) -> int:
    """H of the round that begins at ``step``: never beyond the end of the job, 0 when it is over."""
    progress = min(1.0, step / max(1.0, options.growth * total_steps))
    steps: float = options.first + (options.last - options.first) * progress**options.power
    return max(0, min(round(steps), total_steps - step))


def rounds(total_steps: int, options: SyncOptions) -> list[int]:
    """H of every round of a job.

    >>> rounds(20, SyncOptions(first=1, last=4, growth=0.5))
    [1, 1, 2, 2, 3, 4, 4, 3]
    """
    plan: list[int] = []
    while (done := sum(plan)) < total_steps:
        plan.append(inner_steps(done, total_steps, options))
    return plan
