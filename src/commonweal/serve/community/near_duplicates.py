"""Texts that say nearly the same, found without comparing all with all.

A text is the set of its shingles (every run of five characters of its words); alike are two texts whose sets have a
Jaccard similarity of at least the threshold. MinHash signatures (Broder 1997) cut into bands propose pairs, and each
proposed pair is decided by the sets themselves, so nothing is dropped by chance; a pair just above the threshold may be
missed (:data:`BANDS` x :data:`ROWS`: at a similarity of 0.8 one pair in 10,000).
"""

from __future__ import annotations

import unicodedata
import zlib
from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

SHINGLE = 5
BANDS = 24
ROWS = 5
_PRIME = (1 << 61) - 1


def shingles(text: str) -> frozenset[int]:
    """The 32-bit hashes of a text's shingles. Case, accents' form and white space make no difference.

    >>> shingles("A  cat") == shingles("a cat")
    True
    """
    plain = " ".join(unicodedata.normalize("NFKC", text).casefold().split())
    pieces = range(max(1, len(plain) - SHINGLE + 1))
    return frozenset(zlib.crc32(plain[i : i + SHINGLE].encode("utf-8", "surrogatepass")) for i in pieces)


def jaccard(a: frozenset[int], b: frozenset[int]) -> float:
    return len(a & b) / len(a | b)


class Seen:
    """The texts so far. Mutable: what is asked with :meth:`like` can be :meth:`add`-ed under a name."""

    def __init__(self, threshold: float, seed: int = 0) -> None:
        random = np.random.default_rng(seed)
        self._threshold = threshold
        self._a = random.integers(1, _PRIME, size=BANDS * ROWS, dtype=np.uint64)
        self._b = random.integers(0, _PRIME, size=BANDS * ROWS, dtype=np.uint64)
        self._sets: dict[str, frozenset[int]] = {}
        self._order: dict[str, int] = {}
        self._buckets: defaultdict[tuple[int, bytes], list[str]] = defaultdict(list)

    def like(self, text: str) -> str | None:
        """The name of a text that is alike, the first that was added; None if there is none."""
        mine = shingles(text)
        near = {name for bucket in self._bands(mine) for name in self._buckets.get(bucket, ())}
        alike = [name for name in near if jaccard(mine, self._sets[name]) >= self._threshold]
        return min(alike, key=self._order.__getitem__, default=None)

    def add(self, name: str, text: str) -> None:
        self._sets[name] = mine = shingles(text)
        self._order[name] = len(self._order)
        for bucket in self._bands(mine):
            self._buckets[bucket].append(name)

    def _bands(self, mine: frozenset[int]) -> Iterator[tuple[int, bytes]]:
        signature = self._signature(np.fromiter(mine, dtype=np.uint64, count=len(mine)))
        for band in range(BANDS):
            yield band, signature[band * ROWS : (band + 1) * ROWS].tobytes()

    def _signature(self, hashes: NDArray[np.uint64]) -> NDArray[np.uint64]:
        """Multiply-shift hashing (Dietzfelbinger 1997): the upper half of a product modulo 2^64."""
        with np.errstate(over="ignore"):
            mixed = (self._a[:, None] * hashes[None, :] + self._b[:, None]) >> np.uint64(32)
        return np.asarray(mixed.min(axis=1), dtype=np.uint64)


def distinct(texts: Sequence[str], threshold: float) -> list[int]:
    """The indices of texts that are like none before them.

    >>> distinct(["The cat sat on the mat.", "the cat sat on the  mat", "Another one"], 0.8)
    [0, 2]
    """
    seen, kept = Seen(threshold), []
    for i, text in enumerate(texts):
        if seen.like(text) is None:
            seen.add(str(i), text)
            kept.append(i)
    return kept
