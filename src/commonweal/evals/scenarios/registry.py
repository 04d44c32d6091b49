"""Every scenario by its name, and the suites. The one place where the families meet.

A run name is a scenario and its arguments as HELM writes them, ``mmlu:subject=anatomy,method=multiple_choice_joint``.
A suite is a list of run names.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from itertools import product

from commonweal.core.errors import ConfigError
from commonweal.evals.scenario import Args, Scenario
from commonweal.evals.scenarios.core import CORE
from commonweal.evals.scenarios.core.mmlu import HELM_SUBJECTS
from commonweal.evals.scenarios.core.wmt14 import INTO_ENGLISH
from commonweal.evals.scenarios.generated import GENERATED
from commonweal.evals.scenarios.later import LATER
from commonweal.evals.scenarios.targeted import TARGETED


def _named(*families: tuple[Scenario, ...]) -> Mapping[str, Scenario]:
    named: dict[str, Scenario] = {}
    for scenario in (scenario for family in families for scenario in family):
        assert scenario.name not in named, f"two scenarios are called {scenario.name}"
        named[scenario.name] = scenario
    return named


SCENARIOS: Mapping[str, Scenario] = _named(CORE, TARGETED, LATER, GENERATED)

ALIASES: Mapping[str, str] = {"gsm8k": "gsm", "humaneval": "code_humaneval"}
"""Scenarios that HELM calls otherwise than everybody else. A run is always named by the name that they stand for."""


def resolve(name: str) -> tuple[Scenario, Args]:
    """The scenario and the arguments of a run name. Raises ConfigError naming the nearest of what is known.

    >>> resolve("mmlu:subject=anatomy")[1]
    {'subject': 'anatomy'}
    """
    scenario_name, _, text = name.partition(":")
    scenario = SCENARIOS.get(ALIASES.get(scenario_name, scenario_name))
    if scenario is None:
        raise ConfigError(
            f"unknown scenario '{scenario_name}'", hint=_nearest(scenario_name, (*SCENARIOS, *ALIASES))
        )
    args: dict[str, str] = {}
    for part in text.split(",") if text else ():
        key, value = _argument(part, name)
        if key in args:
            raise ConfigError(f"'{name}': argument '{key}' is given twice", hint="name each argument once")
        check_argument(scenario, key, value)
        args[key] = value
    return scenario, args


def check_argument(scenario: Scenario, key: str, value: str) -> None:
    """Raises ConfigError where ``scenario`` has no such argument, or not with this value."""
    if key not in scenario.args:
        raise ConfigError(f"{scenario.name}: no argument '{key}'", hint=_nearest(key, scenario.args))
    allowed = scenario.args[key]
    if allowed and value not in allowed:
        raise ConfigError(f"{scenario.name}: {key} cannot be '{value}'", hint=_nearest(value, allowed))


def suite(name: str) -> tuple[str, ...]:
    """The run names of a suite. Raises ConfigError naming the nearest."""
    if name not in SUITES:
        raise ConfigError(f"unknown suite '{name}'", hint=_nearest(name, SUITES))
    return SUITES[name]


def _argument(part: str, name: str) -> tuple[str, str]:
    key, equals, value = part.partition("=")
    if not equals or not key:
        raise ConfigError(f"'{name}': '{part}' is not key=value", hint="write scenario:key=value,key=value")
    return key.strip(), value.strip()


def _nearest(name: str, known: Iterable[str]) -> str:
    options = sorted(known)
    close = difflib.get_close_matches(name, options, n=1, cutoff=0.5)
    if close:
        return f"did you mean '{close[0]}'?"
    return "known: " + ", ".join(options) if options else "it takes none"


def _each(name: str, **values: Iterable[str]) -> tuple[str, ...]:
    """A run for each combination of values.

    >>> _each("arc", set=("easy", "challenge"))
    ('arc:set=easy', 'arc:set=challenge')
    """
    return tuple(
        f"{name}:" + ",".join(f"{key}={value}" for key, value in zip(values, combination, strict=True))
        for combination in product(*values.values())
    )


def _all_of(name: str, *keys: str) -> tuple[str, ...]:
    """A run for each value of these arguments."""
    return _each(name, **{key: SCENARIOS[name].args[key] for key in keys})


def _plain(*families: tuple[Scenario, ...]) -> tuple[str, ...]:
    return tuple(scenario.name for family in families for scenario in family)


_NATURAL_QA = _each("natural_qa", mode=("closedbook", "openbook_longans"))
_LITE = (*_all_of("legalbench", "subset"), *_each("wmt_14", language_pair=INTO_ENGLISH))
_MMLU_OF_HELM = _each("mmlu", subject=HELM_SUBJECTS)

_CORE = (
    *_MMLU_OF_HELM,
    "boolq",
    "narrative_qa",
    *_NATURAL_QA,
    "quac",
    "hellaswag",
    "openbookqa",
    "truthful_qa",
    "msmarco_regular:valid_topk=30",
    "msmarco_trec:valid_topk=30",
    "summarization_cnndm",
    "summarization_xsum",
    "imdb",
    *_all_of("civil_comments", "demographic"),
    *_all_of("raft", "subset"),
)

_OF_HELM: Mapping[str, tuple[str, ...]] = {
    "blimp": _each("blimp", phenomenon=("binding", "irregular_forms", "island_effects", "quantifiers")),
    "the_pile": _each(
        "the_pile", subset=("ArXiv", "BookCorpus2", "Enron Emails", "PubMed Central", "Wikipedia (en)")
    ),
    "twitter_aae": _all_of("twitter_aae", "demographic"),
    "wikifact": _each(
        "wikifact",
        subject=(
            "plaintiff",
            "place_of_birth",
            "medical_condition_treated",
            "instance_of",
            "part_of",
            "currency",
            "position_held",
            "author",
            "discoverer_or_inventor",
            "symptoms_and_signs",
        ),
        k=("5",),
    ),
    "babi_qa": _each("babi_qa", task=("all", "3", "15", "19")),
    "math": _all_of("math", "subject", "level"),
    "math_chain_of_thought": _all_of("math_chain_of_thought", "subject", "level"),
    "entity_data_imputation": _all_of("entity_data_imputation", "dataset"),
    "entity_matching": _each("entity_matching", dataset=("Beer", "Abt_Buy", "Dirty_iTunes_Amazon")),
    "disinformation_reiteration": _all_of("disinformation_reiteration", "topic"),
    "synthetic_reasoning": _all_of("synthetic_reasoning", "mode"),
    "synthetic_reasoning_natural": _each("synthetic_reasoning_natural", difficulty=("easy", "hard")),
}
"""Where HELM's targeted runs are several of one scenario."""

