"""Windows: every member reads its own part, whoever comes and goes, and all agree on which."""

from __future__ import annotations

import math
from collections import Counter
from itertools import islice

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from commonweal.core.errors import DataError
from commonweal.core.hashing import BlobHash, content_hash
from commonweal.data import windows
from commonweal.data.shards import OpenShard, ShardInfo, ShardSet, Tokens
from commonweal.data.windows import (
    batches,
    bits_per_byte,
    held_out_batches,
    next_start,
    shuffled,
    windows_per_epoch,
)


def make(sizes: list[int]) -> tuple[ShardSet, OpenShard]:
    """Shards of the given lengths whose tokens count up, so that a window says where it was cut."""
    held: dict[BlobHash, Tokens] = {}
    infos, first = [], 0
    for size in sizes:
        tokens = np.arange(first, first + size, dtype=np.uint32)
        blob = content_hash(tokens.tobytes())
        held[blob] = tokens
        infos.append(ShardInfo(hash=blob, tokens=size, bytes=4 * size))
        first += size
    shards = ShardSet(
        shards=tuple(infos), dtype="uint32", vocab_size=first + 1, documents=1, text_bytes=first
    )
    return shards, held.__getitem__


def firsts(shards: ShardSet, opened: OpenShard, count: int, **where: int) -> list[int]:
    """The first token of each of ``count`` batches' rows."""
    found = batches(shards, opened, **{"seq_len": 8, "batch_size": 2, "seed": 3, **where})
    return [int(row[0]) for batch in islice(found, count) for row in batch]


def test_a_batch_is_input_and_target() -> None:
    shards, opened = make([100])
    batch = next(batches(shards, opened, seq_len=8, batch_size=4, seed=1))
    assert batch.shape == (4, 9)
    assert batch.dtype == np.int64
    assert (np.diff(batch) == 1).all()
    assert set(batch[:, 0] % 8) == {0}


@settings(max_examples=50)
@given(
    sizes=st.lists(st.integers(0, 90), min_size=1, max_size=40),
    seed=st.integers(0, 2**64),
    epoch=st.integers(0, 5),
)
def test_an_epoch_has_every_window_once(sizes: list[int], seed: int, epoch: int) -> None:
    shards, opened = make(sizes)
    total = windows_per_epoch(shards, seq_len=8)
    if total == 0:
        return
    found = batches(shards, opened, seq_len=8, batch_size=1, seed=seed, start=epoch * total)
    rows = [tuple(batch[0]) for batch in islice(found, total)]
    assert len(set(rows)) == total
    assert all(row == tuple(range(row[0], row[0] + 9)) for row in rows)


@settings(max_examples=50)
@given(
    steps=st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=5), min_size=1, max_size=4),
    batch_size=st.integers(1, 3),
)
def test_members_never_share_a_window_while_their_number_changes(
    steps: list[list[int]], batch_size: int
) -> None:
    """Rounds of differing members, each taking its own number of batches; all of it within one epoch."""
    shards, opened = make([700, 900, 300])
    seen: Counter[int] = Counter()
    start = 0
    for took in steps:
        for slot, count in enumerate(took):
            where = {"slot": slot, "slots": len(took), "start": start, "batch_size": batch_size}
            seen.update(firsts(shards, opened, count, **where))
        start = next_start(start, most_batches=max(took), slots=len(took), batch_size=batch_size)
    assert start <= windows_per_epoch(shards, seq_len=8)
    assert max(seen.values(), default=1) == 1


def test_equal_members_cover_what_one_would() -> None:
    shards, opened = make([700, 900])
    alone = firsts(shards, opened, 12)
    together = [firsts(shards, opened, 4, slot=slot, slots=3) for slot in range(3)]
    assert sorted(alone) == sorted(first for part in together for first in part)
    assert together[1][:2] == alone[2:4]


def test_anyone_can_enter_anywhere() -> None:
    shards, opened = make([700, 900])
    assert firsts(shards, opened, 30)[20:] == firsts(shards, opened, 20, start=20)


def test_seeds_and_epochs_differ() -> None:
    shards, opened = make([1000])
    total = windows_per_epoch(shards, seq_len=8)
    orders = {
        tuple(firsts(shards, opened, total, batch_size=1, **w))
        for w in ({"seed": 1}, {"seed": 2}, {"seed": 1, "start": total})
    }
    assert len(orders) == 3


def test_a_reader_keeps_to_one_group_of_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(windows, "GROUP_SHARDS", 2)
    shards, opened = make([81] * 6)
    calls: list[BlobHash] = []

    def counted(blob: BlobHash) -> Tokens:
        calls.append(blob)
        return opened(blob)

    total = windows_per_epoch(shards, seq_len=8)
    list(islice(batches(shards, counted, seq_len=8, batch_size=1, seed=5), total))
    assert len(calls) == 6
    assert len(set(calls)) == 6


def test_the_order_is_the_same_on_every_machine_and_release() -> None:
    """Golden: a change here would have members of two releases read each other's windows."""
    shards, opened = make([200, 300])
    assert [shuffled(i, 10, key=7) for i in range(10)] == [4, 9, 1, 7, 0, 3, 8, 5, 6, 2]
    assert firsts(shards, opened, 3, seed=11) == [168, 488, 424, 216, 280, 176]


@given(size=st.integers(1, 300), key=st.integers(0, 2**64 - 1))
def test_shuffled_is_a_permutation(size: int, key: int) -> None:
    assert sorted(shuffled(i, size, key) for i in range(size)) == list(range(size))


def test_shuffled_mixes() -> None:
    """Neighbours do not stay together, and the first element goes everywhere."""
    n = 1000
    order = [shuffled(i, n, key=1) for i in range(n)]
    jumps = np.abs(np.diff(order))
    assert 250 < jumps.mean() < 420  # a third of n when random
    places = np.array([shuffled(0, n, key=key) for key in range(2000)])
    assert np.histogram(places, bins=4)[0].min() > 400


def test_less_than_a_batch_is_an_error_with_the_sizes() -> None:
    shards, opened = make([30])
    with pytest.raises(DataError, match="30 tokens make 3 sequences of 8, less than one batch of 4") as error:
        next(batches(shards, opened, seq_len=8, batch_size=4, seed=1))
    assert "batch_size smaller" in str(error.value)


def test_a_slot_must_be_one_of_the_slots() -> None:
    shards, opened = make([300])
    with pytest.raises(ValueError, match="slot: 2"):
        next(batches(shards, opened, seq_len=8, batch_size=4, seed=1, slot=2, slots=2))


def test_held_out_has_every_window_in_order() -> None:
    shards, opened = make([20, 5, 30])
    rows = np.concatenate(list(held_out_batches(shards, opened, seq_len=8, batch_size=2)))
    assert rows[:, 0].tolist() == [0, 8, 25, 33, 41]
    few = np.concatenate(list(held_out_batches(shards, opened, seq_len=8, batch_size=2, limit=2)))
    assert few[:, 0].tolist() == [0, 25]


def test_held_out_too_small() -> None:
    shards, opened = make([5])
    with pytest.raises(DataError, match="5 tokens are less than one sequence"):
        next(held_out_batches(shards, opened, seq_len=8, batch_size=2))


def test_bits_per_byte_of_uniform_bytes_is_eight() -> None:
    assert bits_per_byte(math.log(256), tokens=10, text_bytes=10) == pytest.approx(8.0)
