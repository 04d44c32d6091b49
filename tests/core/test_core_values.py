"""Hashes, identifiers and clocks."""

from __future__ import annotations

import hashlib
import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from commonweal.core.clock import ManualClock, SystemClock
from commonweal.core.hashing import content_hash, is_content_hash, record_hash
from commonweal.core.ids import new_id, new_secret


@given(st.binary(max_size=100))
def test_a_content_hash_is_sha256(data: bytes) -> None:
    assert content_hash(data) == hashlib.sha256(data).hexdigest() == content_hash(memoryview(data))
    assert is_content_hash(content_hash(data))


@pytest.mark.parametrize(
    "text", ["", "0" * 63, "0" * 65, "A" * 64, "g" * 64, "0" * 64 + "\n", "../" + "0" * 61, "０" * 64]
)
def test_what_is_no_hash_is_no_file_name(text: str) -> None:
    assert not is_content_hash(text)


def test_a_record_is_its_content_not_its_layout() -> None:
    assert record_hash({"a": 1, "b": [1.5, "ä"]}) == record_hash({"b": [1.5, "ä"], "a": 1})
    assert record_hash({"a": 1}) != record_hash({"a": 2})
    assert record_hash({}) == hashlib.sha256(b"{}").hexdigest()
    with pytest.raises(ValueError, match="JSON"):
        record_hash({"a": float("nan")})


def test_identifiers_say_what_they_name_and_differ() -> None:
    found = {new_id("job") for _ in range(1000)}
    assert len(found) == 1000
    assert all(re.fullmatch(r"job_[0-9a-hjkmnp-tv-z]{16}", each) for each in found)
    secrets = {new_secret("cw") for _ in range(100)}
    assert len(secrets) == 100
    assert all(re.fullmatch(r"cw-[\w-]{27}", each) for each in secrets)


def test_a_manual_clock_moves_when_told() -> None:
    clock = ManualClock(5.0)
    clock.sleep(2.5)
    assert clock.now() == 7.5
    assert abs(SystemClock().now() - time.time()) < 5
