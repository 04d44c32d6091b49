"""Robustness by synonyms: words become one of their WordNet synonyms (HELM, ``synonym_perturbation.py``, after
NL-Augmenter).

The synonyms of a word, and their order, are HELM's. Which part of speech a word is, HELM asks spaCy; here, without a
model, the word before it decides between a verb and a noun, else the word's most frequent part of speech in WordNet's
tagged texts. Function words, and capitalised words within a sentence, stay as they are. So not every word that HELM
replaces is replaced, and some in another sense.
"""

from __future__ import annotations

import random as rng
import re
from collections.abc import Mapping
from functools import cache, lru_cache
from typing import Literal

from commonweal.evals.perturbations.text import Change, below, match_case
from commonweal.evals.perturbations.word_lists import word_list

PartOfSpeech = Literal["n", "v", "s", "r"]
Setting = Literal["verb", "noun", ""]

_WORD = re.compile(r"([\w'’-]+)")
_PARTS: tuple[PartOfSpeech, ...] = ("n", "v", "s", "r")
_SENTENCE_ENDS = frozenset(".?!:\n")
_ENDINGS: dict[str, tuple[tuple[str, str], ...]] = {
    "n": (
        ("s", ""),
        ("ses", "s"),
        ("ves", "f"),
        ("xes", "x"),
        ("zes", "z"),
        ("ches", "ch"),
        ("shes", "sh"),
        ("men", "man"),
        ("ies", "y"),
    ),
    "v": (
        ("s", ""),
        ("ies", "y"),
        ("es", "e"),
        ("es", ""),
        ("ed", "e"),
        ("ed", ""),
        ("ing", "e"),
        ("ing", ""),
    ),
    "s": (("er", ""), ("est", ""), ("er", "e"), ("est", "e")),
    "r": (),
}
"""WordNet's rules of detachment (morphy(7WN))."""


def synonym(probability: float) -> Change:
    """Each word that has synonyms is replaced with this probability."""

    def change(text: str, random: rng.Random) -> str:
        parts, before, settings = _WORD.split(text), "", _settings()
        for i in range(1, len(parts), 2):
            word = parts[i]
            low = word.lower()
            # a capitalised word within a sentence is taken for a name
            if low == word or i == 1 or not _SENTENCE_ENDS.isdisjoint(parts[i - 1]):
                found = synonyms(low, settings.get(before, ""))
                if found and random.random() < probability:
                    parts[i] = match_case(word, found[below(len(found), random)])
            before = low
        return "".join(parts)

    return change


@cache
def _settings() -> Mapping[str, Setting]:
    lists = word_list("synonyms").words
    verb: dict[str, Setting] = dict.fromkeys(lists["before_verb"], "verb")
    return verb | dict.fromkeys(lists["before_noun"], "noun")


@lru_cache(maxsize=1 << 15)
def synonyms(word: str, setting: Setting = "") -> tuple[str, ...]:
    """The synonyms of a word in lower case, in WordNet's order.

    >>> synonyms("again")
    ('once again', 'once more', 'over again')
    """
    lists = word_list("synonyms").words
    if word in lists["function"]:
        return ()
    bases = {part: found for part in _PARTS if (found := base_forms(word, part))}
    if not bases:
        return ()
    part = _part(word, bases, setting)
    found = [s for base in bases[part] for s in lists["synonyms"][part][base].split("|")]
    return tuple(dict.fromkeys(s for s in found if s != word))


def base_forms(word: str, part: PartOfSpeech) -> list[str]:
    """The words that ``word`` may be a form of, among those that have synonyms (NLTK's ``_morphy``)."""
    lists = word_list("synonyms").words
    known = lists["synonyms"][part]
    irregular = lists["exceptions"][part].get(word)
    if irregular is not None:
        forms = [word, *irregular.split()]
    else:
        forms = [word, *(word[: -len(old)] + new for old, new in _ENDINGS[part] if word.endswith(old))]
    return list(dict.fromkeys(form for form in forms if form in known))


def _part(word: str, bases: dict[PartOfSpeech, list[str]], setting: Setting) -> PartOfSpeech:
    if len(bases) == 1:
        return next(iter(bases))
    order: dict[str, str] = word_list("synonyms").words["order"]
    frequent = order.get(word) or next(
        (order[b] for found in bases.values() for b in found if b in order), ""
    )
    ranked = sorted(bases, key=lambda p: (frequent + "nvsr").index(p))
    if setting == "verb" and "v" in bases:
        return "v"
    if setting == "noun":
        return next((p for p in ranked if p in "ns"), ranked[0])
    return ranked[0]
