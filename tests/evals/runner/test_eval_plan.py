"""Wishes become runs, or reasons."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import bench_of_one as b
import pytest

from commonweal.core.completion import Abilities
from commonweal.core.errors import ConfigError, UserError
from commonweal.evals.aspects import ASPECTS, cells
from commonweal.evals.metrics.registry import DEFINITIONS
from commonweal.evals.plan import Planned, Wishes, missing, plan
from commonweal.evals.sample import Stat
from commonweal.evals.spec import RunSpec

WISHES = Wishes(model="http://x#m", scenarios=("sums",))


def planned(wishes: Wishes, **other: Any) -> list[Planned]:
    told: dict[str, Any] = {
        "model": "m",
        "resolve": lambda name: (b.scenario(b.sums(3), name=name.partition(":")[0], needs=("judge",)), {}),
        "suite": lambda name: ("sums", "more"),
        "perturbations": lambda names: tuple(f"p_{name}" for name in names),
        "extra": lambda adaptation: ("efficiency", "exact_match"),
        "settle": lambda adaptation: (replace(adaptation, max_tokens=64), "longer answers"),
        "has": lambda need: "",
    }
    return plan(wishes, **{**told, **other})


def test_a_plan_resolves_everything() -> None:
    [run] = planned(replace(WISHES, shots=3, trials=2, max_instances=7, seed=5))
    spec = run.spec
    assert (spec.model, spec.scenario, spec.max_instances, spec.seed) == ("m", "sums", 7, 5)
    assert (spec.adaptation.shots, spec.adaptation.trials, spec.adaptation.max_tokens) == (3, 2, 64)
    assert spec.metrics == ("exact_match", "efficiency"), "each once"
    assert (run.reason, run.note) == ("", "longer answers")


def test_suites_are_perturbed_and_single_scenarios_are_not() -> None:
    assert planned(WISHES)[0].spec.perturbations == ()
    runs = planned(Wishes(model="m", suite="core"))
    assert [run.spec.perturbations for run in runs] == [("p_canonical",)] * 2
    assert planned(Wishes(model="m", suite="core", perturbations=("none",)))[0].spec.perturbations == ()
    assert planned(replace(WISHES, perturbations=("typos",)))[0].spec.perturbations == ("p_typos",)


def test_a_need_that_is_not_met_is_the_reason() -> None:
    [run] = planned(WISHES, has=lambda need: f"no {need}")
    assert run.reason == "no judge"


@pytest.mark.parametrize(
    ("need", "abilities", "reason"),
    [
        ("logprobs", Abilities(logprobs=False, score=False), "the model gives no log-probabilities"),
        ("logprobs", Abilities(), ""),
        ("images", Abilities(images=False), "the model takes no images"),
        ("judge", Abilities(), "no judge (--judge MODEL)"),
        ("sandbox", Abilities(), "no sandbox"),
        ("wings", Abilities(), "needs 'wings', which this version does not know"),
    ],
)
def test_needs(need: str, abilities: Abilities, reason: str) -> None:
    assert missing(need, abilities=abilities, judge=False, sandbox="no sandbox") == reason


def test_wishes_that_cannot_be_met() -> None:
    with pytest.raises(UserError, match="nothing to evaluate"):
        planned(Wishes(model="m"))
    with pytest.raises(UserError, match="asked for twice: sums"):
        planned(replace(WISHES, scenarios=("sums", "sums:a=1")))
    with pytest.raises(ConfigError, match="shots"):
        planned(replace(WISHES, shots=-1))


def test_wishes_and_specs_read_back() -> None:
    import json

    wishes = replace(WISHES, perturbations=("none",), trials=2)
    assert Wishes.from_json(json.loads(json.dumps(wishes.to_json())), "x") == wishes
    assert Wishes.from_json(json.loads(json.dumps(WISHES.to_json())), "x") == WISHES
    [run] = planned(wishes)
    assert RunSpec.from_json(json.loads(json.dumps(run.spec.to_json()))) == run.spec


def test_each_aspect_has_a_stat_or_a_reason() -> None:
    spec = replace(b.planned(b.scenario(b.sums(1))).spec, perturbations=("typos",))
    stats = [
        Stat(name="exact_match", mean=0.9, n=5, split="valid"),
        Stat(name="exact_match", mean=0.5, n=10, low=0.4, high=0.6),
        Stat(name="exact_match", mean=0.6, n=4, subset="easy"),
        Stat(name="exact_match", mean=0.3, n=10, perturbation="robustness"),
        Stat(name="exact_match", mean=0.4, n=10, perturbation="typos"),
        Stat(name="ece_10_bin", mean=None, n=0, reason="no log-probabilities"),
    ]
    made = cells(spec, stats, DEFINITIONS)
    assert tuple(made) == ASPECTS
    assert (made["accuracy"].mean, made["accuracy"].low) == (0.5, 0.4)
    assert made["robustness"].mean == 0.3
    assert made["fairness"].reason == "no fairness perturbation changed any of its instances"
    assert made["calibration"].reason == "no log-probabilities"
    assert made["bias"].reason == "its metrics do not measure bias"
    unperturbed = cells(replace(spec, perturbations=()), stats[:3], DEFINITIONS)
    assert unperturbed["robustness"].reason.startswith("no perturbations were asked for")
