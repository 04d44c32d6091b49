"""Texts that say nearly the same, found without comparing all with all.

A text is the set of its shingles (every run of five characters of its words); alike are two texts whose sets have a
Jaccard similarity of at least the threshold. MinHash signatures (Broder 1997) cut into bands propose pairs, and each
proposed pair is decided by the sets themselves, so nothing is dropped by chance; a pair just above the threshold may be
missed (:data:`BANDS` x :data:`ROWS`: at a similarity of 0.8 one pair in 10,000).
"""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

SHINGLE = 5
BANDS = 24
ROWS = 5
_PRIME = (1 << 61) - 1
_FACTORS = np.random.default_rng(5).integers(1, 2**63, size=SHINGLE, dtype=np.uint64) * 2 + 1
_AT_ONCE = 4096  # hashes of a text that are mixed at once: 4 MB


Shingles = NDArray[np.uint32]


def shingles(text: str) -> Shingles:
    """The 32-bit hashes of a text's shingles, each once, in order. Case, accents' form and white space make no
    difference.

    >>> list(shingles("A  cat")) == list(shingles("a cat"))
    True
    """
    plain = " ".join(unicodedata.normalize("NFKC", text).casefold().split())
    points = np.frombuffer(plain.ljust(SHINGLE, "\0").encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    runs = np.lib.stride_tricks.sliding_window_view(points.astype(np.uint64), SHINGLE)
    with np.errstate(over="ignore"):
        hashes = (runs * _FACTORS).sum(axis=1, dtype=np.uint64) >> np.uint64(32)
    return np.unique(hashes.astype(np.uint32))


def jaccard(a: Shingles, b: Shingles) -> float:
    shared = len(np.intersect1d(a, b, assume_unique=True))
    return shared / (len(a) + len(b) - shared)


class Seen:
    """The texts so far. Mutable: what is asked with :meth:`like` can be :meth:`add`-ed under a name, and is not
    looked at twice for that."""

    def __init__(self, threshold: float, seed: int = 0) -> None:
        random = np.random.default_rng(seed)
        self._threshold = threshold
        self._a = random.integers(1, _PRIME, size=BANDS * ROWS, dtype=np.uint64)
        self._b = random.integers(0, _PRIME, size=BANDS * ROWS, dtype=np.uint64)
        self._last: tuple[str, Shingles, list[bytes]] | None = None
        self._sets: dict[str, Shingles] = {}
        self._order: dict[str, int] = {}
        self._buckets: defaultdict[tuple[int, bytes], list[str]] = defaultdict(list)

    def like(self, text: str) -> str | None:
        """The name of a text that is alike, the first that was added; None if there is none."""
        mine, bands = self._sketch(text)
        near = {name for bucket in enumerate(bands) for name in self._buckets.get(bucket, ())}
        alike = [name for name in near if jaccard(mine, self._sets[name]) >= self._threshold]
        return min(alike, key=self._order.__getitem__, default=None)

    def add(self, name: str, text: str) -> None:
        self._sets[name], bands = self._sketch(text)
        self._order[name] = len(self._order)
        for bucket in enumerate(bands):
            self._buckets[bucket].append(name)

    def _sketch(self, text: str) -> tuple[Shingles, list[bytes]]:
        """A text's shingles, and its signature in bands."""
        if self._last is None or self._last[0] != text:
            mine = shingles(text)
            signature = self._signature(mine.astype(np.uint64))
            bands = [signature[band * ROWS : (band + 1) * ROWS].tobytes() for band in range(BANDS)]
            self._last = (text, mine, bands)
        return self._last[1:]

    def _signature(self, hashes: NDArray[np.uint64]) -> NDArray[np.uint64]:
        """Multiply-shift hashing (Dietzfelbinger 1997): the upper half of a product modulo 2^64."""
        least = np.full(BANDS * ROWS, np.iinfo(np.uint64).max, dtype=np.uint64)
        for start in range(0, len(hashes), _AT_ONCE):
            some = hashes[None, start : start + _AT_ONCE]
            with np.errstate(over="ignore"):
                mixed = (self._a[:, None] * some + self._b[:, None]) >> np.uint64(32)
            np.minimum(least, mixed.min(axis=1), out=least)
        return least


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
