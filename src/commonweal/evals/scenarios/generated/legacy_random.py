"""Whole numbers from NumPy's legacy generator (``numpy.random.RandomState``), one word at a time.

HELM draws its data from it with many small calls, each of which costs microseconds. The stream of 32-bit words is
the same however it is asked for and is frozen (NEP 19), so it is taken here in blocks, and what ``randint`` and
``shuffle`` make of it is done in Python: mask a word to the width of the bound, reject it when it is above. A test
compares both with NumPy's own.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

T = TypeVar("T")
_BLOCK = 4096


class LegacyRandom:
    """The draws of ``RandomState(seed)`` with a size of one or more, and its shuffle of a list."""

    __slots__ = ("_generator", "_next")

    def __init__(self, seed: int) -> None:
        self._generator = np.random.RandomState(seed)
        self._next = _words(self._generator).__next__

    def below(self, bound: int) -> int:
        """``randint(bound)``."""
        greatest = bound - 1
        mask = (1 << greatest.bit_length()) - 1
        while mask:
            value = self._next() & mask
            if value <= greatest:
                return value
        return 0

    def stream(self, bound: int) -> Iterator[int]:
        """``randint(bound)`` again and again, where nothing else is drawn before or between."""
        mask = (1 << (bound - 1).bit_length()) - 1
        while True:
            values = _block(self._generator) & mask
            yield from values[values < bound].tolist()

    def pick(self, options: list[T], size: int) -> list[T]:
        """``choice(options, size)``, with repetition."""
        return [options[self.below(len(options))] for _ in range(size)]

    def shuffled(self, items: list[T]) -> list[T]:
        """A copy as ``shuffle`` leaves it."""
        made = list(items)
        for last in range(len(made) - 1, 0, -1):
            other = self.below(last + 1)
            made[last], made[other] = made[other], made[last]
        return made


def _words(generator: np.random.RandomState) -> Iterator[int]:
    while True:
        yield from _block(generator).tolist()


def _block(generator: np.random.RandomState) -> NDArray[np.uint32]:
    return generator.randint(0, 1 << 32, size=_BLOCK, dtype=np.uint32)
