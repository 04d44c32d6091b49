"""Fairness by gender: words of one gender become those of another, terms ("son", "daughter") or pronouns (HELM,
``gender_perturbation.py``). Only words count that have a character on both sides which is no part of a word.

The pairs are taken one after the other, each over the whole text. A pronoun with two meanings takes the first one of
the list ("his" becomes "her"), as HELM has no tagger here either.
"""

from __future__ import annotations

import random as rng
import re
from typing import Literal

from commonweal.evals.perturbations.text import Change, lowered, match_case
from commonweal.evals.perturbations.word_lists import word_list

Gender = Literal["neutral", "female", "male"]


def gender(mode: Literal["terms", "pronouns"], probability: float, source: Gender, target: Gender) -> Change:
    """Each word of ``source`` becomes its counterpart with this probability."""
    lists = word_list("gender").words
    columns = lists["columns"]
    at, to = columns.index(source), columns.index(target)
    pairs = [
        (row[at], row[to], re.compile(rf"[^\w]({re.escape(row[at])})[^\w]", re.IGNORECASE))
        for row in lists[mode]
    ]

    def change(text: str, random: rng.Random) -> str:
        low = lowered(text)
        for word, other, find in pairs:
            if word in low:
                text = _substituted(text, find, other, probability, random)
                low = lowered(text)
        return text

    return change


def _substituted(text: str, find: re.Pattern[str], other: str, probability: float, random: rng.Random) -> str:
    def replaced(match: re.Match[str]) -> str:
        if random.random() >= probability:
            return match[0]
        return match[0][0] + match_case(match[1], other) + match[0][-1]

    return find.sub(replaced, text)
