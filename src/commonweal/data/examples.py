"""Examples as training data: files of weighted sequences by content hash, and which of them make which batch.

A file is safetensors with five arrays: ``ids`` of all sequences one after the other, a ``weights`` number for
each, and for each sequence its ``lengths``, its ``labels`` (1 good, -1 bad) and its ``reference`` (the
log-probability that the model to begin with gives what is to be learned of it; 0 where none is needed). An
example is one sequence, or for ``dpo`` two: the preferred, then the rejected.

Batches are by position, as in :mod:`commonweal.data.windows`: examples in an order that is new each epoch
form one endless sequence, and batch k of slot i of n takes the ``batch_size`` positions from ``start + (k * n
+ i) * batch_size``, so members never share an example of one epoch. A batch is padded to its longest
sequence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from commonweal.core.errors import CorruptBlob, DataError
from commonweal.core.hashing import BlobHash
from commonweal.data.conversations.encoding import Encoded
from commonweal.data.windows import mix, shuffled

Objective = Literal["sft", "dpo", "kto"]
Reference = Literal["none", "stored", "base"]

FILE_TOKENS = 1_000_000
_ROUNDED = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class ExampleFile:
    """One file: its content hash, its examples, and the tokens in them."""

    hash: BlobHash
    examples: int
    tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ExampleSet:
    """What a job learns from, in place of :class:`commonweal.data.shards.ShardSet`.

    ``tokens`` are read and ``trained`` learned in one epoch, ``longest`` is the longest sequence and
    ``trained_bytes`` the UTF-8 size of what is learned. ``reference`` says where log-probabilities to compare
    with come from: nowhere, the files, or the model with its adapters off. ``beta`` is the strength of the
    tie to it.
    """

    objective: Objective
    files: tuple[ExampleFile, ...]
    vocab_size: int
    examples: int
    tokens: int
    trained: int
    trained_bytes: int
    longest: int
    reference: Reference = "none"
    beta: float = 0.1

    @property
    def mean_tokens(self) -> int:
        """Tokens of an example, rounded up: what a step of one example counts as."""
        return max(2, -(-self.tokens // max(1, self.examples)))

    def to_json(self) -> dict[str, Any]:
        """Plain JSON that :meth:`from_json` reads back."""
        return {**asdict(self), "files": [asdict(file) for file in self.files]}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> ExampleSet:
        return cls(**{**value, "files": tuple(ExampleFile(**file) for file in value["files"])})


def is_examples(value: Mapping[str, Any]) -> bool:
    """Whether a specification's data are examples, not shards of text."""
    return "objective" in value


@dataclass(frozen=True, slots=True, kw_only=True)
class ExampleBatch:
    """Sequences side by side, padded by 0 with weight 0: ``ids`` and ``weights`` [B, T], and for each its number
    in the set. For ``dpo`` even rows are preferred and the row after each is what it was preferred to."""

    ids: npt.NDArray[np.int64]
    weights: npt.NDArray[np.float32]
    reference: npt.NDArray[np.float32]
    labels: npt.NDArray[np.float32]
    numbers: tuple[int, ...]


def pack_examples(encoded: Sequence[Encoded], reference: Sequence[float] | None = None) -> bytes:
    """A file of ``encoded``, with a ``reference`` for each of their sequences."""
    from safetensors.numpy import save

    sequences = [sequence for one in encoded for sequence in one.sequences]
    labels = [one.label for one in encoded for _ in one.sequences]
    known = [0.0] * len(sequences) if reference is None else reference
    return bytes(
        save(
            {
                "ids": np.array([i for s in sequences for i in s.ids], dtype=np.uint32),
                "weights": np.array([w for s in sequences for w in s.weights], dtype=np.float32),
                "lengths": np.array([len(s.ids) for s in sequences], dtype=np.int64),
                "labels": np.array(labels, dtype=np.float32),
                "reference": np.array(known, dtype=np.float32),
            }
        )
    )


def split_files(encoded: Sequence[Encoded]) -> Iterator[Sequence[Encoded]]:
    """Examples in runs of about :data:`FILE_TOKENS`."""
    first, held = 0, 0
    for index, one in enumerate(encoded):
        if held and held + one.tokens > FILE_TOKENS:
            yield encoded[first:index]
            first, held = index, 0
        held += one.tokens
    if held:
        yield encoded[first:]


