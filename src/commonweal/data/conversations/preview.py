"""What a file comes to before anything is trained: counts of tokens, and of the first examples which parts
are learned."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from typing import Any

from commonweal.data.conversations.encoding import Encoded, Weighted
from commonweal.data.conversations.problems import Problems

Decode = Callable[[Sequence[int]], str]

SHOWN = 3
_LONGEST = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """A number over all examples."""

    least: int = 0
    mean: float = 0.0
    most: int = 0
    total: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Some text, and the weight of its tokens: 0 is only read."""

    text: str
    weight: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """One example as the model sees it; of a preference both ways to go on."""

    line: int
    sequences: tuple[tuple[Part, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """``tokens`` are read and ``trained`` are learned, once over the file. ``counts`` are of all problems by
    their code."""

    examples: int
    tokens: Count
    trained: Count
    counts: dict[str, int]
    problems: tuple[str, ...]
    shown: tuple[Shown, ...]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def preview(encoded: Sequence[Encoded], problems: Problems, decode: Decode, *, shown: int = SHOWN) -> Preview:
    """A preview of examples; ``decode`` gives the text of token ids, control tokens included."""
    return Preview(
        examples=len(encoded),
        tokens=_count([one.tokens for one in encoded]),
        trained=_count([one.trained for one in encoded]),
        counts={str(code): count for code, count in problems.counts.items()},
        problems=tuple(map(str, problems.first)),
        shown=tuple(
            Shown(line=one.line, sequences=tuple(tuple(_parts(s, decode)) for s in one.sequences))
            for one in encoded[:shown]
        ),
    )


def _count(numbers: Sequence[int]) -> Count:
    if not numbers:
        return Count()
    return Count(least=min(numbers), mean=statistics.fmean(numbers), most=max(numbers), total=sum(numbers))


def _parts(sequence: Weighted, decode: Decode) -> Iterator[Part]:
    """Runs of one weight, of the first :data:`_LONGEST` tokens."""
    pairs = list(zip(sequence.ids, sequence.weights, strict=True))[:_LONGEST]
    for weight, run in groupby(pairs, key=lambda pair: pair[1]):
        yield Part(text=decode([token for token, _ in run]), weight=weight)
