"""Inner steps: what one member does on its machine between two synchronizations.

The only module here that needs torch besides the simulation; the hub never imports it. A model is anything
that takes ``input_ids`` and ``labels`` and answers with a ``loss`` (every causal language model of
transformers); its trainable parameters are seen from outside as one flat float32 vector in the order of their
names.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import nn

from commonweal.data.examples import ExampleBatch
from commonweal.train.codecs import Vector
from commonweal.train.optimizer import InnerOptimizer

LearningRate = Callable[[int], float]


@dataclass(frozen=True, slots=True, kw_only=True)
class StepReport:
    """What was done: the loss before each step, the tokens seen, wall seconds, and whether it was cut short."""

    losses: list[float] = field(default_factory=list)
    tokens: int = 0
    seconds: float = 0.0
    stopped: bool = False


def trainable_names(model: nn.Module) -> list[str]:
    """The names of the parameters that train, sorted: the order of the flat vector. Tied weights count once."""
    return sorted(name for name, parameter in model.named_parameters() if parameter.requires_grad)


def read_vector(model: nn.Module, names: Sequence[str]) -> Vector:
    """The named parameters, one after the other, as a new float32 array."""
    parameters = dict(model.named_parameters())
    parts = [parameters[name].detach().to("cpu", torch.float32).reshape(-1).numpy() for name in names]
    return np.concatenate(parts) if parts else np.zeros(0, dtype=np.float32)


def write_vector(model: nn.Module, names: Sequence[str], vector: Vector) -> None:
    """Set the named parameters from a flat vector. Raises ValueError if its size does not fit."""
    parameters = dict(model.named_parameters())
    if vector.size != sum(parameters[name].numel() for name in names):
        raise ValueError(f"a vector of {vector.size} numbers does not fit the parameters")
    offset = 0
    with torch.no_grad():
        for name in names:
            parameter = parameters[name]
            part = vector[offset : offset + parameter.numel()]
            parameter.copy_(torch.from_numpy(np.ascontiguousarray(part)).reshape(parameter.shape))
            offset += parameter.numel()


def run_steps(
    optimizer: InnerOptimizer,
    batches: Iterator[Any],
    steps: int,
    learning_rate: LearningRate,
    *,
    first_step: int = 0,
    should_stop: Callable[[], bool] = lambda: False,
    seconds: float = math.inf,
    on_step: Callable[[int], None] = lambda done: None,
) -> StepReport:
    """Take up to ``steps`` inner steps; ``learning_rate(first_step + i)`` is the rate of the i-th.

    ``batches`` yields token ids as int64 arrays or tensors of shape (batch, time), or batches of examples,
    which the model takes as they are. Stops early, keeping what was done, when ``should_stop`` says so or
    ``seconds`` of wall time have passed; at least one step is taken unless ``should_stop`` holds from the
    start.
    """
    losses: list[float] = []
    tokens = 0
    started = time.monotonic()
    device = next(optimizer.model.parameters()).device
    optimizer.model.train()
    for i in range(steps):
        if should_stop() or (i and time.monotonic() - started >= seconds):
            break
        batch = next(batches)
        if isinstance(batch, ExampleBatch):
            loss = optimizer.model(batch).loss
            tokens += batch.ids.size
        else:
            ids = torch.as_tensor(batch, dtype=torch.int64).to(device)
            loss = optimizer.model(input_ids=ids, labels=ids).loss
            tokens += ids.numel()
        loss.backward()
        losses.append(float(loss.detach()))
        optimizer.step(learning_rate(first_step + i))
        on_step(i + 1)
    return StepReport(
        losses=losses, tokens=tokens, seconds=time.monotonic() - started, stopped=len(losses) < steps
    )
