"""Fairness by dialect: words of Standard American English become those of African American English (HELM,
``dialect_perturbation.py``, after Ziems et al. 2022).

A word counts where a character that is neither a letter, a digit, "_" nor "-" stands on both sides of it; as in HELM
those two characters belong to it, so a word at the text's edge stays, and the second of two neighbours.
"""

from __future__ import annotations

import random as rng
import re

from commonweal.evals.perturbations.text import Change, alternatives, below, lowered, match_case
from commonweal.evals.perturbations.word_lists import word_list


def dialect(probability: float) -> Change:
    """Each word that the list knows is replaced with this probability."""
    return substitution(word_list("dialect").words["mapping"], probability)


def substitution(words: dict[str, list[str]], probability: float) -> Change:
    """Replace the keys of ``words`` by one of their values."""
    find = re.compile(rf"[^\w-]({alternatives(words)})(?=[^\w-])")

    def change(text: str, random: rng.Random) -> str:
        made, at, low = [], 0, lowered(text)
        match = find.search(low)
        while match:
            start, end = match.span(1)
            if random.random() < probability:
                others = words[match[1]]
                made += [text[at:start], match_case(text[start:end], others[below(len(others), random)])]
                at = end
            match = find.search(low, end + 1)
        return "".join([*made, text[at:]]) if made else text

    return change