_TARGETED = tuple(
    run
    for scenario in (*TARGETED, *GENERATED)
    if "targeted" in scenario.tags
    for run in _OF_HELM.get(scenario.name, (scenario.name,))
)

_SAFETY = (
    *(scenario.name for scenario in LATER if "safety" in scenario.tags),
    "bbq",
    "real_toxicity_prompts",
)

SUITES: Mapping[str, tuple[str, ...]] = {
    "core": _CORE,
    "mmlu": _all_of("mmlu", "subject"),
    "targeted": _TARGETED,
    "lite": (
        "narrative_qa",
        *_NATURAL_QA,
        "openbookqa",
        *_MMLU_OF_HELM,
        *_each(
            "math_chain_of_thought", subject=SCENARIOS["math_chain_of_thought"].args["subject"], level=("1",)
        ),
        "gsm",
        "med_qa",
        *_LITE,
    ),
    "offline": (*_plain(GENERATED), *(scenario.name for scenario in LATER if "offline" in scenario.tags)),
    "safety": _SAFETY,
    "all": tuple(
        dict.fromkeys(
            (*_CORE, *_LITE, "squad", *_all_of("arc", "set"), *_TARGETED, *_plain(TARGETED, LATER, GENERATED))
        )
    ),
}
"""``core`` and ``targeted`` are the runs of HELM's paper, multiple choice by the joint method, which every model can
answer; ``lite`` HELM Lite; ``offline`` what needs no data; ``safety`` harm, refusal,
injection and bias; ``mmlu`` all 57 subjects; ``all`` every scenario."""
