"""Our metrics against HELM's own functions: helm_metric_golden.json, written by make_helm_metric_golden.py."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_samples import asked, chosen, generated

from commonweal.evals.instance import Instance, Reference
from commonweal.evals.metrics.bbq import Bbq
from commonweal.evals.metrics.bias import BIAS, Bias
from commonweal.evals.metrics.calibration import Calibration, ece_equal_mass, platt, platt_scaled
from commonweal.evals.metrics.copyright import Copyright
from commonweal.evals.metrics.math_equiv import boxed, math_equiv, math_equiv_chain_of_thought
from commonweal.evals.metrics.registry import families
from commonweal.evals.sample import Sample

MADE = Path(__file__).with_name("make_helm_metric_golden.py")


@pytest.fixture(scope="module")
def golden() -> dict[str, Any]:
    read: dict[str, Any] = json.loads(Path(__file__).with_name("helm_metric_golden.json").read_text("utf-8"))
    return read


def test_text_metrics(golden: dict[str, Any]) -> None:
    cases = golden["reference"]
    texts, names = cases["texts"], cases["names"]
    known = {(i, j): scores for i, j, scores in cases["rows"]}
    named = ["exact_match", "f1", "bleu", "numeric", "set_match", "last_word"]
    metrics = [family.make() for family in families(named)]
    for i, gold in enumerate(texts):
        for j, answer in enumerate(texts):
            sample = generated(answer, [gold])
            ours: dict[str, float] = {}
            for metric in metrics:
                ours |= metric.score(sample)  # type: ignore[union-attr]
            for name, theirs in zip(names, known.get((i, j), [0.0] * len(names)), strict=True):
                assert ours[name] == pytest.approx(theirs, abs=1e-11), (name, gold, answer)


def test_math(golden: dict[str, Any]) -> None:
    scope: dict[str, Any] = {}
    source = MADE.read_text("utf-8")
    exec(source[source.index("MATH = [") : source.index("def main(")], scope)
    equal = {tuple(pair) for pair in golden["math"]["plain"]}
    for a in scope["MATH"]:
        for b in scope["MATH"]:
            assert math_equiv(a, b) == ((a, b) in equal), (a, b)
    worked = {tuple(pair) for pair in golden["math"]["worked"]}
    for a in scope["SOLUTIONS"]:
        for b in scope["SOLUTIONS"]:
            if boxed(a) is not None:  # of a reference without a box, HELM says that nothing equals nothing
                assert math_equiv_chain_of_thought(a, b) == ((a, b) in worked), (a, b)


def test_calibration(golden: dict[str, Any]) -> None:
    for case in golden["calibration"]:
        confidence, correct = np.array(case["confidence"]), np.array(case["correct"], dtype=float)
        found = Calibration().value({"confidence": confidence, "correct": correct})
        for name in ("ece_10_bin", "ece_1_bin"):
            assert found[name] == pytest.approx(case[name], abs=1e-12)
        if case["distinct"]:  # HELM leaves the order of equal confidences to the sort
            for name in ("selective_cov_acc_area", "selective_acc@10"):
                assert found[name] == pytest.approx(case[name], abs=1e-12)
        # scikit-learn stops at a gradient of 1e-4; ours is the optimum.
        assert found["platt_coef"] == pytest.approx(case["platt_coef"], abs=2e-3)
        assert found["platt_intercept"] == pytest.approx(case["platt_intercept"], abs=2e-3)
        assert found["platt_ece_1_bin"] == pytest.approx(0.0, abs=1e-9)
        assert found["platt_ece_10_bin"] == pytest.approx(case["platt_ece_10_bin"], abs=2e-3)
        scaled = platt_scaled(confidence, case["platt_coef"], case["platt_intercept"])
        assert ece_equal_mass(scaled, correct) == pytest.approx(case["platt_ece_10_bin"], abs=1e-12)
        assert platt(confidence, correct) == (found["platt_coef"], found["platt_intercept"])


def test_bias(golden: dict[str, Any]) -> None:
    names = {definition.name for definition in BIAS.definitions}
    for texts, scores in golden["bias"]:
        metric = Bias()
        sums: dict[str, float] = {}
        for text in texts:
            for name, number in metric.features(generated(text)).items():
                sums[name] = sums.get(name, 0.0) + number
        found = metric.value({name: np.array([number]) for name, number in sums.items()})
        assert scores.keys() == names
        for name, theirs in scores.items():
            assert found.get(name) == (None if theirs is None else pytest.approx(theirs, abs=1e-12)), name


def test_copyright(golden: dict[str, Any]) -> None:
    for prompt, outputs, rest, scores in golden["copyright"]:
        reference = Reference(text=prompt + rest, correct=True)
        sample = Sample(
            instance=Instance(id="a", input=prompt, references=(reference,)),
            adaptation=asked(Instance(id="a", input=""), [], "generation").adaptation,
            trial=0,
            answers=(),
            output=outputs[0],
            outputs=tuple(outputs),
        )
        assert Copyright().score(sample) == pytest.approx(scores, abs=1e-12)


def test_bbq(golden: dict[str, Any]) -> None:
    for cases, stats in golden["bbq"]:
        columns: dict[str, list[float]] = {}
        for ambiguous, negative, target, other, unknown, right, answer in cases:
            extra = {
                "context": "ambiguous" if ambiguous else "disambiguated",
                "polarity": "negative" if negative else "non-negative",
                "target": "ABC".index(target),
                "non_target": "ABC".index(other) if other else None,
                "unknown": "ABC".index(unknown),
            }
            index = "ABC".index(answer) if answer in "ABC" else None
            sample = chosen("ABC", [right], index, extra=extra, output=answer)
            for name, number in Bbq().features(sample).items():
                columns.setdefault(name, []).append(number)
        found = Bbq().value({name: np.array(numbers) for name, numbers in columns.items()})
        for name, theirs in stats.items():
            assert found[name] == pytest.approx(theirs, abs=1e-12), name
