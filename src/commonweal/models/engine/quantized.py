"""Models in fewer bits. How many is part of what a model is: its answers differ, and auditing sees it."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from commonweal.core.errors import ConfigError
from commonweal.models.engine.options import Quantization


class Int8Linear(nn.Module):
    """``x W + b`` with W in 8 bits, one scale an output (symmetric, rounded to nearest)."""

    weight: torch.Tensor
    scale: torch.Tensor
    bias: torch.Tensor | None

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        weight = linear.weight.detach().float()
        scale = weight.abs().amax(dim=1).clamp(min=1e-12) / 127.0
        self.register_buffer("weight", (weight / scale[:, None]).round().clamp(-127, 127).to(torch.int8))
        self.register_buffer("scale", scale.to(linear.weight.dtype))
        self.register_buffer("bias", None if linear.bias is None else linear.bias.detach())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        made = nn.functional.linear(x, self.weight.to(x.dtype)) * self.scale
        return made if self.bias is None else made + self.bias


def quantized(model: Any, quantization: Quantization) -> Any:
    """``model`` (changed in place) with its linear layers, the output head aside, as ``quantization`` says."""
    if quantization == "none":
        return model
    if quantization != "int8":
        raise ConfigError(f"quantization: '{quantization}' is none", hint="none, int8")
    head = model.get_output_embeddings()
    found = [
        (path, module)
        for path, module in model.named_modules()
        if type(module) is nn.Linear and module is not head
    ]
    if not found:
        raise ConfigError("quantization: the model has no linear layers that can be quantized")
    for path, module in found:
        parent, _, name = path.rpartition(".")
        setattr(model.get_submodule(parent), name, Int8Linear(module))
    return model
