"""The outer optimizer: Nesterov momentum over pseudo-gradients (DiLoCo, Douillard et al. 2023, algorithm 1).

A pseudo-gradient is where a member started the round minus where its inner steps led it, so descending along
it moves the shared weights towards the members' mean. The arithmetic is element-wise float32, so every
machine that takes the same step gets the same bits.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from commonweal.train.codecs import Vector


@dataclass(frozen=True, slots=True, kw_only=True)
class OuterOptions:
    """DiLoCo's values. ``lr=1, momentum=0`` is plain averaging of the members' weights."""

    lr: float = 0.7
    momentum: float = 0.9

    def __post_init__(self) -> None:
        if not 0 < self.lr <= 10:
            raise ValueError("lr: must be above 0 and at most 10")
        if not 0 <= self.momentum < 1:
            raise ValueError("momentum: must be at least 0 and below 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stepped:
    """New weights and new momentum; the old ones are left as they were."""

    theta: Vector
    momentum: Vector


def outer_step(theta: Vector, momentum: Vector, mean_delta: Vector, options: OuterOptions) -> Stepped:
    """One step as ``torch.optim.SGD(nesterov=True)`` takes it, with ``mean_delta`` for the gradient.

    ``momentum`` is all zeros before the first step, which gives torch's first step as well.
    """
    mu = np.float32(options.momentum)
    velocity: Vector = np.multiply(momentum, mu)
    velocity += mean_delta
    way: Vector = np.multiply(velocity, mu)
    way += mean_delta
    way *= np.float32(options.lr)
    return Stepped(theta=np.subtract(theta, way), momentum=velocity)
