"""Examples as files and batches: the same everywhere, never shared by two slots, and refused when damaged."""

from __future__ import annotations

import json
from itertools import islice

import numpy as np
import pytest

from commonweal.core.errors import CorruptBlob, DataError
from commonweal.core.hashing import BlobHash, content_hash
from commonweal.data.conversations.encoding import Encoded, Weighted
from commonweal.data.examples import (
    ExampleFile,
    Examples,
    ExampleSet,
    Objective,
    held_out_split,
    is_examples,
    pack_examples,
    split_files,
)


def one(number: int, sequences: int = 1) -> Encoded:
    """An example that can be told by its tokens: its number, and as many more as its number says."""
    made = [
        Weighted(ids=(number, *range(number % 5 + 1)), weights=(0.0, *([1.0] * (number % 5 + 1))))
        for _ in range(sequences)
    ]
    return Encoded(line=number + 1, sequences=tuple(made))


def described(
    encoded: list[Encoded], data: list[bytes], objective: Objective = "sft", vocab_size: int = 100
) -> ExampleSet:
    return ExampleSet(
        objective=objective,
        files=tuple(ExampleFile(hash=content_hash(d), examples=0, tokens=0) for d in data),
        vocab_size=vocab_size,
        examples=len(encoded),
        tokens=sum(e.tokens for e in encoded),
        trained=sum(e.trained for e in encoded),
        trained_bytes=1,
        longest=max(len(s.ids) for e in encoded for s in e.sequences),
    )


def opened(encoded: list[Encoded], objective: Objective = "sft") -> Examples:
    data = [pack_examples(encoded[:3]), pack_examples(encoded[3:])]
    store = {content_hash(d): d for d in data}
    return Examples(described(encoded, data, objective), lambda name: store[name])


TWENTY = [one(n) for n in range(20)]


def test_a_description_is_told_from_shards() -> None:
    made = described(TWENTY, [b"x"])
    assert ExampleSet.from_json(json.loads(json.dumps(made.to_json()))) == made
    assert is_examples(made.to_json())
    assert not is_examples({"shards": []})


def test_slots_never_share_an_example_of_an_epoch() -> None:
    examples = opened(TWENTY)
    seen: list[int] = []
    for slot in range(2):
        stream = examples.batches(batch_size=2, seed=3, slot=slot, slots=2)
        seen += [n for batch in islice(stream, 5) for n in batch.numbers]
    assert sorted(seen) == list(range(20))
    again = next(opened(TWENTY).batches(batch_size=2, seed=3, slot=1, slots=2))
    assert list(again.numbers) == seen[10:12]


def test_epochs_are_each_whole_and_ordered_anew() -> None:
    stream = opened(TWENTY).batches(batch_size=5, seed=1)
    order = [n for batch in islice(stream, 8) for n in batch.numbers]
    assert sorted(order[:20]) == sorted(order[20:]) == list(range(20))
    assert order[:20] != order[20:]


def test_a_batch_is_padded_by_what_has_no_weight() -> None:
    batch = opened(TWENTY).batch([4, 0])
    assert batch.ids.shape == batch.weights.shape == (2, 6)
    assert batch.ids.tolist() == [[4, 0, 1, 2, 3, 4], [0, 0, 0, 0, 0, 0]]
    assert batch.weights.tolist() == [[0, 1, 1, 1, 1, 1], [0, 1, 0, 0, 0, 0]]


def test_pairs_stay_together() -> None:
    pairs = [one(n, sequences=2) for n in range(6)]
    examples = opened(pairs, "dpo")
    assert examples.count == 6
    assert examples.batch([5, 2]).numbers == (10, 11, 4, 5)


def test_in_order_sees_all_or_an_even_sample() -> None:
    examples = opened(TWENTY)
    assert [n for b in examples.in_order(batch_size=6) for n in b.numbers] == list(range(20))
    assert [n for b in examples.in_order(batch_size=6, limit=4) for n in b.numbers] == [0, 5, 10, 15]


def test_files_hold_labels_and_references() -> None:
    data = pack_examples([Encoded(line=1, sequences=TWENTY[0].sequences, label=-1.0)], [-2.5])
    batch = Examples(described(TWENTY[:1], [data]), lambda name: data).batch([0])
    assert (batch.labels.tolist(), batch.reference.tolist()) == ([-1.0], [-2.5])
    assert pack_examples(TWENTY) == pack_examples(TWENTY)


def test_many_tokens_make_many_files() -> None:
    long = Weighted(ids=tuple([1] * 400_000), weights=tuple([1.0] * 400_000))
    encoded = [Encoded(line=n, sequences=(long,)) for n in range(5)]
    assert [len(part) for part in split_files(encoded)] == [2, 2, 1]


def test_a_held_out_tenth() -> None:
    learned, held_out = held_out_split(TWENTY, seed=1)
    assert (len(learned), len(held_out)) == (18, 2)
    assert {e.line for e in learned} | {e.line for e in held_out} == {e.line for e in TWENTY}
    assert held_out_split(TWENTY, seed=1) == (learned, held_out)
    with pytest.raises(DataError, match="needed"):
        held_out_split(TWENTY[:1], seed=1)


def _broken(**changes: object) -> bytes:
    from safetensors.numpy import load, save

    return bytes(save({**load(pack_examples(TWENTY[:2])), **changes}))  # type: ignore[dict-item]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"nonsense" * 10,
        pack_examples(TWENTY[:2])[:-4],
        _broken(ids=np.array([1], np.uint32)),
        _broken(ids=np.array([1, 2, 3, 4, 5], np.int64)),
        _broken(ids=np.array([1, 2, 3, 4, 100], np.uint32)),
        _broken(lengths=np.array([5, 0], np.int64)),
        _broken(lengths=np.array([-1, 6], np.int64)),
        _broken(weights=np.array([0, 1, 2, 1, 1], np.float32)),
        _broken(weights=np.array([0, 1, np.nan, 1, 1], np.float32)),
        _broken(reference=np.array([0, np.inf], np.float32)),
        _broken(labels=np.array([1], np.float32)),
    ],
)
def test_damaged_files_are_refused(data: bytes) -> None:
    with pytest.raises(CorruptBlob, match="examples"):
        Examples(described(TWENTY[:2], [data]), lambda name: data)


def test_half_a_pair_is_refused() -> None:
    data = pack_examples(TWENTY[:3])
    with pytest.raises(CorruptBlob, match="half"):
        Examples(described(TWENTY[:3], [data], "dpo"), lambda name: data)


def test_slots_are_checked() -> None:
    with pytest.raises(ValueError, match="slot"):
        next(opened(TWENTY).batches(batch_size=1, seed=0, slot=2, slots=2))


def test_blobs_are_asked_for_by_their_hash() -> None:
    data, asked = pack_examples(TWENTY), list[BlobHash]()

    def get(name: BlobHash) -> bytes:
        asked.append(name)
        return data

    Examples(described(TWENTY, [data]), get)
    assert asked == [content_hash(data)]
