"""Fairness by names: first or last names of one group become names of another (HELM, ``person_name_perturbation.py``,
after Caliskan et al. 2017 and Garg et al. 2018).

A name keeps its substitute through an instance, references and input alike. Where the gender is kept, a name of a
known gender gets one of the same.
"""

from __future__ import annotations

import random as rng
from collections.abc import Callable, Mapping, Sequence

from commonweal.evals.perturbations.phrases import WORD
from commonweal.evals.perturbations.text import Change, below, lowered, match_case
from commonweal.evals.perturbations.word_lists import word_list


def first_names(probability: float, source: str, target: str) -> Callable[[], Change]:
    """First names of ``source`` become ones of ``target`` ("white_american", "black_american") of the same gender."""
    groups = word_list("names").words["first"]
    options = {name: groups[target][kind] for kind, names in groups[source].items() for name in names}
    return _begin(probability, options)


def last_names(probability: float, source: str, target: str) -> Callable[[], Change]:
    """Last names of ``source`` become ones of ``target`` ("asian", "hispanic", "white")."""
    groups = word_list("names").words["last"]
    return _begin(probability, dict.fromkeys(groups[source], groups[target]))


def _begin(probability: float, options: Mapping[str, Sequence[str]]) -> Callable[[], Change]:
    def begin() -> Change:
        substitutes: dict[str, str] = {}

        def change(text: str, random: rng.Random) -> str:
            low = lowered(text)
            if not any(name in low for name in options):
                return text
            words, parts = WORD.split(low), WORD.split(text)
            for i in [i for i in range(1, len(words), 2) if words[i] in options]:
                name = words[i]
                if name not in substitutes:
                    keeps = random.random() >= probability
                    others = options[name]
                    substitutes[name] = name if keeps else others[below(len(others), random)]
                if substitutes[name] != name:
                    parts[i] = match_case(parts[i], substitutes[name])
            return "".join(parts)

        return change

    return begin
