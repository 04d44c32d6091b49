"""Token shards: one 1-D tensor of token ids in a safetensors file, named by its content hash.

Owns the file format and the lists of shards. Written and read with numpy alone, as the format is a length, a
JSON header and raw little-endian data; ``safetensors`` reads the same files. The bytes depend on the tokens
only, so the same text gives the same hashes everywhere.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from commonweal.core.errors import CorruptBlob
from commonweal.core.hashing import BlobHash, is_content_hash

Tokens = npt.NDArray[np.uint16] | npt.NDArray[np.uint32]
"""Token ids ``[n]``, read-only."""

OpenShard = Callable[[BlobHash], Tokens]
"""How a reader gets a shard by its hash: from a folder, or from whatever store a member fetches from."""

DType = Literal["uint16", "uint32"]

_CODES: dict[str, DType] = {"U16": "uint16", "U32": "uint32"}
_MAX_HEADER = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardInfo:
    """One shard file: its content hash, how many tokens it holds, and its size in bytes."""

    hash: BlobHash
    tokens: int
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardSet:
    """Shards that make one stream of documents, each document closed by an end-of-text token.

    ``text_bytes`` is the UTF-8 size of the text in all of them, without the separators.
    """

    shards: tuple[ShardInfo, ...]
    dtype: DType
    vocab_size: int
    documents: int
    text_bytes: int

    @property
    def tokens(self) -> int:
        return sum(shard.tokens for shard in self.shards)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON that :meth:`from_json` reads back."""
        return {**asdict(self), "shards": [asdict(shard) for shard in self.shards]}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> ShardSet:
        return cls(**{**value, "shards": tuple(ShardInfo(**shard) for shard in value["shards"])})


def dtype_for(vocab_size: int) -> DType:
    """The narrowest type that holds every id of a vocabulary.

    >>> dtype_for(65536), dtype_for(65537)
    ('uint16', 'uint32')
    """
    return "uint16" if vocab_size <= 1 << 16 else "uint32"


def pack_shard(tokens: Tokens) -> bytes:
    """The file of ``tokens`` [n]: header length (8 bytes), JSON padded to 8 bytes, little-endian data."""
    code = next(code for code, dtype in _CODES.items() if tokens.dtype == np.dtype(dtype))
    entry = {"dtype": code, "shape": [tokens.size], "data_offsets": [0, tokens.nbytes]}
    header = json.dumps({"tokens": entry}, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    return (
        len(header).to_bytes(8, "little") + header + tokens.astype(tokens.dtype.newbyteorder("<")).tobytes()
    )


def parse_shard(data: bytes | memoryview | npt.NDArray[np.uint8], *, vocab_size: int) -> Tokens:
    """The tokens of a shard file, as a read-only view of ``data``.

    Raises CorruptBlob unless it is exactly what :func:`pack_shard` writes with ids below ``vocab_size``.
    """
    raw = np.frombuffer(data, dtype=np.uint8)
    dtype, start = _parse_header(raw)
    tokens = raw[start:].view(np.dtype(dtype).newbyteorder("<"))
    tokens.flags.writeable = False
    if tokens.size and int(tokens.max()) >= vocab_size:
        raise CorruptBlob(f"shard: token {int(tokens.max())} is not below the vocabulary's size {vocab_size}")
    return tokens


def _parse_header(raw: npt.NDArray[np.uint8]) -> tuple[DType, int]:
    size = int.from_bytes(raw[:8].tobytes(), "little") if raw.size >= 8 else _MAX_HEADER + 1
    if size > min(_MAX_HEADER, raw.size - 8) or size % 8:
        raise CorruptBlob("shard: not a safetensors file of tokens")
    try:
        header = json.loads(raw[8 : 8 + size].tobytes())
        entry = header["tokens"]
        dtype, shape, offsets = _CODES[entry["dtype"]], entry["shape"], entry["data_offsets"]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise CorruptBlob("shard: its header does not describe one tensor of tokens") from None
    nbytes = raw.size - 8 - size
    if (
        offsets != [0, nbytes]
        or shape != [nbytes // np.dtype(dtype).itemsize]
        or nbytes % np.dtype(dtype).itemsize
    ):
        raise CorruptBlob("shard: its header and its size disagree")
    return dtype, 8 + size


def folder_shards(folder: Path, *, vocab_size: int) -> OpenShard:
    """Open shards of a folder by memory map: ``<hash>.safetensors``."""

    def open_shard(blob: BlobHash) -> Tokens:
        mapped = np.memmap(folder / shard_name(blob), dtype=np.uint8, mode="r")
        return parse_shard(mapped, vocab_size=vocab_size)

    return open_shard


def shard_name(blob: BlobHash) -> str:
    """The file name of a shard. Only a content hash is one, so it cannot leave its folder."""
    if not is_content_hash(blob):
        raise CorruptBlob(f"shard: {blob!r} is not a content hash")
    return f"{blob}.safetensors"
