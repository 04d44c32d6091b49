"""The list of scenarios, the suites, and run names."""

from __future__ import annotations

import re
from dataclasses import fields

import pytest

from commonweal.core.errors import ConfigError
from commonweal.evals.adaptation import Adaptation
from commonweal.evals.metrics import registry as metrics
from commonweal.evals.scenarios.core import CORE
from commonweal.evals.scenarios.registry import ALIASES, SCENARIOS, SUITES, resolve, suite


@pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=list(SCENARIOS))
def test_every_scenario_tells_what_it_is(scenario: object) -> None:
    for name in ("title", "description", "source", "licence", "main_metric"):
        assert getattr(scenario, name).strip(), name
    assert re.fullmatch(r"[a-z0-9_]+", getattr(scenario, "name"))  # noqa: B009


@pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=list(SCENARIOS))
def test_every_main_metric_is_measured(scenario: object) -> None:
    families = metrics.families(scenario.metrics)  # type: ignore[attr-defined]
    given = {definition.name for family in families for definition in family.definitions}
    assert scenario.main_metric.partition("@")[0] in given  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", sorted(SUITES))
def test_every_entry_of_a_suite_resolves(name: str) -> None:
    assert len(set(SUITES[name])) == len(SUITES[name])
    for entry in SUITES[name]:
        scenario, args = resolve(entry)
        adaptation = scenario.vary(scenario.adaptation, args) if scenario.vary else scenario.adaptation
        assert isinstance(adaptation, Adaptation)


def test_the_suites_hold_what_they_promise() -> None:
    assert set(SUITES) >= {"core", "targeted", "lite", "offline", "safety", "all"}
    in_core = {resolve(name)[0].name for name in SUITES["core"]}
    assert in_core == {scenario.name for scenario in CORE} - {"squad", "arc", "legalbench", "wmt_14"}
    assert len([name for name in SUITES["lite"] if name.startswith(("legalbench", "wmt_14"))]) == 5 + 5
    assert {resolve(name)[0].name for name in SUITES["all"]} == set(SCENARIOS)
    assert len(SUITES["mmlu"]) == 57


def test_run_names() -> None:
    scenario, args = resolve("mmlu:subject=anatomy, method=multiple_choice_separate")
    assert scenario.name == "mmlu"
    assert args == {"subject": "anatomy", "method": "multiple_choice_separate"}
    assert resolve("msmarco_trec:valid_topk=40")[1] == {"valid_topk": "40"}
    assert resolve("boolq:")[1] == {}


def test_what_everybody_calls_otherwise_than_helm_is_known_by_both_names() -> None:
    assert resolve("gsm8k")[0] is SCENARIOS["gsm"]
    assert resolve("humaneval")[0] is SCENARIOS["code_humaneval"]
    assert not ALIASES.keys() & SCENARIOS.keys()
    assert set(ALIASES.values()) <= SCENARIOS.keys()
    with pytest.raises(ConfigError) as caught:
        resolve("humanevl")
    assert caught.value.hint == "did you mean 'humaneval'?"


@pytest.mark.parametrize(
    ("name", "said", "hint"),
    [
        ("mmul", "unknown scenario 'mmul'", "did you mean 'mmlu'?"),
        ("mmlu:subjct=anatomy", "mmlu: no argument 'subjct'", "did you mean 'subject'?"),
        ("mmlu:subject=anatmy", "mmlu: subject cannot be 'anatmy'", "did you mean 'anatomy'?"),
        ("mmlu:anatomy", "'anatomy' is not key=value", "write scenario:key=value,key=value"),
        ("mmlu:subject=anatomy,subject=virology", "argument 'subject' is given twice", None),
        ("quac:x=1", "quac: no argument 'x'", "it takes none"),
    ],
)
def test_a_wrong_name_names_the_nearest(name: str, said: str, hint: str | None) -> None:
    with pytest.raises(ConfigError) as caught:
        resolve(name)
    assert said in caught.value.message
    if hint is not None:
        assert caught.value.hint == hint


def test_an_unknown_suite_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match="unknown suite 'cor'") as caught:
        suite("cor")
    assert caught.value.hint == "did you mean 'core'?"


def test_arguments_do_not_hide_an_adaptation_field() -> None:
    """``vary`` gets arguments by name; one called ``shots`` would be taken for the setting."""
    settings = {field.name for field in fields(Adaptation)} - {"method"}
    assert [(s.name, key) for s in SCENARIOS.values() for key in s.args if key in settings] == []
