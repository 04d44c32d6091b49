"""The loss that is trained and reported: mean cross-entropy of the next token, in nats.

One definition for every architecture, computed from the logits, so that losses of different models and of
training and evaluation compare.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.nn.functional import cross_entropy

from commonweal.models.architecture import quiet


@dataclass(frozen=True, slots=True, kw_only=True)
class LossEstimate:
    """Mean loss over ``tokens`` predicted tokens."""

    nats_per_token: float
    tokens: int


def next_token_loss(model: torch.nn.Module, tokens_BT: torch.Tensor) -> torch.Tensor:
    """Mean nats per token of predicting ``tokens[:, 1:]`` from ``tokens[:, :-1]``, a scalar."""
    return cross_entropy(*_logits_and_targets(model, tokens_BT))


def evaluate_loss(model: torch.nn.Module, batches: Iterable[npt.NDArray[np.int64]]) -> LossEstimate:
    """The mean loss over ``batches`` of token ids ``[B, T + 1]``. Leaves the model's mode as it was."""
    device = next(model.parameters()).device
    was_training = model.training
    model.eval()
    nats, tokens = 0.0, 0
    try:
        with torch.inference_mode(), quiet():
            for batch in batches:
                logits, targets = _logits_and_targets(model, torch.from_numpy(batch).to(device))
                nats += cross_entropy(logits, targets, reduction="sum").double().item()
                tokens += targets.numel()
    finally:
        model.train(was_training)
    if tokens == 0:
        raise ValueError("batches: nothing to evaluate on")
    return LossEstimate(nats_per_token=nats / tokens, tokens=tokens)


def _logits_and_targets(model: Any, tokens_BT: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    logits_BTV = model(input_ids=tokens_BT[:, :-1], use_cache=False).logits
    return logits_BTV.flatten(0, 1).float(), tokens_BT[:, 1:].flatten()
