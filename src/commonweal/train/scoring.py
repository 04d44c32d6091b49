"""Losses on held-out text, for the hub: to judge contributions and to report progress. Needs torch."""

from __future__ import annotations

import json
from itertools import islice

import torch

from commonweal.core.hashing import BlobHash
from commonweal.data.shards import ShardSet, Tokens, parse_shard
from commonweal.data.windows import Batch, batches, bits_per_byte, held_out_batches, windows_per_epoch
from commonweal.models.loss import evaluate_loss
from commonweal.models.parameters import write
from commonweal.train.codecs import Vector
from commonweal.train.job import HeldOut
from commonweal.train.replica import Get, open_model
from commonweal.train.spec import JobSpec, WorkerSpec


class HeldOutScorer:
    """Scores weights of one job. The model is made when the first loss is asked for."""

    def __init__(self, spec: JobSpec, get: Get, *, threads: int | None = None, device: str = "cpu") -> None:
        self._spec = spec
        self._get = get
        self._threads = threads
        self._device = device
        self._settings = spec.train_settings()
        self._shards = ShardSet.from_json(spec.held_out)
        self._tokens: dict[BlobHash, Tokens] = {}
        self._turn: tuple[int, list[Batch]] = (-1, [])
        self._model: torch.nn.Module | None = None

    def loss(self, theta: Vector, turn: int) -> float:
        """Mean nats per token on the batches of ``turn``; another turn has other text."""
        return self._evaluate(theta, self._batches(turn))

    def held_out(self, theta: Vector) -> HeldOut:
        train = self._settings.train
        sample = held_out_batches(
            self._shards,
            self._open,
            seq_len=train.seq_len,
            batch_size=train.batch_size,
            limit=self._settings.checkpoints.held_out_windows,
        )
        loss = self._evaluate(theta, list(sample))
        bits = bits_per_byte(loss, tokens=self._shards.tokens, text_bytes=self._shards.text_bytes)
        return HeldOut(loss=loss, bits_per_byte=bits)

    def _batches(self, turn: int) -> list[Batch]:
        if self._turn[0] != turn:
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
            self._turn = (turn, list(islice(stream, count)))
        return self._turn[1]

    def _evaluate(self, theta: Vector, sample: list[Batch]) -> float:
        if self._threads is not None:
            torch.set_num_threads(self._threads)
        if self._model is None:
            worker = WorkerSpec.from_json(json.loads(self._get(self._spec.worker)))
            self._model, self._layout = open_model(worker, self._get, device=self._device)
        write(self._model, self._layout, theta)
        return evaluate_loss(self._model, sample).nats_per_token

    def _open(self, name: BlobHash) -> Tokens:
        if name not in self._tokens:
            self._tokens[name] = parse_shard(self._get(name), vocab_size=self._shards.vocab_size)
        return self._tokens[name]
