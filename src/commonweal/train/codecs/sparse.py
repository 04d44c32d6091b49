"""Codecs that send few numbers: the largest of each chunk, and CocktailSGD's random tenth of them first.

A message is the positions (Rice-coded gaps, see :mod:`.bits`), a code of ``bits`` bits for each value (a sign,
and one of 2^(bits-1) magnitudes equally spaced from ``low`` in steps of ``step``), and two bfloat16 (low, step)
for each chunk. With ``bits=2`` there are two magnitudes, fitted to each chunk by Lloyd's iteration.

SparseLoCo (Sarfi et al. 2025) introduced the chunked form with two bits for pseudo-gradients; CocktailSGD (Wang
et al. 2023, section 3) the mixture of random sparsity, top-k and quantization.
"""

from __future__ import annotations

import struct

import numpy as np
from numpy.typing import NDArray

from commonweal.train.codecs.bits import (
    Positions,
    field_bytes,
    pack_fields,
    read_positions,
    unpack_fields,
    write_positions,
)
from commonweal.train.codecs.wire import (
    HEADER_BYTES,
    Vector,
    check_header,
    check_length,
    from_bf16,
    rejected,
    require_finite,
    to_bf16,
    write_header,
)

_TOPK_ID = 6
_COCKTAIL_ID = 7
_FIELDS = struct.Struct("<IBBQ")  # chunk, bits, Rice parameter, count
_MASK = struct.Struct("<QH")  # seed, density of the mask in 1/65536
_LARGEST = 2.0**119


class TopK:
    """The ``density`` share of each ``chunk`` that is largest in magnitude, in ``bits`` bits each."""

    def __init__(self, name: str, density: float, chunk: int, bits: int) -> None:
        self.name = name
        self._selected = Selected(density=density, chunk=chunk, bits=bits)

    def encode(self, x: Vector, *, seed: int) -> bytes:
        return write_header(_TOPK_ID, x.size) + self._selected.encode(x)

    def decode(self, data: bytes, size: int) -> Vector:
        check_header(data, _TOPK_ID, size)
        return self._selected.decode(memoryview(data)[HEADER_BYTES:], size)


class Cocktail:
    """Top-k of a random ``mask`` share of the numbers. The mask follows from the seed, which is all that is
    sent of it; over the rounds, error feedback gives every number its turn."""

    def __init__(self, name: str, mask: float, density: float, chunk: int, bits: int) -> None:
        self.name = name
        self._threshold = max(1, round(mask * 65536))
        self._selected = Selected(density=density, chunk=chunk, bits=bits)

    def encode(self, x: Vector, *, seed: int) -> bytes:
        require_finite(x, "the numbers to encode")
        head = write_header(_COCKTAIL_ID, x.size) + _MASK.pack(seed, self._threshold)
        return head + self._selected.encode(x[random_mask(seed, self._threshold, x.size)])

    def decode(self, data: bytes, size: int) -> Vector:
        check_header(data, _COCKTAIL_ID, size)
        if len(data) < HEADER_BYTES + _MASK.size:
            raise rejected("truncated", "the message ends in its header")
        seed, threshold = _MASK.unpack_from(data, HEADER_BYTES)
        if threshold != self._threshold:
            raise rejected("wrong_codec", "another random density than was agreed")
        mask = random_mask(seed, threshold, size)
        out = np.zeros(size, dtype=np.float32)
        rest = memoryview(data)[HEADER_BYTES + _MASK.size :]
        out[mask] = self._selected.decode(rest, int(np.count_nonzero(mask)))
        return out


