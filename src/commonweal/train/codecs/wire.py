"""The frame that every encoded vector travels in, and how a bad one is refused.

    magic "CW" | version u8 | codec u8 | size u64 | the codec's own fixed fields | payload

All integers are little-endian. The header describes the message completely, so that a saved one can be read
years later; but a receiver knows what it asked for, and refuses a message that says anything else. Nothing
is allocated before the lengths have been checked against the size that the receiver expects.
"""

from __future__ import annotations

import struct
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from commonweal.core.errors import InvalidContribution

Vector = NDArray[np.float32]

_HEADER = struct.Struct("<2sBBQ")
_MAGIC = b"CW"
_VERSION = 1
HEADER_BYTES = _HEADER.size


class Codec(Protocol):
    """Turns a vector into bytes and back, with or without loss."""

    @property
    def name(self) -> str:
        """What ``make_codec`` made it from; part of a job's specification."""
        ...

    def encode(self, x: Vector, *, seed: int) -> bytes:
        """The bytes of ``x``. ``seed`` (64 bits) feeds a codec that draws at random; others ignore it.

        Raises InvalidContribution ("not_finite") if ``x`` holds NaN or infinities: nothing that was computed
        from such a vector may leave the machine.
        """
        ...

    def decode(self, data: bytes, size: int) -> Vector:
        """The ``size`` numbers in ``data``. Raises InvalidContribution, and nothing else, for any other bytes."""
        ...


def rejected(code: str, message: str) -> InvalidContribution:
    """The error for a contribution that cannot be used; ``code`` is the word that the records keep."""
    error = InvalidContribution(message)
    error.code = code
    return error


def write_header(codec: int, size: int) -> bytes:
    return _HEADER.pack(_MAGIC, _VERSION, codec, size)


def check_header(data: bytes, codec: int, size: int) -> None:
    """Refuse ``data`` unless it announces ``size`` numbers by the codec numbered ``codec``."""
    if len(data) < HEADER_BYTES:
        raise rejected("truncated", f"{len(data)} bytes are too few for a header")
    magic, version, its_codec, its_size = _HEADER.unpack_from(data)
    if magic != _MAGIC or version != _VERSION:
        raise rejected("bad_header", "this is not an encoded vector of a known version")
    if its_codec != codec:
        raise rejected("wrong_codec", f"codec {its_codec} where {codec} was agreed")
    if its_size != size:
        raise rejected("wrong_size", f"{its_size} numbers where {size} were expected")


def check_length(data: bytes, expected: int) -> None:
    if len(data) != expected:
        code = "truncated" if len(data) < expected else "oversized"
        raise rejected(code, f"{len(data)} bytes where {expected} were expected")


def to_bf16(x: Vector) -> NDArray[np.uint16]:
    """``x`` rounded to the nearest bfloat16, as its bits. Scales are sent so: float32's range in two bytes."""
    bits = np.ascontiguousarray(x, dtype=np.float32).view(np.uint32)
    rounded: NDArray[np.uint16] = ((bits + np.uint32(0x7FFF) + ((bits >> 16) & 1)) >> 16).astype(np.uint16)
    return rounded


def from_bf16(bits: NDArray[np.uint16]) -> Vector:
    return (bits.astype(np.uint32) << 16).view(np.float32)


def require_finite(x: Vector, what: str) -> None:
    if not bool(np.isfinite(x).all()):
        raise rejected("not_finite", f"{what} are not finite numbers")
