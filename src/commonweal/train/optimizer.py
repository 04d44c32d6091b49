"""The inner optimizer of a member: AdamW, or Muon for the hidden matrices with AdamW for all else.

Muon (Jordan et al. 2024) replaces the momentum of a matrix by the nearest orthogonal one, so that a step moves all
directions alike; scaled to the size of AdamW's steps (Liu et al. 2025, "Muon is scalable", section 2.2) both go by one
learning rate. Averages of such steps lose less when members meet seldom and send few bits (Therien et al. 2025,
"MuLoCo"). Knows parameters by name, and nothing of rounds, codecs or data.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from commonweal.train.muon import Muon

OptimizerName = Literal["adamw", "muon"]

_KEPT = ("step", "exp_avg", "exp_avg_sq", "momentum_buffer")
"""What torch's two optimizers remember of a parameter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InnerOptions:
    """``beta1``, ``beta2`` and ``eps`` are AdamW's, ``momentum`` is Muon's. Weight decay spares vectors (norms and
    biases), as is usual for language models."""

    optimizer: OptimizerName = "adamw"
    beta1: float = 0.9
    beta2: float = 0.99
    eps: float = 1e-8
    momentum: float = 0.95
    weight_decay: float = 0.1
    grad_clip: float = 1.0

    def __post_init__(self) -> None:
        if self.optimizer not in ("adamw", "muon"):
            raise ValueError("optimizer: adamw or muon")
        if not all(0 <= beta < 1 for beta in (self.beta1, self.beta2, self.momentum)):
            raise ValueError("beta1, beta2, momentum: must be at least 0 and below 1")
        if self.eps <= 0 or self.weight_decay < 0 or self.grad_clip < 0:
            raise ValueError("eps: must be above 0; weight_decay, grad_clip: must not be negative")


class InnerOptimizer:
    """The optimizer of the named parameters of a model, kept by its member from round to round."""

    def __init__(self, model: nn.Module, names: Sequence[str], options: InnerOptions) -> None:
        self.model = model
        self.names = list(names)
        self.options = options
        parameters = dict(model.named_parameters())
        self._parameters = [parameters[name] for name in self.names]
        hidden = _hidden_matrices(model) if options.optimizer == "muon" else frozenset[int]()
        by_muon = [p for p in self._parameters if id(p) in hidden]
        by_adam = [p for p in self._parameters if id(p) not in hidden]
        self._optimizers = [made for made in (_adamw(by_adam, options), _muon(by_muon, options)) if made]

    def step(self, lr: float) -> None:
        """One step along the gradients that are there, then forget them."""
        if self.options.grad_clip:
            torch.nn.utils.clip_grad_norm_(self._parameters, self.options.grad_clip)
        for optimizer in self._optimizers:
            for group in optimizer.param_groups:
                group["lr"] = lr
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

    def state(self) -> dict[str, torch.Tensor]:
        """The moments by parameter name, flat enough for safetensors."""
        return {
            f"{key}:{name}": value
            for name, parameter, optimizer in self._owned()
            for key, value in optimizer.state.get(parameter, {}).items()
        }

    def load_state(self, tensors: dict[str, torch.Tensor]) -> None:
        """Take up what :meth:`state` gave."""
        for name, parameter, optimizer in self._owned():
            found = {key: tensors[f"{key}:{name}"].clone() for key in _KEPT if f"{key}:{name}" in tensors}
            if found:
                optimizer.state[parameter] = found

    def _owned(self) -> Iterator[tuple[str, nn.Parameter, torch.optim.Optimizer]]:
        names = {id(p): name for name, p in zip(self.names, self._parameters, strict=True)}
        for optimizer in self._optimizers:
            for group in optimizer.param_groups:
                for parameter in group["params"]:
                    yield names[id(parameter)], parameter, optimizer


def _adamw(parameters: Sequence[nn.Parameter], options: InnerOptions) -> torch.optim.Optimizer | None:
    groups = [
        {"params": [p for p in parameters if p.dim() >= 2], "weight_decay": options.weight_decay},
        {"params": [p for p in parameters if p.dim() < 2], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    betas = (options.beta1, options.beta2)
    return torch.optim.AdamW(groups, lr=0.0, betas=betas, eps=options.eps) if groups else None


def _muon(parameters: Sequence[nn.Parameter], options: InnerOptions) -> torch.optim.Optimizer | None:
    if not parameters:
        return None
    return Muon(parameters, lr=0.0, momentum=options.momentum, weight_decay=options.weight_decay)


def _hidden_matrices(model: nn.Module) -> frozenset[int]:
    """The ids of matrices between the embedding and the output layer: both of these are tables of vectors, of which a
    step touches few, and orthogonal steps do not suit them."""
    tables = {id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding)}
    for module in model.modules():
        head = getattr(module, "get_output_embeddings", lambda: None)()
        if head is not None:
            tables.add(id(head.weight))
    return frozenset(id(p) for p in model.parameters() if p.dim() == 2 and id(p) not in tables)
