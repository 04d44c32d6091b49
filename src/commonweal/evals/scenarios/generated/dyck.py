"""Dyck languages: closing the open brackets of a word (Suzgun et al. 2019, arXiv 1911.03329).

Words come from the grammar ``S -> ( S )`` with probability 1/2, ``S -> S S`` with 1/4, else the empty word. With the
seed 0 the instances are HELM's own, byte for byte: the random numbers are drawn in the order of its
scenarios/dyck_language_scenario.py from Python's and NumPy's legacy generators with the seed 42.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

from commonweal.evals.instance import Instance, Split
from commonweal.evals.scenario import Args, Loader, Scenario
from commonweal.evals.scenarios.arguments import chosen
from commonweal.evals.scenarios.building import Draft, answer, numbered
from commonweal.evals.scenarios.generated.legacy_random import LegacyRandom
from commonweal.evals.scenarios.generated.symbols import HELM_SEED
from commonweal.evals.scenarios.prompting import completion

ARGS = {"num_parenthesis_pairs": ("3", "2", "4")}

OPENING, CLOSING = "([{<", ")]}>"
TRAIN, TEST = 3, 500

_NESTING, _SEQUENCE = 0.5, 0.25
_DEEPEST = 100
_LONGEST_PART = 100
_MOST_CLOSED = 3


def read(loader: Loader, args: Args) -> Iterator[Instance]:
    pairs = int(chosen(args, ARGS, "num_parenthesis_pairs"))
    return numbered(_drafts(_Words(pairs, HELM_SEED + loader.seed)))


def _drafts(words: _Words) -> Iterator[Draft]:
    seen: set[str] = set()
    plan: tuple[tuple[Split, int, int, int], ...] = (("train", TRAIN, 4, 50), ("test", TEST, 52, 100))
    for split, count, shortest, longest in plan:
        made = 0
        while made < count:
            prefix = words.prefix(shortest, longest)
            if prefix not in seen:
                seen.add(prefix)
                made += 1
                yield Draft(
                    input=" ".join(prefix), references=answer(" " + " ".join(closing(prefix))), split=split
                )


class _Words:
    """Words of the language, drawn as HELM draws them."""

    def __init__(self, pairs: int, seed: int) -> None:
        self._stream = random.Random(seed)
        self._word = _grammar(self._stream.random, LegacyRandom(seed).stream(pairs).__next__)

    def prefix(self, shortest: int, longest: int) -> str:
        """A word of a length between both without its last one to three closing brackets. (HELM bounds the length
        of a part, not of the word, by 100.)"""
        while True:
            word = self._word(0, longest)
            if len(word) >= shortest:
                prefix = cut(word, self._stream.randint(1, _MOST_CLOSED))
                if prefix:
                    return prefix


def _grammar(draw: Callable[[], float], kind_of_next: Callable[[], int]) -> Callable[[int, int], str]:
    """What draws a word. A closure, since it calls itself a million times for five hundred words."""

    def word(depth: int, longest: int) -> str:
        if depth > _DEEPEST:
            return ""
        at = draw()
        if at < _NESTING:
            kind = kind_of_next()
            made = OPENING[kind] + word(depth + 1, _LONGEST_PART) + CLOSING[kind]
        elif at < _NESTING + _SEQUENCE:
            made = word(depth, _LONGEST_PART) + word(depth, _LONGEST_PART)
        else:
            return ""
        return made if len(made) <= longest else ""

    return word


def cut(word: str, count: int) -> str:
    """The word before the place at which, from its end, ``count`` more brackets were closed than opened.

    >>> cut("(([]))", 2)
    '(([]'
    """
    balance = 0
    for place in range(len(word) - 1, -1, -1):
        balance += 1 if word[place] in CLOSING else -1
        if balance == count:
            return word[:place]
    return ""


def closing(prefix: str) -> str:
    """The brackets that close what is open.

    >>> closing("<(()[")
    '])>'
    """
    stack: list[str] = []
    for bracket in prefix:
        if bracket in OPENING:
            stack.append(CLOSING[OPENING.index(bracket)])
        else:
            stack.pop()
    return "".join(reversed(stack))


DYCK = Scenario(
    name="dyck_language",
    title="Dyck",
    description="Closes the open brackets of a word of a Dyck language.",
    source="generated; Suzgun et al. 2019 (arXiv 1911.03329)",
    licence="Apache-2.0",
    read=read,
    adaptation=completion(
        instructions="Please complete the rest of the following Dyck sequences, "
        "making sure that the parentheses are closed properly.",
        input_prefix="Input: ",
        max_tokens=5,
        shots=3,
        stop=("\n",),
    ),
    main_metric="exact_match_indicator",
    metrics=("last_word", "exact_match"),
    tags=("targeted", "generated", "reasoning"),
    args=ARGS,
)
