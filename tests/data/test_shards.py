"""Shards: the file format, against the safetensors library and against damage."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from safetensors.numpy import load as safetensors_load

from commonweal.core.errors import CorruptBlob
from commonweal.core.hashing import BlobHash, content_hash
from commonweal.data.shards import (
    ShardInfo,
    ShardSet,
    Tokens,
    dtype_for,
    folder_shards,
    pack_shard,
    parse_shard,
    shard_name,
)

arrays = st.sampled_from([np.uint16, np.uint32]).flatmap(
    lambda dtype: hnp.arrays(dtype, st.integers(0, 200), elements=st.integers(0, 60_000))
)


@given(tokens=arrays)
def test_what_is_packed_is_parsed_and_safetensors_agrees(tokens: Tokens) -> None:
    data = pack_shard(tokens)
    assert parse_shard(data, vocab_size=60_001).tolist() == tokens.tolist()
    other = safetensors_load(data)["tokens"]
    assert other.dtype == tokens.dtype
    assert other.tolist() == tokens.tolist()


def test_the_bytes_are_fixed() -> None:
    data = pack_shard(np.arange(5, dtype=np.uint16))
    assert content_hash(data) == "fac8c563f6a597c633d94f4d2dc94e30e3476c97ec4050442fa4c0c387bfd4ac"
    assert data[:8] == (64).to_bytes(8, "little")


def test_a_parsed_shard_cannot_be_written_to() -> None:
    tokens = parse_shard(pack_shard(np.arange(5, dtype=np.uint16)), vocab_size=5)
    with pytest.raises(ValueError, match="read-only"):
        tokens[0] = 1


@settings(max_examples=300)
@given(data=st.data())
def test_damage_is_a_corrupt_blob_and_nothing_else(data: st.DataObject) -> None:
    good = pack_shard(np.arange(50, dtype=np.uint16))
    at = data.draw(st.integers(0, len(good) - 1))
    change = data.draw(st.sampled_from(["cut", "flip", "insert"]))
    byte = data.draw(st.integers(0, 255))
    bad = {
        "cut": good[:at],
        "flip": good[:at] + bytes([byte]) + good[at + 1 :],
        "insert": good[:at] + bytes([byte]) + good[at:],
    }[change]
    try:
        tokens = parse_shard(bad, vocab_size=50)
    except CorruptBlob:
        return
    assert change == "flip"
    assert tokens.max() < 50


@given(data=st.binary(max_size=200))
def test_random_bytes_are_a_corrupt_blob(data: bytes) -> None:
    with pytest.raises(CorruptBlob):
        parse_shard(data, vocab_size=1 << 32)


def test_a_token_beyond_the_vocabulary_is_refused() -> None:
    with pytest.raises(CorruptBlob, match="token 9 is not below the vocabulary's size 9"):
        parse_shard(pack_shard(np.array([9], dtype=np.uint16)), vocab_size=9)


def test_a_folder_is_opened_by_memory_map(tmp_path: Path) -> None:
    data = pack_shard(np.arange(100, dtype=np.uint32))
    blob = content_hash(data)
    (tmp_path / shard_name(blob)).write_bytes(data)
    tokens = folder_shards(tmp_path, vocab_size=100)(blob)
    assert tokens.tolist() == list(range(100))
    assert not tokens.flags.owndata


def test_only_a_hash_is_a_shard_name() -> None:
    with pytest.raises(CorruptBlob, match="not a content hash"):
        shard_name(BlobHash("../../etc/passwd"))


def test_a_shard_set_survives_json() -> None:
    info = ShardInfo(hash=content_hash(b"x"), tokens=10, bytes=100)
    shards = ShardSet(shards=(info, info), dtype="uint16", vocab_size=300, documents=3, text_bytes=44)
    assert ShardSet.from_json(shards.to_json()) == shards
    assert shards.tokens == 20


def test_the_narrowest_type() -> None:
    assert (dtype_for(300), dtype_for(70_000)) == ("uint16", "uint32")
