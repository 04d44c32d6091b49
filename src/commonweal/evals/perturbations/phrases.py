"""Finding the words and expressions of a list in a text, quickly: by dictionary, not by a pattern of thousands of
alternatives.

A text is split into separators and words, alternating (``re.split`` with the word in a group), and an expression is
such a sequence too. The result is that of a pattern ``\\b(first|second|...)\\b``: the leftmost expression, and of those
that begin at one word the first in the list.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

WORD = re.compile(r"(\w+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Phrase:
    """An expression of the list: its parts are word, separator, word ..."""

    text: str
    parts: tuple[str, ...]
    size: int


class Phrases:
    """The expressions of a list. ``word`` is a pattern with one group that is a word."""

    def __init__(self, expressions: Iterable[str], word: re.Pattern[str] = WORD) -> None:
        self.split = word.split
        self._by_first: dict[str, list[Phrase]] = defaultdict(list)
        for expression in expressions:
            if expression.isalnum():  # one word, as almost all are
                self._by_first[expression].append(Phrase(text=expression, parts=(expression,), size=1))
                continue
            before, *parts, after = self.split(expression)
            if not before and not after:
                self._by_first[parts[0]].append(Phrase(text=expression, parts=tuple(parts), size=len(parts)))

    def candidates(self, parts: Sequence[str]) -> list[int]:
        """Where expressions may begin: indices of words."""
        known = self._by_first
        return [i for i in range(1, len(parts), 2) if parts[i] in known]

    def at(self, parts: Sequence[str], i: int) -> Phrase | None:
        """The first expression of the list that begins with word ``i``."""
        for phrase in self._by_first[parts[i]]:
            size = phrase.size
            if size == 1 or tuple(parts[i : i + size]) == phrase.parts:
                return phrase
        return None
