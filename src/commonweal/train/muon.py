"""Muon (Jordan et al. 2024): momentum, made orthogonal, as the step of a matrix.

torch has one too, whose iteration runs in bfloat16 only. Members lend processors on which that takes 10 to 40 times as
long as float32, more than the rest of the step; so this one iterates in float32 where there is no GPU. A test holds it
to torch's, step by step.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

_A, _B, _C = 3.4445, -4.7750, 2.0315
"""Jordan's quintic: singular values end between 0.7 and 1.2 after five iterations, which is near enough."""

_ITERATIONS = 5
_LIKE_ADAM = 0.2
"""The root mean square of an AdamW step in units of the learning rate (Liu et al. 2025, section 2.2)."""


class Muon(torch.optim.Optimizer):
    """Nesterov momentum of matrices, orthogonalized and scaled to AdamW's step size; decoupled weight decay."""

    def __init__(
        self, parameters: Iterable[nn.Parameter], *, lr: float, momentum: float, weight_decay: float
    ) -> None:
        defaults = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay}
        super().__init__(parameters, defaults)

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """One step along the gradients that are there."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._step(parameter, parameter.grad, group)

    def _step(self, parameter: nn.Parameter, grad: torch.Tensor, group: dict[str, Any]) -> None:
        state = self.state[parameter]
        velocity = state.setdefault("momentum_buffer", torch.zeros_like(grad))
        velocity.lerp_(grad, 1 - group["momentum"])
        way = orthogonalized(grad.lerp(velocity, group["momentum"]))
        parameter.mul_(1 - group["lr"] * group["weight_decay"])
        size = _LIKE_ADAM * max(parameter.shape) ** 0.5
        parameter.add_(way.to(parameter.dtype), alpha=-group["lr"] * size)


def orthogonalized(matrix: torch.Tensor) -> torch.Tensor:
    """The orthogonal factor of a matrix (n, m), nearly, by Newton-Schulz iterations: float32 on a processor,
    bfloat16 on a GPU."""
    x = matrix.to(torch.bfloat16 if matrix.is_cuda else torch.float32)
    tall = x.shape[0] > x.shape[1]
    x = x.T if tall else x
    x = x / x.norm().clamp(min=1e-7)
    for _ in range(_ITERATIONS):
        gram = x @ x.T
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=_B, alpha=_C), x, beta=_A)
    return x.T if tall else x
