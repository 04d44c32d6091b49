"""Three schedules over a job's inner steps: the learning rate, H (the steps between synchronizations), and the
outer momentum. All are pure functions of the step.

Why H and the momentum change on the way: at first the weights move fast along steep directions; members that
average seldom lose progress that they never make up for, and outer momentum overshoots. Later the gradients are
mostly noise: members may work alone for long, and what the averaging of small steps loses in speed is won back by
momentum. The bytes go where they matter, to the first steps. (Gu et al. 2024, the Quadratic Synchronization Rule,
derive H proportional to the inverse square of the learning rate for the end of training; bench/quality.py measures
both ends.)
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from commonweal.train.outer import OuterOptions


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
    """H grows from ``first`` to ``last`` over the first ``growth`` share of the steps, as the ``power`` of the
    progress: 1 is a straight line, 2 stays small for longer."""

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
    done = 0
    while done < total_steps:
        plan.append(inner_steps(done, total_steps, options))
        done += plan[-1]
    return plan


@dataclass(frozen=True, slots=True, kw_only=True)
class OuterSchedule:
    """Plain averaging up to the ``start`` share of the steps, ``settled`` from the ``end`` share on, and a straight
    line between. ``start = end = 0`` is DiLoCo: the settled options from the first round."""

    start: float = 0.0
    end: float = 0.0
    settled: OuterOptions = field(default_factory=OuterOptions)

    def __post_init__(self) -> None:
        if not 0 <= self.start <= self.end <= 1:
            raise ValueError("start, end: need 0 <= start <= end <= 1")


def outer_options(step: int, total_steps: int, schedule: OuterSchedule) -> OuterOptions:
    """The outer step's options at the end of the round that began at ``step``."""
    start, end = schedule.start * total_steps, schedule.end * total_steps
    if step >= end:
        return schedule.settled
    share = (step - start) / (end - start) if step > start else 0.0
    return OuterOptions(lr=1 + share * (schedule.settled.lr - 1), momentum=share * schedule.settled.momentum)
