"""Each scenario is complete and names metrics, stats and arguments that exist."""

from __future__ import annotations

from typing import Any

import pytest

from commonweal.core.errors import ConfigError
from commonweal.evals.adaptation import Adaptation
from commonweal.evals.metrics.registry import definition, families
from commonweal.evals.scenario import Scenario
from commonweal.evals.scenarios.generated import GENERATED
from commonweal.evals.scenarios.targeted import TARGETED

ALL = [*TARGETED, *GENERATED]
ASPECTS = {"accuracy", "calibration", "bias", "toxicity", "efficiency"}


@pytest.mark.parametrize("scenario", ALL, ids=lambda scenario: scenario.name)
def test_it_is_ranked_by_a_stat_that_its_metrics_give(scenario: Scenario) -> None:
    given = {d.name for family in families(scenario.metrics) for d in family.definitions}
    assert scenario.main_metric in given
    assert definition(scenario.main_metric).aspect != "robustness"


@pytest.mark.parametrize("scenario", ALL, ids=lambda scenario: scenario.name)
def test_it_says_where_it_comes_from(scenario: Scenario) -> None:
    assert scenario.title
    assert scenario.description
    assert scenario.licence
    assert scenario.source
    assert scenario.tags
    assert isinstance(scenario.adaptation, Adaptation)


@pytest.mark.parametrize(
    "scenario", [s for s in ALL if s.vary is not None], ids=lambda scenario: scenario.name
)
def test_the_default_arguments_leave_the_adaptation_as_it_stands(scenario: Scenario) -> None:
    assert scenario.vary is not None
    assert scenario.vary(scenario.adaptation, {}) == scenario.adaptation


def test_names_are_unique() -> None:
    assert len({scenario.name for scenario in ALL}) == len(ALL)


def test_the_generated_ones_touch_every_aspect() -> None:
    names = [name for scenario in GENERATED for name in scenario.metrics]
    aspects = {d.aspect for family in families(names) for d in family.definitions}
    assert aspects >= ASPECTS
    tags = {tag for scenario in GENERATED for tag in scenario.tags}
    assert tags >= {"robustness", "fairness"}  # measured by perturbations, not by metrics


@pytest.mark.parametrize("scenario", [s for s in ALL if s.args], ids=lambda scenario: scenario.name)
def test_a_wrong_argument_is_answered_with_the_right_ones(read_from: Any, scenario: Scenario) -> None:
    for name in scenario.args:
        if scenario.vary is not None and name in ("k", "num_output_tokens"):  # not the reader's
            with pytest.raises(ConfigError, match=name):
                scenario.vary(scenario.adaptation, {name: "nonsense"})
            continue
        with pytest.raises(ConfigError, match=f"'{name}'"):
            read_from(None, scenario.name, **{name: "nonsense"})
