"""Robustness by surface: misspellings, typos, case, contractions, spaces, filler words, and HELM's mix of them.

Each is a function that makes a change ``(text, random) -> text``. They draw from the random stream in HELM's order, so
that the same stream gives the same text; how they look for words is faster.
"""

from __future__ import annotations

import random as rng
import re
from functools import cache

from commonweal.evals.perturbations.phrases import Phrases
from commonweal.evals.perturbations.text import Change, alternatives, below, lowered, match_case
from commonweal.evals.perturbations.word_lists import word_list

_SPACES = re.compile(" +")


def lowercase(text: str, random: rng.Random) -> str:
    return text.lower()


def extra_space(spaces: int) -> Change:
    """Each space becomes so many."""

    def change(text: str, random: rng.Random) -> str:
        return text.replace(" ", " " * spaces)

    return change


def space(most: int) -> Change:
    """Each run of spaces becomes one of 1 to ``most``."""
    runs = [" " * (i + 1) for i in range(most)]
    bits = most.bit_length()

    def change(text: str, random: rng.Random) -> str:
        parts = _SPACES.split(text) if "  " in text else text.split(" ")
        draw, drawn, wanted = random.getrandbits, [""], len(parts)
        while len(drawn) < wanted:  # as randint draws
            number = draw(bits)
            if number < most:
                drawn.append(runs[number])
        return "".join([half for pair in zip(drawn, parts, strict=True) for half in pair])

    return change


def typos(probability: float) -> Change:
    """Letters become a neighbour on a QWERTY keyboard, each with this probability (NL-Augmenter's butter fingers,
    Dhole et al. 2021; HELM's table of neighbours)."""
    near: dict[str, str] = word_list("keyboard").words["near"]
    near = near | {key.upper(): keys.upper() for key, keys in near.items()}

    def change(text: str, random: rng.Random) -> str:
        draw = random.random
        made = list(text)
        for at, letter in enumerate(made):
            if letter in near and draw() < probability:
                keys = near[letter]
                made[at] = keys[below(len(keys), random)]
        return "".join(made)

    return change


def misspelling(probability: float) -> Change:
    """Words become a common misspelling of them, each with this probability, where one is known."""
    words: dict[str, list[str]] = word_list("misspellings").words["misspellings"]
    phrases = _misspellable()

    def change(text: str, random: rng.Random) -> str:
        parts, draw = phrases.split(text), random.random
        after = 0
        for i in phrases.candidates(parts):
            if i < after or (phrase := phrases.at(parts, i)) is None:
                continue
            after = i + phrase.size
            if draw() < probability:
                wrong = words[phrase.text]
                parts[i] = match_case(phrase.text, wrong[below(len(wrong), random)])
                parts[i + 1 : after] = [""] * (phrase.size - 1)
        return "".join(parts)

    return change


@cache
def _misspellable() -> Phrases:
    return Phrases(word_list("misspellings").words["misspellings"])


def contraction() -> Change:
    """Each expression of the list that is followed by a space is contracted ("is not" becomes "isn't")."""
    long: dict[str, str] = word_list("contractions").words["contractions"]
    short = {expanded: contracted for contracted, expanded in long.items()}
    initials = "".join(sorted({expression[0].lower() for expression in short}))
    return _listed(short, begins=f"[{initials}]", ends="(?= )")


def expansion() -> Change:
    """Each contraction of the list is written out."""
    return _listed(word_list("contractions").words["contractions"], begins=r"\w+'", needs="'")


def _listed(words: dict[str, str], *, begins: str, ends: str = "", needs: str = "") -> Change:
    """Every expression of the list, in any case, becomes its counterpart in the same. One counts only where ``begins``
    and ``ends`` (patterns) fit its beginning and what follows it; a text without ``needs`` has none."""
    lower = {expression.lower(): other for expression, other in words.items()} | words
    find = re.compile(rf"\b(?={begins}){alternatives(word.lower() for word in words)}\b{ends}")

    def change(text: str, random: rng.Random) -> str:
        if needs not in text:
            return text
        made, at = [], 0
        for match in find.finditer(lowered(text)):
            start, end = match.span()
            found = text[start:end]
            made += [text[at:start], match_case(found, lower.get(found) or lower[match[0]])]
            at = end
        return "".join([*made, text[at:]]) if made else text

    return change


def filler_words(
    probability: float, *, kinds: tuple[str, ...] = ("speaker", "uncertain", "filler")
) -> Change:
    """Words of hesitation and opinion before words, each with this probability (NL-Augmenter)."""
    lists = word_list("fillers").words
    fillers = [filler for kind in kinds for filler in lists[kind]]

    def change(text: str, random: rng.Random) -> str:
        draw = random.random
        made = []
        for word in text.split(" "):
            if draw() <= probability:
                made.append(fillers[below(len(fillers), random)])
            made.append(word)
        return " ".join(made)

    return change


def mild_mix() -> Change:
    """HELM's robustness perturbation: lower case, contractions, one misspellable word in ten misspelt, one to three
    spaces for one."""
    steps = (lowercase, contraction(), misspelling(0.1), space(3))

    def change(text: str, random: rng.Random) -> str:
        for step in steps:
            text = step(text, random)
        return text

    return change
