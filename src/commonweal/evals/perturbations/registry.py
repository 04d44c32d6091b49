"""The perturbations by name, in the strengths of HELM's "robustness_all" and "fairness", and its groups of them.

``apply_all`` is deterministic by seed, instance and perturbation. Its random stream is HELM's: seeded by the instance's
id alone with seed 0, so that the same instance becomes the same text as there.
"""

from __future__ import annotations

import difflib
import random
from collections.abc import Callable, Iterable, Mapping, Sequence

from commonweal.core.errors import ConfigError
from commonweal.evals.instance import Instance
from commonweal.evals.perturbations.attacks import ATTACKS
from commonweal.evals.perturbations.contrast import ContrastSets
from commonweal.evals.perturbations.dialect import dialect
from commonweal.evals.perturbations.gender import gender
from commonweal.evals.perturbations.names import first_names, last_names
from commonweal.evals.perturbations.perturbation import Perturbation
from commonweal.evals.perturbations.spelling import (
    contraction,
    expansion,
    extra_space,
    filler_words,
    lowercase,
    mild_mix,
    misspelling,
    space,
    typos,
)
from commonweal.evals.perturbations.synonym import synonym
from commonweal.evals.perturbations.text import Begin, Change, TextPerturbation


def _always(make: Callable[[], Change]) -> Callable[[], Begin]:
    """A change that remembers nothing is the same for every instance."""

    def begin() -> Begin:
        change = make()
        return lambda: change

    return begin


def _robust(name: str, words: str, make: Callable[[], Change]) -> TextPerturbation:
    return TextPerturbation(name, "robustness", words, _always(make))


_ALL: tuple[Perturbation, ...] = (
    _robust("misspelling", "misspellings", lambda: misspelling(0.1)),
    _robust("typos", "keyboard", lambda: typos(0.01)),
    _robust("lowercase", "", lambda: lowercase),
    _robust("contraction", "contractions", contraction),
    _robust("expansion", "contractions", expansion),
    _robust("extra_space", "", lambda: extra_space(2)),
    _robust("space", "", lambda: space(3)),
    _robust("filler_words", "fillers", lambda: filler_words(0.1)),
    _robust("synonym", "synonyms", lambda: synonym(0.1)),
    _robust("mild_mix", "misspellings", mild_mix),
    ContrastSets(),
    TextPerturbation("dialect", "fairness", "dialect", _always(lambda: dialect(1.0)), references=True),
    TextPerturbation(
        "gender_pronouns",
        "fairness",
        "gender",
        _always(lambda: gender("pronouns", 1.0, "male", "female")),
        references=True,
    ),
    TextPerturbation(
        "gender_terms",
        "fairness",
        "gender",
        _always(lambda: gender("terms", 1.0, "male", "female")),
        references=True,
    ),
    TextPerturbation(
        "first_names",
        "fairness",
        "names",
        lambda: first_names(1.0, "white_american", "black_american"),
        references=True,
    ),
    TextPerturbation(
        "last_names", "fairness", "names", lambda: last_names(1.0, "white", "hispanic"), references=True
    ),
    *ATTACKS.values(),
)

PERTURBATIONS: Mapping[str, Perturbation] = {perturbation.name: perturbation for perturbation in _ALL}

_ROBUSTNESS = ("mild_mix",)
_FAIRNESS = ("dialect", "gender_pronouns", "first_names")

GROUPS: Mapping[str, tuple[str, ...]] = {
    "robustness": _ROBUSTNESS,
    "fairness": _FAIRNESS,
    "canonical": _ROBUSTNESS + _FAIRNESS,
    "robustness_all": (
        "contraction",
        "expansion",
        "filler_words",
        "lowercase",
        "misspelling",
        "space",
        "synonym",
        "typos",
    ),
    "fairness_all": ("dialect", "gender_pronouns", "gender_terms", "first_names", "last_names"),
    "attacks": tuple(ATTACKS),
}
"""HELM's (``run_expander.py``), but for "fairness_all" and "attacks": "canonical" is what its leaderboards are made
with."""


def perturbation_names(names: Iterable[str]) -> tuple[str, ...]:
    """Perturbations and groups as perturbations, each once. Raises ConfigError for an unknown one."""
    made: dict[str, None] = {}
    for name in names:
        if name not in GROUPS and name not in PERTURBATIONS:
            raise _unknown(name)
        made |= dict.fromkeys(GROUPS.get(name, (name,)))
    return tuple(made)


def apply_all(instance: Instance, names: Sequence[str], seed: int = 0) -> tuple[Instance, ...]:
    """The perturbed instances, in the order of ``names`` (perturbations or groups); those that change nothing are
    left away, and so is the instance itself."""
    stream = instance.id if seed == 0 else f"{seed}{instance.id}"
    made = []
    for name in perturbation_names(names):
        perturbed = PERTURBATIONS[name].apply(instance, random.Random(stream))
        if perturbed is not None:
            made.append(perturbed)
    return tuple(made)


def _unknown(name: str) -> ConfigError:
    known = (*GROUPS, *PERTURBATIONS)
    near = difflib.get_close_matches(name, known, 1)
    hint = f"did you mean '{near[0]}'?" if near else f"known are {', '.join(known)}"
    return ConfigError(f"perturbations: '{name}' is not known", hint=hint)
