"""Which tokens go into which batch: a shuffled order over windows that anyone can enter anywhere.

A shard of n tokens has ``(n - 1) // seq_len`` windows of ``seq_len + 1`` tokens: input and, one later,
target, so neighbouring windows share one token and every token but the first is predicted once. All windows
of all shards, in a shuffled order that is new each epoch, form one endless sequence of positions:

- each epoch shuffles the shards, cuts them into groups of :data:`GROUP_SHARDS`, and shuffles the windows
  within each group, so that a reader keeps one group of shards at a time and still mixes widely;
- in a round that begins at position ``start``, batch k of slot i of n takes the ``batch_size`` positions from
  ``start + (k * n + i) * batch_size``. Slots never share a window, however many batches each of them takes,
  and the next round begins at :func:`next_start`, with any number of slots.

There is no state but the position. The shuffles are our own arithmetic (:func:`shuffled`), as numpy's
generators may change their streams between releases (NEP 19) and machines must agree on who reads what.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from commonweal.core.errors import DataError
from commonweal.data.shards import OpenShard, ShardSet, Tokens

GROUP_SHARDS = 16
_ROUNDS = 6
_MASK = (1 << 64) - 1

Batch = npt.NDArray[np.int64]
"""Token ids ``[batch_size, seq_len + 1]``: inputs are ``[:, :-1]``, targets ``[:, 1:]``."""


def batches(
    shards: ShardSet,
    open_shard: OpenShard,
    *,
    seq_len: int,
    batch_size: int,
    seed: int,
    slot: int = 0,
    slots: int = 1,
    start: int = 0,
) -> Iterator[Batch]:
    """Batches of slot ``slot`` of ``slots`` without end, from position ``start`` (in windows).

    Raises DataError when the data are smaller than one batch.
    """
    if not 0 <= slot < slots:
        raise ValueError(f"slot: {slot} is not one of {slots} slots")
    check_enough(shards, seq_len=seq_len, batch_size=batch_size)
    order = _Order(shards, open_shard, seq_len=seq_len, seed=seed)
    at = start + slot * batch_size
    while True:
        yield np.stack([order.window(position) for position in range(at, at + batch_size)])
        at += slots * batch_size


def next_start(start: int, *, most_batches: int, slots: int, batch_size: int) -> int:
    """The first position that no slot has read when none took more than ``most_batches``."""
    return start + most_batches * slots * batch_size


def held_out_batches(
    shards: ShardSet, open_shard: OpenShard, *, seq_len: int, batch_size: int, limit: int | None = None
) -> Iterator[Batch]:
    """Every window once, in order; the last batch may be smaller. With a ``limit`` (windows), that many
    spread evenly over the whole, so that a quick estimate still sees all kinds of text."""
    counts = [count_windows(s.tokens, seq_len) for s in shards.shards]
    total = sum(counts)
    if total == 0:
        raise DataError(
            f"held-out data: {shards.tokens} tokens are less than one sequence ({seq_len + 1} tokens)",
            hint="add held-out text, or shorten seq_len",
        )
    chosen = range(total) if limit is None or limit >= total else [i * total // limit for i in range(limit)]
    opened = _Opened(shards, open_shard)
    starts = np.cumsum([0, *counts])
    for first in range(0, len(chosen), batch_size):
        rows = []
        for index in chosen[first : first + batch_size]:
            shard = int(np.searchsorted(starts, index, side="right")) - 1
            rows.append(_cut(opened.tokens(shard), index - int(starts[shard]), seq_len))
        yield np.stack(rows)


def count_windows(tokens: int, seq_len: int) -> int:
    """Windows in a shard of ``tokens``."""
    return max(0, tokens - 1) // seq_len


def windows_per_epoch(shards: ShardSet, *, seq_len: int) -> int:
    """Positions in one pass over the data."""
    return sum(count_windows(s.tokens, seq_len) for s in shards.shards)


def check_enough(shards: ShardSet, *, seq_len: int, batch_size: int) -> None:
    """Raise DataError when the data do not fill one batch."""
    have = windows_per_epoch(shards, seq_len=seq_len)
    if have < batch_size:
        raise DataError(
            f"data: {shards.tokens} tokens make {have} sequences of {seq_len}, less than one batch of "
            f"{batch_size}",
            hint="add text, or make seq_len or batch_size smaller",
        )


def bits_per_byte(loss: float, *, tokens: int, text_bytes: int) -> float:
    """A mean loss in nats per token, in bits per UTF-8 byte of text that ``tokens`` tokens encode.

    Comparable between tokenizers, as nats per token are not. The cost of end-of-text tokens is counted.

    >>> bits_per_byte(math.log(2), tokens=8, text_bytes=4)
    2.0
    """
    return loss * tokens / (text_bytes * math.log(2))


def shuffled(index: int, size: int, key: int) -> int:
    """Where ``index`` goes in the permutation ``key`` of ``range(size)``, in constant time and memory.

    A balanced Feistel network over the next even power of two, walked until it falls inside the range (Black
    and Rogaway 2002, "Ciphers with arbitrary finite domains", cycle walking). For mixing, not for secrets.

    >>> sorted(shuffled(i, 5, key=1) for i in range(5))
    [0, 1, 2, 3, 4]
    """
    half = max(1, ((size - 1).bit_length() + 1) // 2)
    mask = (1 << half) - 1
    value = index
    while True:
        left, right = value >> half, value & mask
        for turn in range(_ROUNDS):
            left, right = right, left ^ (mix(key, turn, right) & mask)
        value = left << half | right
        if value < size:
            return value


def mix(*numbers: int) -> int:
    """64 well-mixed bits of some integers (the finalizer of SplitMix64, chained)."""
    state = 0
    for number in numbers:
        state = (state ^ (number & _MASK)) + 0x9E3779B97F4A7C15 & _MASK
        state = (state ^ state >> 30) * 0xBF58476D1CE4E5B9 & _MASK
        state = (state ^ state >> 27) * 0x94D049BB133111EB & _MASK
        state ^= state >> 31
    return state


@dataclass(frozen=True, slots=True, kw_only=True)
class _Group:
    """Shards whose windows are shuffled together. ``ends[j]`` counts the windows of the first j + 1."""

    shards: list[int]
    ends: list[int]
    key: int
    first: int


class _Opened:
    """The shards in use. Keeps one group's worth, so memory does not grow with the data."""

    def __init__(self, shards: ShardSet, open_shard: OpenShard) -> None:
        self._shards = shards
        self._open_shard = open_shard
        self._open: dict[int, Tokens] = {}

    def tokens(self, shard: int) -> Tokens:
        if shard not in self._open:
            if len(self._open) >= GROUP_SHARDS:
                self._open.pop(next(iter(self._open)))
            self._open[shard] = self._open_shard(self._shards.shards[shard].hash)
        return self._open[shard]


