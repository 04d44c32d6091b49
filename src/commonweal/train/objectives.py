"""What is made small on examples: weighted cross-entropy, or a preference over the model to begin with.

- ``sft``: mean cross-entropy (nats) over the tokens to learn, each by its weight. - ``dpo``: ``-log
sigmoid(beta * (r(preferred) - r(rejected)))`` with ``r = log p - log p_reference`` of what is to be learned
of a sequence (Rafailov et al. 2023, "Direct preference optimization", equation 7). - ``kto``: ``1 -
sigmoid(label * beta * r)``: Ethayarajh et al. 2024 ("KTO", equation 7) with its reference point at zero, so
that no example's loss depends on the others of its batch.

Losses are means over the examples of a batch. Needs torch; knows models and batches, not rounds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.functional import cross_entropy, logsigmoid

from commonweal.core.errors import ConfigError
from commonweal.data.examples import ExampleBatch, ExampleSet
from commonweal.models.architecture import quiet

LN2 = math.log(2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluated:
    """A mean loss (nats), over how many units (trained tokens, or examples), and what else is worth knowing."""

    loss: float
    units: float
    metrics: Mapping[str, float]


class ExampleLoss:
    """The objective of one set of examples. Remembers what the model with its adapters off makes of them."""

    def __init__(self, described: ExampleSet) -> None:
        self._described = described
        self._base: dict[int, float] = {}

    def __call__(self, model: Any, batch: ExampleBatch) -> torch.Tensor:
        """The loss of a batch, a scalar with gradients."""
        ids_BT, weights_BT = _tensors(model, batch)
        if self._described.objective == "sft":
            return _token_nats(model, ids_BT, weights_BT).sum() / weights_BT.sum()
        return self._preference_losses(self._gains(model, batch), batch).mean()

    def evaluate(self, model: Any, batches: Iterable[ExampleBatch]) -> Evaluated:
        """The mean loss over ``batches``. Leaves the model's mode as it was."""
        was_training = model.training
        model.eval()
        try:
            with torch.inference_mode(), quiet():
                parts = [self._evaluated(model, batch) for batch in batches]
        finally:
            model.train(was_training)
        units = sum(part.units for part in parts)
        if not units:
            raise ValueError("batches: nothing to evaluate on")
        names = {name for part in parts for name in part.metrics}
        return Evaluated(
            loss=sum(part.loss * part.units for part in parts) / units,
            units=units,
            metrics={n: sum(part.metrics[n] * part.units for part in parts) / units for n in sorted(names)},
        )

    def _evaluated(self, model: Any, batch: ExampleBatch) -> Evaluated:
        if self._described.objective == "sft":
            return _evaluated_tokens(model, batch)
        gains_B = self._gains(model, batch)
        losses_B = self._preference_losses(gains_B, batch)
        if self._described.objective == "dpo":
            margin_P = gains_B[0::2] - gains_B[1::2]
        else:
            margin_P = gains_B * torch.from_numpy(batch.labels).to(gains_B.device)
        return Evaluated(
            loss=float(losses_B.mean()),
            units=float(losses_B.numel()),
            metrics={"margin": float(margin_P.mean()), "right": float((margin_P > 0).float().mean())},
        )

    def _preference_losses(self, gains_B: torch.Tensor, batch: ExampleBatch) -> torch.Tensor:
        beta = self._described.beta
        if self._described.objective == "dpo":
            return -logsigmoid(beta * (gains_B[0::2] - gains_B[1::2]))
        labels_B = torch.from_numpy(batch.labels).to(gains_B.device)
        return 1 - torch.sigmoid(labels_B * beta * gains_B)

    def _gains(self, model: Any, batch: ExampleBatch) -> torch.Tensor:
        """By how much the log-probability of each sequence rose since the reference."""
        now_B = sequence_logprobs(model, batch)
        return now_B - self._reference(model, batch).to(now_B.device)

    def _reference(self, model: Any, batch: ExampleBatch) -> torch.Tensor:
        if self._described.reference == "stored":
            return torch.from_numpy(batch.reference)
        if any(number not in self._base for number in batch.numbers):
            was_training = model.training
            model.eval()
            with torch.no_grad(), _adapters_off(model):
                found = sequence_logprobs(model, batch).tolist()
            model.train(was_training)
            self._base.update(zip(batch.numbers, found, strict=True))
        return torch.tensor([self._base[number] for number in batch.numbers], dtype=torch.float32)


def sequence_logprobs(model: Any, batch: ExampleBatch) -> torch.Tensor:
    """The log-probability (nats) of what is to be learned of each sequence, by its weights: ``[B]``."""
    ids_BT, weights_BT = _tensors(model, batch)
    return -_token_nats(model, ids_BT, weights_BT).sum(dim=1)


def stored_reference(model: Any, batches: Iterable[ExampleBatch]) -> list[float]:
    """The log-probabilities that a model gives every sequence, in the order of the batches."""
    was_training = model.training
    model.eval()
    try:
        with torch.inference_mode(), quiet():
            return [value for batch in batches for value in sequence_logprobs(model, batch).tolist()]
    finally:
        model.train(was_training)


def _tensors(model: Any, batch: ExampleBatch) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids, and the weights of the tokens that are predicted from those before them."""
    device = next(model.parameters()).device
    weights_BT = torch.from_numpy(batch.weights[:, 1:]).to(device)
    return torch.from_numpy(batch.ids).to(device), weights_BT


def _token_nats(model: Any, ids_BT: torch.Tensor, weights_BT: torch.Tensor) -> torch.Tensor:
    """Weighted cross-entropy of each predicted token. Padding is at the end, so a causal model never sees
    it."""
    logits_BTV = model(input_ids=ids_BT[:, :-1], use_cache=False).logits
    nats = cross_entropy(logits_BTV.flatten(0, 1).float(), ids_BT[:, 1:].flatten(), reduction="none")
    return nats.view_as(weights_BT) * weights_BT


def _evaluated_tokens(model: Any, batch: ExampleBatch) -> Evaluated:
    ids_BT, weights_BT = _tensors(model, batch)
    logits_BTV = model(input_ids=ids_BT[:, :-1], use_cache=False).logits
    targets_BT = ids_BT[:, 1:]
    nats = cross_entropy(logits_BTV.flatten(0, 1).float(), targets_BT.flatten(), reduction="none")
    weight = float(weights_BT.sum())
    right = ((logits_BTV.argmax(-1) == targets_BT) * weights_BT).sum()
    return Evaluated(
        loss=float((nats.view_as(weights_BT) * weights_BT).sum()) / weight,
        units=weight,
        metrics={"token_accuracy": float(right) / weight},
    )


def _adapters_off(model: Any) -> AbstractContextManager[Any]:
    off: Callable[[], AbstractContextManager[Any]] | None = getattr(model, "disable_adapter", None)
    if off is None:
        raise ConfigError("the examples are compared with a model without adapters, and this one has none")
    return off()
