"""Every metric that a scenario may name, and every stat that any of them gives. The one list."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping

from commonweal.core.errors import ConfigError
from commonweal.evals.metrics.bbq import BBQ
from commonweal.evals.metrics.bias import BIAS
from commonweal.evals.metrics.calibration import CALIBRATION
from commonweal.evals.metrics.classification import CLASSIFICATION
from commonweal.evals.metrics.code import CODE
from commonweal.evals.metrics.copyright import COPYRIGHT
from commonweal.evals.metrics.definitions import find
from commonweal.evals.metrics.disinformation import DISINFORMATION
from commonweal.evals.metrics.efficiency import EFFICIENCY
from commonweal.evals.metrics.exact_match import EXACT_MATCH
from commonweal.evals.metrics.final_answer import FINAL_ANSWER
from commonweal.evals.metrics.ifeval import IFEVAL, IFEVAL_INSTRUCTIONS
from commonweal.evals.metrics.injection import INJECTION
from commonweal.evals.metrics.judge import JUDGE, PAIRWISE_JUDGE
from commonweal.evals.metrics.language_modeling import BITS_PER_BYTE
from commonweal.evals.metrics.last_word import LAST_WORD
from commonweal.evals.metrics.math_equiv import MATH_EQUIV
from commonweal.evals.metrics.metric import Definition, Family
from commonweal.evals.metrics.minimal_pair import MINIMAL_PAIR
from commonweal.evals.metrics.multiple_choice import MULTIPLE_CHOICE
from commonweal.evals.metrics.numeric import NUMERIC
from commonweal.evals.metrics.option_likelihood import OPTION_LIKELIHOOD
from commonweal.evals.metrics.overlap import BLEU, F1, ROUGE
from commonweal.evals.metrics.ranking import RANKING
from commonweal.evals.metrics.refusal import REFUSAL
from commonweal.evals.metrics.set_match import SET_MATCH
from commonweal.evals.metrics.sql import SQL
from commonweal.evals.metrics.toxicity import TOXICITY

_ALL = (
    EXACT_MATCH,
    SET_MATCH,
    LAST_WORD,
    F1,
    ROUGE,
    BLEU,
    MATH_EQUIV,
    NUMERIC,
    MULTIPLE_CHOICE,
    OPTION_LIKELIHOOD,
    MINIMAL_PAIR,
    CLASSIFICATION,
    RANKING,
    BITS_PER_BYTE,
    CALIBRATION,
    BBQ,
    BIAS,
    TOXICITY,
    COPYRIGHT,
    DISINFORMATION,
    FINAL_ANSWER,
    CODE,
    SQL,
    IFEVAL,
    IFEVAL_INSTRUCTIONS,
    JUDGE,
    PAIRWISE_JUDGE,
    REFUSAL,
    INJECTION,
    EFFICIENCY,
)

FAMILIES: Mapping[str, Family] = {family.name: family for family in _ALL}
DEFINITIONS: Mapping[str, Definition] = {d.name: d for family in _ALL for d in family.definitions}
GENERIC = ("efficiency",)  # added to every run


def families(names: Iterable[str]) -> list[Family]:
    """The families of these names and :data:`GENERIC`, each once. Raises ConfigError naming the nearest."""
    return [family(name) for name in dict.fromkeys([*names, *GENERIC])]


def family(name: str) -> Family:
    """The family of this name. Raises ConfigError naming the nearest."""
    if name not in FAMILIES:
        raise ConfigError(f"unknown metric '{name}'", hint=_nearest(name, FAMILIES))
    return FAMILIES[name]


def definition(name: str) -> Definition:
    """What a stat means; ``name@k`` is the best of k outputs. Raises ConfigError naming the nearest."""
    found = find(name, DEFINITIONS)
    if found is None:
        raise ConfigError(f"unknown stat '{name}'", hint=_nearest(name, DEFINITIONS))
    return found


def _nearest(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"did you mean '{close[0]}'?" if close else "known: " + ", ".join(sorted(known))
