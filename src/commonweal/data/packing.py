"""Documents into shards: encoded in batches, each closed by an end-of-text token, cut at a fixed size.

Owns the order of tokens and nothing of where they come from. Holds one shard and one batch of documents, whatever
passes through.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from commonweal.core.hashing import content_hash
from commonweal.data.shards import ShardInfo, ShardSet, Tokens, dtype_for, pack_shard, shard_name
from commonweal.data.tokenizer import TextTokenizer

_BATCH_CHARACTERS = 4_000_000


class ShardWriter:
    """Writes files of ``shard_tokens`` tokens into ``folder``; the last one may be smaller."""

    def __init__(self, folder: Path, tokenizer: TextTokenizer, shard_tokens: int) -> None:
        self._folder = folder
        self._tokenizer = tokenizer
        self._dtype = dtype_for(tokenizer.vocab_size)
        self._shard: Tokens = np.empty(shard_tokens, dtype=self._dtype)
        self._filled = 0
        self._texts: list[str] = []
        self._text_chars = 0
        self._shards: list[ShardInfo] = []
        self._documents = 0
        self._text_bytes = 0

    def add(self, text: str) -> None:
        """The next document."""
        self._texts.append(text)
        self._text_chars += len(text)
        if self._text_chars >= _BATCH_CHARACTERS:
            self._encode()

    def finish(self) -> ShardSet:
        """Write what is left, and say what was written."""
        self._encode()
        if self._filled:
            self._flush()
        return ShardSet(
            shards=tuple(self._shards),
            dtype=self._dtype,
            vocab_size=self._tokenizer.vocab_size,
            documents=self._documents,
            text_bytes=self._text_bytes,
        )

    def _encode(self) -> None:
        end = np.array([self._tokenizer.end_of_text], dtype=np.uint32)
        for ids in self._tokenizer.encode_batch(self._texts):
            self._put(np.concatenate([ids, end]).astype(self._dtype))
        self._documents += len(self._texts)
        self._text_bytes += sum(len(text.encode()) for text in self._texts)
        self._texts, self._text_chars = [], 0

    def _put(self, ids: Tokens) -> None:
        while ids.size:
            taken = ids[: self._shard.size - self._filled]
            self._shard[self._filled : self._filled + taken.size] = taken
            self._filled += taken.size
            ids = ids[taken.size :]
            if self._filled == self._shard.size:
                self._flush()

    def _flush(self) -> None:
        data = pack_shard(self._shard[: self._filled])
        blob = content_hash(data)
        (self._folder / shard_name(blob)).write_bytes(data)
        self._shards.append(ShardInfo(hash=blob, tokens=self._filled, bytes=len(data)))
        self._filled = 0
