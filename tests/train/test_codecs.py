"""Codecs: size on the wire, error, refusal of everything that is not a message, and error feedback."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from commonweal.core.errors import ConfigError, InvalidContribution
from commonweal.core.hashing import content_hash
from commonweal.train.codecs import Vector, encode_with_feedback, make_codec
from commonweal.train.codecs.bits import (
    best_rice_parameter,
    pack_fields,
    read_positions,
    unpack_fields,
    write_positions,
)
from commonweal.train.codecs.registry import codec_names
from commonweal.train.codecs.sparse import largest_of_chunks, random_mask
from commonweal.train.codecs.wire import HEADER_BYTES, from_bf16, to_bf16

ALL = (*codec_names(), "int2:block=32", "topk:density=0.1,chunk=64,bits=1", "cocktail:mask=0.5,chunk=64")
LOSSY = tuple(name for name in ALL if name != "fp32")
FIELDS = HEADER_BYTES
GOLDEN = [
    (
        "int8:block=32",
        "43570102280000000000000020000000003cff3b80eb1fb45b6f0105f52f3fff4132f808007c4ca313f698f70e"
        "963c930118ff566bf47263ff290bba6bf47263ff290bba6bf47263ff290bba6bf47263ff290bba",
        "c0ea371570a0",
    ),
    (
        "int4:block=32",
        "43570103280000000000000020000000003eff3d087e41ab15f690f00f92339f0413ff5066ff7766ff2200bb66"
        "ff7766ff2200bb",
        "1fcc767453a7",
    ),
    (
        "int2:block=32",
        "435701042800000000000000200000001a3f113f0e9354ae0531ec7055ff5555ff0000aa",
        "17743e5b932c",
    ),
    (
        "int1:block=32",
        "435701052800000000000000200000009f3f8d3f0561a875aa5500aa",
        "48809782c9b7",
    ),
    (
        "topk:density=0.2,chunk=64",
        "4357010628000000000000004000000002010900000000000000713f533d2980e4cd401ac4c8",
        "462c0e67a16e",
    ),
    (
        "cocktail:mask=0.5,density=0.5,chunk=64",
        "435701072800000000000000070000000000000000804000000004000c00000000000000503fdb3c1fd7c94e87379a8cea",
        "66b8f3c6aadb",
    ),
]
names = st.sampled_from(ALL)
vectors = hnp.arrays(
    np.float32, st.integers(0, 700), elements=st.floats(-(2.0**100), 2.0**100, width=32, allow_subnormal=True)
)


def normal(size: int, seed: int = 0, scale: float = 1e-3) -> Vector:
    return (np.random.default_rng(seed).standard_normal(size) * scale).astype(np.float32)


def squared_error(x: Vector, decoded: Vector) -> float:
    """As a share of the square of ``x``."""
    exact = x.astype(np.float64)
    return float(((exact - decoded) ** 2).sum() / (exact**2).sum())


@settings(deadline=None)
@given(names, vectors, st.integers(0, 2**64 - 1))
def test_what_is_encoded_decodes_to_finite_numbers_of_the_same_count(name: str, x: Vector, seed: int) -> None:
    codec = make_codec(name)
    decoded = codec.decode(codec.encode(x, seed=seed), x.size)
    assert decoded.dtype == np.float32
    assert decoded.shape == x.shape
    assert np.isfinite(decoded).all()


@settings(deadline=None)
@given(vectors)
def test_float32_is_exact(x: Vector) -> None:
    codec = make_codec("fp32")
    assert codec.decode(codec.encode(x, seed=0), x.size).tobytes() == x.tobytes()


@pytest.mark.parametrize(
    ("name", "bits", "error"),
    [
        ("fp32", 32.01, 0.0),
        ("int8", 8.07, 6e-5),
        ("int4", 4.07, 0.013),
        ("int2", 2.07, 0.1185),
        ("int1", 1.07, 0.364),
        ("topk", 0.28, 0.81),
        ("topk:bits=1", 0.25, 0.81),
        ("topk:density=0.25,bits=4", 1.85, 0.282),
        ("cocktail", 0.16, 0.94),
    ],
)
def test_bits_on_the_wire_and_squared_error_for_normal_numbers(name: str, bits: float, error: float) -> None:
    # The best possible for a normal distribution: 0.0115, 0.1175 and 0.3634 for 4, 2 and 1 bits (Max 1960).
    x = normal(300_000)
    data = make_codec(name).encode(x, seed=1)
    decoded = make_codec(name).decode(data, x.size)
    assert len(data) * 8 / x.size <= bits
    assert squared_error(x, decoded) <= error


@pytest.mark.parametrize("name", LOSSY)
def test_error_does_not_depend_on_the_unit(name: str) -> None:
    x = normal(5000, scale=1.0)
    codec = make_codec(name)

    def error(scale: float) -> float:
        scaled = x * np.float32(scale)
        decoded = codec.decode(codec.encode(scaled, seed=0), x.size)
        return squared_error(scaled, decoded)

    assert error(2.0**-60) == pytest.approx(error(1.0), rel=1e-3)
    assert error(2.0**60) == pytest.approx(error(1.0), rel=1e-3)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_vector_that_is_not_finite_is_not_encoded(name: str, bad: float) -> None:
    x = normal(1000)
    x[777] = bad
    with pytest.raises(InvalidContribution) as caught:
        make_codec(name).encode(x, seed=0)
    assert caught.value.code == "not_finite"


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("size", [1, 2, 31, 63, 64, 255, 256, 257, 4095, 4096, 4097])
def test_a_short_last_block_is_coded_as_well_as_the_others(name: str, size: int) -> None:
    x = normal(size)
    codec = make_codec(name)
    residual, first = None, float((x**2).sum())
    for turn in range(60):
        residual = encode_with_feedback(codec, x if turn == 0 else 0 * x, residual, seed=turn).residual
    assert float((residual**2).sum()) <= 0.05 * first


@pytest.mark.parametrize("name", ALL)
def test_zeros_stay_zeros(name: str) -> None:
    codec = make_codec(name)
    assert not codec.decode(codec.encode(np.zeros(5000, np.float32), seed=0), 5000).any()


@pytest.mark.parametrize(("name", "message", "decoded"), GOLDEN)
def test_a_message_decodes_to_the_bits_it_always_did(name: str, message: str, decoded: str) -> None:
    # A change of any of these is a change of the wire format, and splits a pool of mixed versions.
    assert content_hash(make_codec(name).decode(bytes.fromhex(message), 40).tobytes())[:12] == decoded


@settings(max_examples=300, deadline=None)
@given(names, st.binary(max_size=600), st.integers(0, 600))
def test_random_bytes_are_refused(name: str, data: bytes, size: int) -> None:
    with pytest.raises(InvalidContribution):
        make_codec(name).decode(data, size)


@settings(max_examples=300, deadline=None)
@given(names, st.binary(max_size=300), st.integers(0, 500))
def test_random_bytes_after_a_good_header_are_refused_or_finite(name: str, tail: bytes, size: int) -> None:
    codec = make_codec(name)
    keep = FIELDS + {"i": 4, "t": 14, "c": 24, "f": 0}[name[0]]
    head = codec.encode(normal(size), seed=3)[:keep]
    check_harmless(name, head + tail, size)


@settings(max_examples=400, deadline=None)
@given(names, st.integers(1, 600), st.data())
def test_damaged_messages_are_refused_or_finite(name: str, size: int, data: st.DataObject) -> None:
    message = bytearray(make_codec(name).encode(normal(size), seed=3))
    for _ in range(data.draw(st.integers(1, 4))):
        bit = data.draw(st.integers(0, len(message) * 8 - 1))
        message[bit // 8] ^= 1 << (bit % 8)
    check_harmless(name, bytes(message), size)


def check_harmless(name: str, message: bytes, size: int) -> None:
    """Either InvalidContribution, or ``size`` finite numbers."""
    try:
        decoded = make_codec(name).decode(message, size)
    except InvalidContribution:
        return
    assert decoded.shape == (size,)
    assert np.isfinite(decoded).all()


@settings(deadline=None)
@given(names, st.integers(0, 600), st.data())
def test_a_message_that_is_cut_or_lengthened_is_refused(name: str, size: int, data: st.DataObject) -> None:
    message = make_codec(name).encode(normal(size), seed=3)
    cut = data.draw(st.integers(0, len(message) - 1))
    extra = data.draw(st.binary(min_size=1, max_size=40))
    for wrong in (message[:cut], message + extra):
        with pytest.raises(InvalidContribution):
            make_codec(name).decode(wrong, size)


@settings(deadline=None)
@given(names, st.integers(0, 600), st.integers(0, 2**40))
def test_another_size_than_expected_is_refused(name: str, size: int, expected: int) -> None:
    # Sizes of terabytes too: the length is checked before anything is allocated.
    if size != expected:
        with pytest.raises(InvalidContribution):
            make_codec(name).decode(make_codec(name).encode(normal(size), seed=3), expected)


def test_a_message_of_another_codec_or_other_settings_is_refused() -> None:
    x = normal(5000)
    messages = {name: make_codec(name).encode(x, seed=3) for name in ALL}
    for name in ALL:
        for other, message in messages.items():
            if other != name:
                with pytest.raises(InvalidContribution):
                    make_codec(name).decode(message, x.size)


@pytest.mark.parametrize("name", LOSSY)
def test_error_feedback_delivers_everything_in_time(name: str) -> None:
    # The sum of what was received differs from the sum of what was meant by the residual, which stays bounded.
    codec, residual = make_codec(name), None
    meant, received = np.zeros(3000, np.float64), np.zeros(3000, np.float64)
    for turn in range(100):
        x = normal(3000, seed=turn)
        sent = encode_with_feedback(codec, x, residual, seed=turn)
        residual = sent.residual
        meant += x
        received += sent.decoded
    np.testing.assert_allclose(received + residual, meant, atol=1e-6)
    assert float((residual**2).sum()) <= 60 * 3000 * 1e-6
    assert sent.decoded.tobytes() == codec.decode(sent.data, 3000).tobytes()


def test_a_decayed_residual_forgets() -> None:
    codec, x = make_codec("int1"), normal(256)
    first = encode_with_feedback(codec, x, None, seed=0)
    second = encode_with_feedback(codec, 0 * x, first.residual, seed=0, decay=0.5)
    np.testing.assert_allclose(second.decoded + second.residual, first.residual / 2, atol=1e-9)


def test_top_k_keeps_the_largest_of_each_chunk() -> None:
    x = np.array([1, -5, 2, 3, 0, 0, 0, -1, 9, 8, 7], np.float32)
    assert largest_of_chunks(x, 4, 2).tolist() == [1, 3, 7, 8, 9]


def test_top_k_of_equal_numbers_keeps_only_its_share() -> None:
    assert largest_of_chunks(np.ones(4096 * 2 + 100, np.float32), 4096, 128).size == 128 * 2 + 4
    assert largest_of_chunks(np.zeros(5000, np.float32), 4096, 128).size == 0


def test_two_bits_beat_one_for_the_values_of_top_k() -> None:
    x = np.random.default_rng(0).laplace(size=200_000).astype(np.float32)

    def error(name: str) -> float:
        return squared_error(x, make_codec(name).decode(make_codec(name).encode(x, seed=0), x.size))

    assert error("topk:bits=2") < error("topk:bits=1")


def test_the_random_mask_is_the_same_for_ever_and_has_its_density() -> None:
    mask = random_mask(2**63 + 5, 6554, 100_000)
    assert content_hash(np.packbits(mask).tobytes())[:12] == "694f382d1039"
    assert mask.mean() == pytest.approx(0.1, abs=0.004)


@settings(deadline=None)
@given(st.lists(st.integers(0, 2**24 - 1), max_size=50), st.integers(0, 24))
def test_fields_survive_packing(values: list[int], width: int) -> None:
    array = np.array([v % (1 << width) for v in values], dtype=np.int64)
    data = np.frombuffer(pack_fields(array, width), np.uint8)
    assert unpack_fields(data, array.size, width).tolist() == array.tolist()


@settings(deadline=None)
@given(st.sets(st.integers(0, 9999), max_size=200))
def test_positions_survive_packing(chosen: set[int]) -> None:
    positions = np.array(sorted(chosen), dtype=np.int64)
    r, low, unary = write_positions(positions)
    read = read_positions(
        np.frombuffer(low, np.uint8), np.frombuffer(unary, np.uint8), positions.size, r, 10_000
    )
    assert read.tolist() == positions.tolist()


def test_positions_of_random_places_cost_little_more_than_their_entropy() -> None:
    positions = np.flatnonzero(np.random.default_rng(0).random(1_000_000) < 0.03)
    _, low, unary = write_positions(positions)
    assert 8 * (len(low) + len(unary)) / positions.size < 1.02 * 6.48  # H(0.03) / 0.03 = 6.48 bits


def test_the_rice_parameter_is_the_cheapest() -> None:
    for mean in (0, 1, 3, 30, 5000):
        gaps = np.random.default_rng(0).geometric(1 / (mean + 1), 2000) - 1
        costs = [int((gaps >> r).sum()) + gaps.size * (1 + r) for r in range(25)]
        assert costs[best_rice_parameter(gaps)] == min(costs)


@settings(deadline=None)
@given(hnp.arrays(np.float32, 20, elements=st.floats(-(2.0**100), 2.0**100, width=32)))
def test_bfloat16_rounds_to_within_one_part_in_256(x: Vector) -> None:
    rounded = from_bf16(to_bf16(x))
    assert (np.abs(rounded - x) <= np.abs(x) / 256 + 1e-40).all()


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("int5", "did you mean 'int"),
        ("top-k", "did you mean 'topk'"),
        ("zzz", "known: fp32"),
        ("topk:densty=0.1", "did you mean 'density'"),
        ("fp32:block=3", "no settings"),
    ],
)
def test_an_unknown_name_is_answered_with_the_nearest(name: str, hint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        make_codec(name)
    assert hint in str(caught.value)


@pytest.mark.parametrize(
    "name",
    [
        "int4:block=100",
        "topk:density=0",
        "topk:density=nan",
        "topk:bits=2.5",
        "topk:chunk=x",
        "cocktail:mask=1",
    ],
)
def test_an_impossible_setting_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="must be"):
        make_codec(name)
