"""What bytes are as a picture: which of four raster formats, and how wide and high, told by their beginning alone.

Owns what may be kept and shown as a picture. Nothing is decoded, and what somebody says of the bytes (a media type, a
name) counts for nothing. An SVG is a document with scripts and no raster, so it is none of these.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Ending = Literal["png", "jpg", "gif", "webp"]

MEDIA_TYPES: dict[Ending, str] = {
    "png": "image/png",
    "jpg": "image/jpeg",
    "gif": "image/gif",
    "webp": "image/webp",
}
"""The formats, by the end of a file's name."""

LARGEST = 8 * 2**20
PIXELS = 40_000_000
"""Bytes and pixels of one picture. A few bytes may say that they are a picture of many gigabytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Raster:
    """A picture of ``width`` times ``height`` pixels."""

    ending: Ending
    width: int
    height: int

    @property
    def media_type(self) -> str:
        return MEDIA_TYPES[self.ending]


def raster_of(data: bytes) -> Raster | str:
    """What a picture is, or in words why it is none that is kept and shown.

    >>> raster_of(b"<svg xmlns='http://www.w3.org/2000/svg'/>")
    'it is neither PNG, JPEG, GIF nor WebP'
    """
    if len(data) > LARGEST:
        return f"it has {len(data):,} bytes, more than {LARGEST:,}"
    ending = _ending(data)
    if ending is None:
        return "it is neither PNG, JPEG, GIF nor WebP"
    width, height = _SIZES[ending](data)
    if not width or not height:
        return f"it begins as {ending.upper()} does, but says no width and height"
    if width * height > PIXELS:
        return f"it has {width:,} × {height:,} pixels, more than {PIXELS:,} in all"
    return Raster(ending=ending, width=width, height=height)


def _ending(data: bytes) -> Ending | None:
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png"
    if data.startswith(b"\xff\xd8\xff"):
        return "jpg"
    if data.startswith((b"GIF87a", b"GIF89a")):
        return "gif"
    return "webp" if data[:4] == b"RIFF" and data[8:12] == b"WEBP" else None


Size = tuple[int, int]

_NONE: Size = (0, 0)


def _png(data: bytes) -> Size:
    """PNG, third edition, 11.2.1: IHDR is the first chunk."""
    return (_big(data[16:20]), _big(data[20:24])) if data[12:16] == b"IHDR" and len(data) >= 24 else _NONE


def _gif(data: bytes) -> Size:
    """GIF89a, 18: the logical screen."""
    return (_little(data[6:8]), _little(data[8:10])) if len(data) >= 10 else _NONE


def _jpg(data: bytes) -> Size:
    """ITU-T T.81, B.1: segments, one of which begins the frame (SOF: C0 to CF, but for C4, C8 and CC)."""
    at = 2
    while at + 9 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:  # filling before a marker
            at += 1
        elif 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            return _big(data[at + 7 : at + 9]), _big(data[at + 5 : at + 7])
        elif marker in (0xD9, 0xDA) or (length := _big(data[at + 2 : at + 4])) < 2:
            return _NONE
        else:
            at += 2 + length
    return _NONE


def _webp(data: bytes) -> Size:
    """RFC 9649, 2.5 to 2.7: lossy, lossless, extended."""
    if len(data) < 30:
        return _NONE
    match data[12:16]:
        case b"VP8 " if data[23:26] == b"\x9d\x01\x2a":
            return _little(data[26:28]) & 0x3FFF, _little(data[28:30]) & 0x3FFF
        case b"VP8L" if data[20] == 0x2F:
            bits = _little(data[21:25])
            return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
        case b"VP8X":
            return _little(data[24:27]) + 1, _little(data[27:30]) + 1
    return _NONE


def _big(data: bytes) -> int:
    return int.from_bytes(data, "big")


def _little(data: bytes) -> int:
    return int.from_bytes(data, "little")


_SIZES = {"png": _png, "jpg": _jpg, "gif": _gif, "webp": _webp}
