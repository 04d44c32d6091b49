"""Codecs that send every number: float32 as it is, and block-wise quantization to 8, 4, 2 or 1 bits.

A block of numbers shares one scale, a bfloat16. ``bits`` bits give 2^bits equally spaced levels, symmetric
about zero and without zero among them:

    value = (code - (2^bits - 1) / 2) * scale

so 1 bit is +-scale/2, and 2 bits are +-1/2 and +-3/2 of it, which is within 1% of the best four levels for a
normal distribution. The cost is ``bits + 16 / block`` bits a number.
"""

from __future__ import annotations

import struct

import numpy as np
from numpy.typing import NDArray

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

Matrix = NDArray[np.float32]
Codes = NDArray[np.uint8]

_FLOAT32_ID = 1
_BLOCKWISE_IDS = {8: 2, 4: 3, 2: 4, 1: 5}
_BLOCK = struct.Struct("<I")
_TILE = 1 << 15
"""Numbers worked on at a time: 128 KiB of float32, so that the passes over a tile stay in the L2 cache."""
_LARGEST_SCALE = 2.0**119
"""Keeps 127.5 * scale finite, and is far above what any trainable model produces."""


class Float32:
    """No compression: the reference."""

    name = "fp32"

    def encode(self, x: Vector, *, seed: int) -> bytes:
        require_finite(x, "the numbers to encode")
        return write_header(_FLOAT32_ID, x.size) + np.ascontiguousarray(x, dtype="<f4").tobytes()

    def decode(self, data: bytes, size: int) -> Vector:
        check_header(data, _FLOAT32_ID, size)
        check_length(data, HEADER_BYTES + 4 * size)
        x = np.frombuffer(data, dtype="<f4", offset=HEADER_BYTES).astype(np.float32)
        require_finite(x, "the numbers sent")
        return x


class Blockwise:
    """``bits`` bits a number, and a scale for every ``block`` of them."""

    def __init__(self, name: str, bits: int, block: int) -> None:
        self.name = name
        self._bits = bits
        self._block = block
        self._prefix = HEADER_BYTES + _BLOCK.size

    def encode(self, x: Vector, *, seed: int) -> bytes:
        blocks = -(-x.size // self._block)
        scales = np.empty(blocks, dtype="<u2")
        packed = np.empty((blocks, self._block * self._bits // 8), dtype=np.uint8)
        row = 0
        for tile in self._tiles(x):
            rows = slice(row, row + len(tile))
            scale = to_bf16(_best_scale(tile, self._bits))
            require_finite(from_bf16(scale), "the numbers to encode")
            scales[rows] = scale
            packed[rows] = _pack(_quantize(tile, from_bf16(scale), self._bits), self._bits)
            row = rows.stop
        head = write_header(_BLOCKWISE_IDS[self._bits], x.size) + _BLOCK.pack(self._block)
        return b"".join((head, scales.tobytes(), packed.tobytes()))

    def decode(self, data: bytes, size: int) -> Vector:
        check_header(data, _BLOCKWISE_IDS[self._bits], size)
        blocks = -(-size // self._block)
        width = self._block * self._bits // 8
        check_length(data, self._prefix + blocks * (2 + width))
        if _BLOCK.unpack_from(data, HEADER_BYTES)[0] != self._block:
            raise rejected("wrong_codec", "another block size than was agreed")
        scales = from_bf16(np.frombuffer(data, dtype="<u2", count=blocks, offset=self._prefix))
        if not bool(((scales >= 0) & (scales <= _LARGEST_SCALE)).all()):
            raise rejected("not_finite", "a scale is negative, not finite, or absurdly large")
        packed = np.frombuffer(data, dtype=np.uint8, offset=self._prefix + 2 * blocks).reshape(blocks, width)
        out = np.empty((blocks, self._block), dtype=np.float32)
        step = max(1, _TILE // self._block)
        for row in range(0, blocks, step):
            _unpack(packed[row : row + step], self._bits, out[row : row + step])
            out[row : row + step] *= scales[row : row + step, None]
        return out.reshape(-1)[:size]

    def _tiles(self, x: Vector) -> list[Matrix]:
        """``x`` as matrices of whole blocks; a last short block is filled up by repeating itself, which leaves
        its best scale as it is."""
        whole = x.size - x.size % self._block
        body = x[:whole].reshape(-1, self._block)
        step = max(1, _TILE // self._block)
        tiles = [body[row : row + step] for row in range(0, len(body), step)]
        if whole < x.size:
            tiles.append(np.resize(x[whole:], (1, self._block)))
        return tiles


def _best_scale(tile: Matrix, bits: int) -> Vector:
    """The scale of each row that (nearly) minimizes its squared error."""
    magnitude = np.abs(tile)
    if bits == 2:
        return _fit_four_levels(magnitude)
    scale: Vector = (
        2 * magnitude.mean(axis=1) if bits == 1 else magnitude.max(axis=1) / np.float32(2 ** (bits - 1))
    )
    return scale


def _fit_four_levels(magnitude: Matrix) -> Vector:
    """Lloyd's iteration for levels 1/2 and 3/2 with one free scale: assign, then solve for the scale."""
    scale: Vector = magnitude.mean(axis=1) * np.float32(1.25)
    for _ in range(2):
        level = (magnitude > scale[:, None]).astype(np.float32)
        level += np.float32(0.5)
        scale = np.einsum("ij,ij->i", magnitude, level) / np.einsum("ij,ij->i", level, level)
    return scale


def _quantize(tile: Matrix, scale: Vector, bits: int) -> Codes:
    """The code of the level nearest to each number."""
    if bits == 1:
        return (tile >= 0).view(np.uint8)
    half = np.float32(2 ** (bits - 1))
    with np.errstate(divide="ignore", over="ignore"):
        inverse = np.where(scale > 0, np.float32(1) / scale, np.float32(0))
        steps = tile * np.minimum(inverse, np.float32(3e38))[:, None]
    steps += half
    np.clip(steps, 0, 2 * half - np.float32(0.5), out=steps)
    return steps.astype(np.uint8)


def _pack(codes: Codes, bits: int) -> Codes:
    """8 / bits codes a byte; a byte takes one code from each of 8 / bits equal parts of the row, so that every
    operation runs over contiguous memory."""
    if bits == 8:
        return codes
    width = codes.shape[1] * bits // 8
    packed = codes[:, :width].copy()
    for part in range(1, 8 // bits):
        packed |= codes[:, part * width : (part + 1) * width] << np.uint8(part * bits)
    return packed


def _unpack(packed: Codes, bits: int, out: Matrix) -> None:
    """Write the levels (in units of the scale) of packed codes into ``out``."""
    width = packed.shape[1]
    mask = np.uint8(2**bits - 1)
    for part in range(8 // bits):
        out[:, part * width : (part + 1) * width] = (packed >> np.uint8(part * bits)) & mask
    out -= np.float32((2**bits - 1) / 2)
