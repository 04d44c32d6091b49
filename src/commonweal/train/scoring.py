"""Losses on held-out data, for the hub: to judge contributions and to report progress. Needs torch.

Of text on windows of it; of examples by the very objective that the job has.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any, Protocol

import torch

from commonweal.core.hashing import BlobHash
from commonweal.data.examples import ExampleBatch, Examples, ExampleSet, is_examples
from commonweal.data.shards import ShardSet, Tokens, parse_shard
from commonweal.data.windows import Batch, batches, bits_per_byte, held_out_batches, windows_per_epoch
from commonweal.models.loss import evaluate_loss
from commonweal.models.parameters import write
from commonweal.train.codecs import Vector
from commonweal.train.config import TrainSettings
from commonweal.train.job import HeldOut
from commonweal.train.objectives import LN2, ExampleLoss
from commonweal.train.replica import Get, open_model
from commonweal.train.spec import JobSpec, WorkerSpec


class Sample(Protocol):
    """Held-out data of one kind, and what a model's loss on it is."""

    def of_turn(self, turn: int) -> Sequence[Any]:
        """The batches that contributions of ``turn`` are judged by; another turn has others."""
        ...

    def fixed(self) -> Sequence[Any]:
        """The batches that the records report."""
        ...

    def measure(self, model: torch.nn.Module, chosen: Sequence[Any]) -> HeldOut: ...


class HeldOutScorer:
    """Scores weights of one job. The model is made when the first loss is asked for."""

    def __init__(self, spec: JobSpec, get: Get, *, threads: int | None = None, device: str = "cpu") -> None:
        self._spec = spec
        self._get = get
        self._threads = threads
        self._device = device
        self._sample = _sample(spec, get)
        self._turn: tuple[int, Sequence[Any]] = (-1, [])
        self._model: torch.nn.Module | None = None

    def loss(self, theta: Vector, turn: int) -> float:
        """Mean nats on the batches of ``turn``; another turn has other text."""
        if self._turn[0] != turn:
            self._turn = (turn, self._sample.of_turn(turn))
        return self._measured(theta, self._turn[1]).loss

    def held_out(self, theta: Vector) -> HeldOut:
        return self._measured(theta, self._sample.fixed())

    def _measured(self, theta: Vector, chosen: Sequence[Any]) -> HeldOut:
        if self._threads is not None:
            torch.set_num_threads(self._threads)
        if self._model is None:
            worker = _worker(self._spec, self._get)
            self._model, self._layout = open_model(worker, self._get, device=self._device)
        write(self._model, self._layout, theta)
        return self._sample.measure(self._model, chosen)


def _sample(spec: JobSpec, get: Get) -> Sample:
    return _OfExamples(spec, get) if is_examples(spec.held_out) else _OfText(spec, get)


def _worker(spec: JobSpec, get: Get) -> WorkerSpec:
    return WorkerSpec.from_json(json.loads(get(spec.worker)))


class _OfText:
    def __init__(self, spec: JobSpec, get: Get) -> None:
        self._settings: TrainSettings = spec.train_settings()
        self._shards = ShardSet.from_json(spec.held_out)
        self._get = get
        self._tokens: dict[BlobHash, Tokens] = {}

    def of_turn(self, turn: int) -> list[Batch]:
        train, count = self._settings.train, self._settings.checks.score_batches
        size = min(train.batch_size, windows_per_epoch(self._shards, seq_len=train.seq_len))
        stream = batches(
            self._shards,
            self._open,
            seq_len=train.seq_len,
            batch_size=size,
            seed=train.seed,
            start=turn * count * size,
        )
        return list(islice(stream, count))

    def fixed(self) -> list[Batch]:
        train = self._settings.train
        sample = held_out_batches(
            self._shards,
            self._open,
            seq_len=train.seq_len,
            batch_size=train.batch_size,
            limit=self._settings.checkpoints.held_out_windows,
        )
        return list(sample)

    def measure(self, model: torch.nn.Module, chosen: Sequence[Batch]) -> HeldOut:
        loss = evaluate_loss(model, chosen).nats_per_token
        bits = bits_per_byte(loss, tokens=self._shards.tokens, text_bytes=self._shards.text_bytes)
        return HeldOut(loss=loss, bits_per_byte=bits)

    def _open(self, name: BlobHash) -> Tokens:
        if name not in self._tokens:
            self._tokens[name] = parse_shard(self._get(name), vocab_size=self._shards.vocab_size)
        return self._tokens[name]


class _OfExamples:
    """Contributions are judged by held-out examples and as many that are trained on. By held-out ones alone,
    the honest work of a small job's last epochs would be refused: it learns its few examples by heart, and
    what was held out is then no better for it."""

    def __init__(self, spec: JobSpec, get: Get) -> None:
        self._settings: TrainSettings = spec.train_settings()
        self._described = ExampleSet.from_json(spec.held_out)
        self._loss = ExampleLoss(self._described)
        self._get = get
        self._spec = spec
        self._held_out: Examples | None = None
        self._learned: tuple[Examples, ExampleLoss] | None = None

    def of_turn(self, turn: int) -> list[tuple[ExampleLoss, ExampleBatch]]:
        count = max(1, self._settings.checks.score_batches // 2)
        learned, loss = self._opened_learned()
        held_out = self._turn_of(self._opened(), turn, count)
        return [
            *((self._loss, batch) for batch in held_out),
            *((loss, batch) for batch in self._turn_of(learned, turn, count)),
        ]

    def fixed(self) -> list[tuple[ExampleLoss, ExampleBatch]]:
        limit = self._settings.checkpoints.held_out_windows
        sample = self._opened().in_order(batch_size=self._settings.train.batch_size, limit=limit)
        return [(self._loss, batch) for batch in sample]

    def measure(self, model: torch.nn.Module, chosen: Sequence[tuple[ExampleLoss, ExampleBatch]]) -> HeldOut:
        kinds = {id(loss): loss for loss, _ in chosen}
        found = [
            loss.evaluate(model, [batch for of, batch in chosen if of is loss]) for loss in kinds.values()
        ]
        units = sum(part.units for part in found)
        nats = sum(part.loss * part.units for part in found) / units
        described = self._described
        per_byte = (
            described.trained / max(1, described.trained_bytes) if described.objective == "sft" else 1.0
        )
        return HeldOut(loss=nats, bits_per_byte=nats / LN2 * per_byte, metrics=found[0].metrics)

    def _turn_of(self, examples: Examples, turn: int, count: int) -> Iterator[ExampleBatch]:
        size = min(max(8, self._settings.train.batch_size), examples.count)
        start = turn * count * size
        return islice(examples.batches(batch_size=size, seed=self._settings.train.seed, start=start), count)

    def _opened(self) -> Examples:
        if self._held_out is None:
            self._held_out = Examples(self._described, self._get)
        return self._held_out

    def _opened_learned(self) -> tuple[Examples, ExampleLoss]:
        if self._learned is None:
            described = ExampleSet.from_json(_worker(self._spec, self._get).shards)
            self._learned = Examples(described, self._get), ExampleLoss(described)
        return self._learned