class _Order:
    """Position -> window. Holds the groups of the epoch last asked for."""

    def __init__(self, shards: ShardSet, open_shard: OpenShard, *, seq_len: int, seed: int) -> None:
        self._counts = [count_windows(s.tokens, seq_len) for s in shards.shards]
        self._total = sum(self._counts)
        self._opened = _Opened(shards, open_shard)
        self._seq_len = seq_len
        self._seed = seed
        self._epoch = -1
        self._groups: list[_Group] = []

    def window(self, position: int) -> Batch:
        epoch, index = divmod(position, self._total)
        if epoch != self._epoch:
            self._epoch, self._groups = epoch, self._group(epoch)
        group = next(g for g in reversed(self._groups) if g.first <= index)
        at = shuffled(index - group.first, group.ends[-1], group.key)
        j = int(np.searchsorted(group.ends, at, side="right"))
        within = at - (group.ends[j - 1] if j else 0)
        return _cut(self._opened.tokens(group.shards[j]), within, self._seq_len)

    def _group(self, epoch: int) -> list[_Group]:
        used = [i for i, count in enumerate(self._counts) if count]
        key = mix(self._seed, epoch)
        used = [used[shuffled(i, len(used), key)] for i in range(len(used))]
        groups, first = [], 0
        for number, at in enumerate(range(0, len(used), GROUP_SHARDS)):
            members = used[at : at + GROUP_SHARDS]
            ends = np.cumsum([self._counts[i] for i in members]).tolist()
            groups.append(_Group(shards=members, ends=ends, key=mix(self._seed, epoch, number), first=first))
            first += ends[-1]
        return groups


def _cut(tokens: Tokens, window: int, seq_len: int) -> Batch:
    return tokens[window * seq_len : window * seq_len + seq_len + 1].astype(np.int64)