class Examples:
    """The sequences of a set, in memory. Raises CorruptBlob for files that are not what the set says."""

    def __init__(self, described: ExampleSet, get: Callable[[BlobHash], bytes]) -> None:
        self.described = described
        self.group = 2 if described.objective == "dpo" else 1
        parts = [_parse(get(file.hash), described.vocab_size) for file in described.files]
        names = ("ids", "weights", "lengths", "labels", "reference")
        self._ids, self._weights, lengths, self._labels, self._reference = (
            np.concatenate([part[name] for part in parts]) for name in names
        )
        self._ends = np.cumsum(lengths)
        self.count = len(lengths) // self.group
        if not self.count or len(lengths) % self.group:
            raise CorruptBlob("examples: there are none, or half of one")

    def batches(
        self, *, batch_size: int, seed: int, slot: int = 0, slots: int = 1, start: int = 0
    ) -> Iterator[ExampleBatch]:
        """Batches of slot ``slot`` of ``slots`` without end, from position ``start`` (in examples)."""
        if not 0 <= slot < slots:
            raise ValueError(f"slot: {slot} is not one of {slots} slots")
        at = start + slot * batch_size
        while True:
            yield self.batch([self._at(position, seed) for position in range(at, at + batch_size)])
            at += slots * batch_size

    def in_order(self, *, batch_size: int, limit: int | None = None) -> Iterator[ExampleBatch]:
        """Every example once, or ``limit`` of them spread evenly."""
        few = limit is not None and limit < self.count
        chosen = iter(
            [i * self.count // (limit or 1) for i in range(limit or 0)] if few else range(self.count)
        )
        while rows := list(islice(chosen, batch_size)):
            yield self.batch(rows)

    def batch(self, examples: Sequence[int]) -> ExampleBatch:
        """These examples, by their numbers."""
        numbers = [example * self.group + part for example in examples for part in range(self.group)]
        rows = [slice(int(self._ends[n - 1]) if n else 0, int(self._ends[n])) for n in numbers]
        longest = max(row.stop - row.start for row in rows)
        width = -(-longest // _ROUNDED) * _ROUNDED
        width = min(width, max(longest, self.described.longest))
        ids_BT = np.zeros((len(rows), width), np.int64)
        weights_BT = np.zeros((len(rows), width), np.float32)
        for at, row in enumerate(rows):
            ids_BT[at, : row.stop - row.start] = self._ids[row]
            weights_BT[at, : row.stop - row.start] = self._weights[row]
        return ExampleBatch(
            ids=ids_BT,
            weights=weights_BT,
            reference=self._reference[numbers],
            labels=self._labels[numbers],
            numbers=tuple(numbers),
        )

    def _at(self, position: int, seed: int) -> int:
        epoch, index = divmod(position, self.count)
        return shuffled(index, self.count, mix(seed, epoch))


def held_out_split(encoded: Sequence[Encoded], *, seed: int) -> tuple[list[Encoded], list[Encoded]]:
    """(to learn from, held out): a tenth is held out, at least one and at most 100, chosen by ``seed``."""
    if len(encoded) < 2:
        raise DataError(
            f"examples: {len(encoded)} can be used; one to learn from and one to check it by are needed",
            hint="add examples",
        )
    count = min(100, max(1, len(encoded) // 10))
    chosen = {shuffled(i, len(encoded), mix(seed, 1)) for i in range(count)}
    kept = [one for i, one in enumerate(encoded) if i not in chosen]
    return kept, [encoded[i] for i in sorted(chosen)]


def _parse(data: bytes, vocab_size: int) -> dict[str, npt.NDArray[Any]]:
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        found: dict[str, npt.NDArray[Any]] = load(data)
        ids, weights, lengths = found["ids"], found["weights"], found["lengths"]
        whole = (
            all(found[name].dtype == np.float32 for name in ("weights", "labels", "reference"))
            and ids.dtype == np.uint32
            and lengths.dtype == np.int64
            and all(array.ndim == 1 for array in found.values())
            and len(ids) == len(weights) == int(lengths.sum())
            and len(lengths) == len(found["labels"]) == len(found["reference"])
            and bool((lengths >= 1).all())
        )
    except (SafetensorError, KeyError, ValueError, TypeError) as error:
        raise CorruptBlob(f"examples: not a file of them: {error}") from None
    if not whole or not all(np.isfinite(found[name]).all() for name in ("weights", "labels", "reference")):
        raise CorruptBlob("examples: the arrays of the file do not fit each other")
    if len(ids) and int(ids.max()) >= vocab_size:
        raise CorruptBlob(f"examples: token {int(ids.max())} is not below the vocabulary's {vocab_size}")
    if weights.min(initial=0) < 0 or weights.max(initial=0) > 1:
        raise CorruptBlob("examples: a weight is not between 0 and 1")
    return found
