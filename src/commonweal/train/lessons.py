"""What a job learns from: text in windows, or examples; each with its batches and its loss.

A member's session asks for batches and for the loss of one, and does not know which of the two it is. The
loss of text is the model's own, called as ever, so that a job over text gives the same bits as before there
were others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any, Protocol

import torch
from torch import nn

from commonweal.core.hashing import BlobHash
from commonweal.data.examples import Examples, ExampleSet, is_examples
from commonweal.data.shards import ShardSet, Tokens, parse_shard
from commonweal.data.windows import GROUP_SHARDS, batches
from commonweal.models.loss import next_token_loss
from commonweal.train.config import InnerSettings
from commonweal.train.objectives import ExampleLoss
from commonweal.train.spec import WorkerSpec

Get = Callable[[BlobHash], bytes]


class Lessons(Protocol):
    """Batches without end for a slot, and the model as the inner loop calls it."""

    def batches(self, *, slot: int, slots: int, start: int) -> Iterator[Any]: ...

    def learner(self, model: nn.Module) -> nn.Module:
        """A module around ``model`` (its attribute ``model``) that answers a batch with a ``loss``."""
        ...


def lessons_of(spec: WorkerSpec, train: InnerSettings, get: Get) -> Lessons:
    """What the specification says is learned; ``get`` is called for its blobs when they are needed."""
    if is_examples(spec.shards):
        return _FromExamples(ExampleSet.from_json(spec.shards), train, get)
    return _FromText(ShardSet.from_json(spec.shards), train, get)


class _FromText:
    def __init__(self, shards: ShardSet, train: InnerSettings, get: Get) -> None:
        self._shards = shards
        self._train = train
        self._get = get
        self._open: dict[BlobHash, Tokens] = {}

    def batches(self, *, slot: int, slots: int, start: int) -> Iterator[Any]:
        return batches(
            self._shards,
            self._shard,
            seq_len=self._train.seq_len,
            batch_size=self._train.batch_size,
            seed=self._train.seed,
            slot=slot,
            slots=slots,
            start=start,
        )

    def learner(self, model: nn.Module) -> nn.Module:
        return _NextToken(model)

    def _shard(self, name: BlobHash) -> Tokens:
        if name not in self._open:
            if len(self._open) >= GROUP_SHARDS:
                self._open.pop(next(iter(self._open)))
            self._open[name] = parse_shard(self._get(name), vocab_size=self._shards.vocab_size)
        return self._open[name]


class _FromExamples:
    def __init__(self, described: ExampleSet, train: InnerSettings, get: Get) -> None:
        self._described = described
        self._train = train
        self._get = get
        self._loss = ExampleLoss(described)
        self._examples: Examples | None = None

    def batches(self, *, slot: int, slots: int, start: int) -> Iterator[Any]:
        if self._examples is None:
            self._examples = Examples(self._described, self._get)
        train = self._train
        return self._examples.batches(
            batch_size=train.batch_size, seed=train.seed, slot=slot, slots=slots, start=start
        )

    def learner(self, model: nn.Module) -> nn.Module:
        return _OfExamples(model, self._loss)


class _NextToken(nn.Module):
    """A causal language model as the inner loop calls it, with the package's own definition of the loss."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: torch.Tensor, labels: torch.Tensor) -> SimpleNamespace:
        return SimpleNamespace(loss=next_token_loss(self.model, input_ids))


class _OfExamples(nn.Module):
    """The same for examples, whose batches are not one tensor."""

    def __init__(self, model: nn.Module, loss: ExampleLoss) -> None:
        super().__init__()
        self.model = model
        self._loss = loss

    def forward(self, batch: Any) -> SimpleNamespace:
        return SimpleNamespace(loss=self._loss(self.model, batch))