def random_mask(seed: int, threshold: int, size: int) -> NDArray[np.bool_]:
    """``size`` flags, each true with probability threshold / 65536.

    Built on the raw 64-bit output of Philox, which numpy keeps stable for ever, unlike its distributions.
    """
    raw = np.random.Philox(key=seed).random_raw(-(-size // 4))
    mask: NDArray[np.bool_] = np.asarray(raw).astype("<u8").view("<u2")[:size] < threshold
    return mask


class Selected:
    """The largest of each chunk: positions, codes and scales, without the common header."""

    def __init__(self, *, density: float, chunk: int, bits: int) -> None:
        self._per_chunk = max(1, round(density * chunk))
        self._chunk = chunk
        self._bits = bits

    def encode(self, x: Vector) -> bytes:
        require_finite(x, "the numbers to encode")
        positions = largest_of_chunks(x, self._chunk, self._per_chunk)
        chunks = -(-x.size // self._chunk)
        scales, codes = _quantize(x[positions], positions // self._chunk, chunks, self._bits)
        r, low, unary = write_positions(positions)
        fields = _FIELDS.pack(self._chunk, self._bits, r, positions.size)
        return b"".join((fields, scales.tobytes(), low, pack_fields(codes, self._bits), unary))

    def decode(self, data: memoryview, size: int) -> Vector:
        if len(data) < _FIELDS.size:
            raise rejected("truncated", "the message ends in its header")
        chunk, bits, r, count = _FIELDS.unpack_from(data)
        chunks = -(-size // self._chunk)
        if chunk != self._chunk or bits != self._bits:
            raise rejected("wrong_codec", "another chunk size or width than was agreed")
        if r > 24 or count > min(size, chunks * self._per_chunk):
            raise rejected("bad_header", f"{count} values and parameter {r} are more than this codec sends")
        sections = (4 * chunks, field_bytes(count, r), field_bytes(count, bits))
        ends = np.cumsum((_FIELDS.size, *sections))
        if len(data) < ends[-1]:
            check_length(bytes(data), int(ends[-1]))
        raw = np.frombuffer(data, dtype=np.uint8)
        positions = read_positions(raw[ends[1] : ends[2]], raw[ends[3] :], count, r, size)
        scales = from_bf16(raw[ends[0] : ends[1]].view("<u2")).reshape(2, chunks)
        if not bool(((scales >= 0) & (scales <= _LARGEST)).all()):
            raise rejected("not_finite", "a scale is negative, not finite, or absurdly large")
        codes = unpack_fields(raw[ends[2] : ends[3]], count, bits)
        out = np.zeros(size, dtype=np.float32)
        out[positions] = _dequantize(codes, positions // chunk, scales, bits)
        return out


def largest_of_chunks(x: Vector, chunk: int, per_chunk: int) -> Positions:
    """The positions, increasing, of the ``per_chunk`` largest magnitudes of each chunk; zeros are left out, and
    a last short chunk gives its share."""
    whole = x.size - x.size % chunk
    found = []
    for start, rows in ((0, x[:whole].reshape(-1, chunk)), (whole, x[whole:].reshape(1, -1))):
        width = rows.shape[1]
        keep = per_chunk if width == chunk else -(-per_chunk * width // chunk)
        if rows.size:
            found.append(start + _largest_of_rows(np.abs(rows), keep))
    return np.concatenate(found) if found else np.zeros(0, dtype=np.int64)


def _largest_of_rows(magnitude: NDArray[np.float32], keep: int) -> Positions:
    width = magnitude.shape[1]
    if keep >= width:
        return np.flatnonzero(magnitude)
    edge = np.partition(magnitude, width - keep, axis=1)[:, width - keep]
    chosen = (magnitude >= edge[:, None]) & (magnitude > 0)
    crowded = np.flatnonzero(np.count_nonzero(chosen, axis=1) > keep)
    for row in crowded:  # several equal the threshold: the first of them are as good as any
        surplus = np.flatnonzero(chosen[row] & (magnitude[row] == edge[row]))
        chosen[row, surplus[keep - np.count_nonzero(magnitude[row] > edge[row]) :]] = False
    return np.flatnonzero(chosen)


def _quantize(
    values: Vector, which: Positions, chunks: int, bits: int
) -> tuple[NDArray[np.uint16], NDArray[np.uint8]]:
    """(scales, codes): low and step of every chunk as bfloat16, and for every value its sign (the top bit) and
    its level."""
    magnitude = np.abs(values)
    levels = 2 ** (bits - 1)
    low, step = _fit_levels(magnitude, which, chunks, levels)
    scales = to_bf16(np.concatenate((low, step)))
    low, step = from_bf16(scales).reshape(2, chunks)
    require_finite(step, "the numbers to encode")
    with np.errstate(divide="ignore", invalid="ignore"):
        index = np.where(step[which] > 0, (magnitude - low[which]) / step[which], 0)
    index = np.clip(np.rint(index), 0, levels - 1)
    codes = index.astype(np.uint8) | ((values < 0).astype(np.uint8) << np.uint8(bits - 1))
    return scales.astype("<u2"), codes


def _fit_levels(magnitude: Vector, which: Positions, chunks: int, levels: int) -> tuple[Vector, Vector]:
    """Low and step of each chunk: the mean for one level, Lloyd's fit for two, the range for more."""
    count = np.maximum(np.bincount(which, minlength=chunks), 1)
    mean = np.bincount(which, magnitude, chunks) / count
    if levels == 1:
        return mean.astype(np.float32), np.zeros(chunks, dtype=np.float32)
    if levels == 2:
        return _fit_two_levels(magnitude, which, chunks, mean)
    smallest = np.full(chunks, np.inf, dtype=np.float32)
    largest = np.zeros(chunks, dtype=np.float32)
    np.minimum.at(smallest, which, magnitude)
    np.maximum.at(largest, which, magnitude)
    low = np.where(np.isfinite(smallest), smallest, np.float32(0))
    return low, (largest - low) / np.float32(levels - 1)


def _fit_two_levels(
    magnitude: Vector, which: Positions, chunks: int, edge: NDArray[np.float64]
) -> tuple[Vector, Vector]:
    for _ in range(2):
        upper = magnitude > edge[which]
        n_high = np.bincount(which[upper], minlength=chunks)
        n_low = np.bincount(which, minlength=chunks) - n_high
        sum_high = np.bincount(which[upper], magnitude[upper], chunks)
        sum_low = np.bincount(which, magnitude, chunks) - sum_high
        low = sum_low / np.maximum(n_low, 1)
        high = np.where(n_high > 0, sum_high / np.maximum(n_high, 1), low)
        edge = (low + high) / 2
    return np.maximum(low, 0).astype(np.float32), np.maximum(high - low, 0).astype(np.float32)


def _dequantize(
    codes: NDArray[np.uint32], which: Positions, scales: NDArray[np.float32], bits: int
) -> Vector:
    levels = 2 ** (bits - 1)
    magnitude: Vector = scales[0][which] + scales[1][which] * (codes % levels).astype(np.float32)
    return np.where(codes >= levels, -magnitude, magnitude)
