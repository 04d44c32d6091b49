"""A text cut into passages: about 200 words each, at the ends of paragraphs and sentences, overlapping a little.

A passage is a place in the text, so it can be shown where it stands. Pure: the same text is cut alike everywhere, by
:data:`VERSION` of the rules.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

VERSION = 1
WORDS = 200
OVERLAP = 40
"""Words of a passage that the one before it ends with, at most."""

_CHARACTERS_A_WORD = 6
_GAP = re.compile(r"\n[ \t]*\n\s*")
_SENTENCE_END = re.compile(r"[.!?][\"')\]»”]{0,3}(?=\s)|[。！？]|\n")
_WORD = re.compile(r"\S+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """``text[start:stop]``."""

    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class _Unit:
    """What is not cut any further; ``ends`` a paragraph."""

    start: int
    stop: int
    words: float
    ends: bool


def cut(text: str) -> tuple[Place, ...]:
    """The passages of a text, in order. Every word is in one; where a text has none, there is none."""
    made: list[Place] = []
    held: list[_Unit] = []
    words = 0.0
    for unit in _units(text):
        most = WORDS * (0.9 if held and held[-1].ends and words >= WORDS * 0.6 else 1.0)
        if held and words + unit.words > most:
            made.append(Place(start=held[0].start, stop=held[-1].stop))
            held = _overlap(held, unit)
            words = sum(kept.words for kept in held)
        held.append(unit)
        words += unit.words
    if held:
        made.append(Place(start=held[0].start, stop=held[-1].stop))
    return tuple(made)


def _overlap(held: list[_Unit], unit: _Unit) -> list[_Unit]:
    """The last units that fit into the overlap, and beside the next unit."""
    kept: list[_Unit] = []
    room = min(float(OVERLAP), WORDS - unit.words)
    for last in reversed(held[1:]):
        room -= last.words
        if room < 0:
            break
        kept.insert(0, last)
    return kept


def _units(text: str) -> Iterator[_Unit]:
    for start, stop in _between(_GAP, text, 0, len(text)):
        units = [
            piece
            for sentence in _between(_SENTENCE_END, text, start, stop)
            for piece in _pieces(text, *sentence)
        ]
        for at, (a, b) in enumerate(units):
            yield _Unit(a, b, _size(text[a:b]), at == len(units) - 1)


def _between(end: re.Pattern[str], text: str, start: int, stop: int) -> Iterator[tuple[int, int]]:
    """The parts of ``text[start:stop]`` up to each end, the end included; blank ones are left to :func:`_pieces`."""
    for match in end.finditer(text, start, stop):
        yield start, match.end()
        start = match.end()
    yield start, stop


def _pieces(text: str, start: int, stop: int) -> Iterator[tuple[int, int]]:
    """A sentence without blanks around it, or its parts where it is too long: at words, and within a word that has no
    end."""
    sentence = text[start:stop].rstrip()
    stop = start + len(sentence)
    start = stop - len(sentence.lstrip())
    if start == stop:
        return
    if _size(text[start:stop]) <= WORDS / 2:
        yield start, stop
        return
    most = WORDS // 2 * _CHARACTERS_A_WORD
    begun: int | None = None
    words, last = 0, start
    for word in _WORD.finditer(text, start, stop):
        for a, b in _slices(word.start(), word.end(), most):
            if begun is not None and (words >= WORDS // 2 or b - begun > most):
                yield begun, last
                begun, words = None, 0
            begun = a if begun is None else begun
            words, last = words + 1, b
    if begun is not None:
        yield begun, last


def _slices(start: int, stop: int, most: int) -> Iterator[tuple[int, int]]:
    for a in range(start, stop, most):
        yield a, min(stop, a + most)


def _size(text: str) -> float:
    """In words; of writing without spaces, in what would be words."""
    return max(len(_WORD.findall(text)), len(text) / _CHARACTERS_A_WORD)
