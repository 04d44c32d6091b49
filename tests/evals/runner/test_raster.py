"""What bytes are as a picture is told by their beginning, and nothing is believed of what they call themselves."""

from __future__ import annotations

import struct

import pytest

from commonweal.evals.raster import LARGEST, Raster, raster_of

PNG = b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sII", 13, b"IHDR", 640, 480) + b"\x08\x02\x00\x00\x00"
GIF = b"GIF89a" + struct.pack("<HH", 640, 480) + b"\x00\x00\x00;"
APP0 = b"\xff\xe0" + struct.pack(">H", 16) + b"JFIF\x00" + bytes(9)
SOF2 = b"\xff\xff\xc2" + struct.pack(">HBHH", 11, 8, 480, 640) + b"\x01\x01\x11\x00"
JPG = b"\xff\xd8" + APP0 + SOF2 + b"\xff\xda"


def webp(kind: bytes, body: bytes) -> bytes:
    return (
        b"RIFF" + struct.pack("<I", 4 + 8 + len(body)) + b"WEBP" + kind + struct.pack("<I", len(body)) + body
    )


LOSSY = webp(b"VP8 ", b"\x00\x00\x00\x9d\x01\x2a" + struct.pack("<HH", 640, 480))
LOSSLESS = webp(b"VP8L", b"\x2f" + struct.pack("<I", 639 | 479 << 14) + bytes(8))
EXTENDED = webp(b"VP8X", bytes(4) + (639).to_bytes(3, "little") + (479).to_bytes(3, "little"))


@pytest.mark.parametrize(
    ("data", "ending"),
    [(PNG, "png"), (GIF, "gif"), (JPG, "jpg"), (LOSSY, "webp"), (LOSSLESS, "webp"), (EXTENDED, "webp")],
    ids=["png", "gif", "jpg", "lossy", "lossless", "extended"],
)
def test_the_four_formats_and_their_size(data: bytes, ending: str) -> None:
    assert raster_of(data) == Raster(ending=ending, width=640, height=480)  # type: ignore[arg-type]
    assert raster_of(data + b"<script>alert(1)</script>") == raster_of(data), (
        "what comes after is no business"
    )
    for end in range(len(data)):
        found = raster_of(data[:end])
        assert isinstance(found, str) or (found.width, found.height) == (640, 480)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "neither PNG"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "neither PNG"),
        (b"<!DOCTYPE html><script>alert(1)</script>", "neither PNG"),
        (b"RIFF\x00\x00\x00\x00WAVEfmt ", "neither PNG"),
        (b"\x00" + PNG, "neither PNG"),
        (PNG[:20], "no width and height"),
        (b"\x89PNG\r\n\x1a\n<html><script>alert(1)</script>", "no width and height"),
        (PNG[:16] + bytes(8) + PNG[24:], "no width and height"),
        (b"\xff\xd8" + APP0 + b"\xff\xda", "no width and height"),
        (b"\xff\xd8\xff\xe0\x00\x00" + bytes(30), "no width and height"),
        (PNG[:16] + struct.pack(">II", 60_000, 60_000) + PNG[24:], "60,000 × 60,000 pixels"),
        (PNG + bytes(LARGEST), "bytes, more than"),
    ],
)
def test_what_is_no_picture_is_told_so(data: bytes, why: str) -> None:
    found = raster_of(data)
    assert isinstance(found, str)
    assert why in found
