"""Content hashes: lower-case hexadecimal SHA-256, everywhere.

A blob's name is the hash of its bytes; a record's hash is that of its canonical JSON.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any, NewType

BlobHash = NewType("BlobHash", str)

_HEX = re.compile(r"[0-9a-f]{64}\Z")


def content_hash(data: bytes | bytearray | memoryview) -> BlobHash:
    """The SHA-256 of ``data``.

    >>> content_hash(b"")[:8]
    'e3b0c442'
    """
    return BlobHash(hashlib.sha256(data).hexdigest())


def record_hash(record: Any) -> str:
    """The hash of a JSON-compatible value, independent of key order and white space."""
    text = json.dumps(record, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def is_content_hash(text: str) -> bool:
    """Whether ``text`` has the form of a content hash (and so is safe as a file name)."""
    return _HEX.match(text) is not None
