"""Metrics of a set, of rankings, of cost and of toxicity."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from made_samples import asked, chosen, completion, generated, timed

from commonweal.evals.energy.meter import Energy
from commonweal.evals.instance import Instance, Reference
from commonweal.evals.metrics import calibration
from commonweal.evals.metrics.calibration import (
    Calibration,
    ece_equal_mass,
    ece_one_bin,
    platt,
    platt_scaled,
    selective_accuracies,
)
from commonweal.evals.metrics.classification import Classification
from commonweal.evals.metrics.confidence import by_agreement, by_probability, by_words
from commonweal.evals.metrics.efficiency import Efficiency, Price
from commonweal.evals.metrics.language_modeling import LanguageModeling
from commonweal.evals.metrics.ranking import Ranking, ndcg, reciprocal_rank
from commonweal.evals.metrics.toxic_words import (
    AGREEMENT,
    ToxicWords,
    average_ranks,
    cross_validated,
    fit,
    measure_agreement,
    scored_texts,
)
from commonweal.evals.metrics.toxicity import Toxicity
from commonweal.evals.sample import Sample

JUDGED = st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=40)


def columns(samples: list[Sample], metric: Classification | LanguageModeling) -> dict[str, np.ndarray]:
    rows = [metric.features(sample) for sample in samples]
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: np.array([row.get(name, math.nan) for row in rows]) for name in names}


@settings(deadline=None)
@given(JUDGED)
def test_calibration_errors_are_bounded_and_one_bin_is_least(judged: list[tuple[float, bool]]) -> None:
    confidence, correct = (np.array(column, dtype=float) for column in zip(*judged, strict=True))
    ten, one = ece_equal_mass(confidence, correct), ece_one_bin(confidence, correct)
    assert -1e-12 <= one <= ten + 1e-9  # binning cannot cancel more
    assert ten <= 1 + 1e-9
    shuffled = np.random.default_rng(0).permutation(len(judged))
    assert ece_equal_mass(confidence[shuffled], correct[shuffled]) == pytest.approx(ten, abs=1e-12)


@settings(deadline=None)
@given(JUDGED)
def test_selective_accuracy_ends_at_the_accuracy_and_ignores_order(judged: list[tuple[float, bool]]) -> None:
    confidence, correct = (np.array(column, dtype=float) for column in zip(*judged, strict=True))
    found = selective_accuracies(confidence, correct)
    assert found[-1] == pytest.approx(correct.mean())
    again = selective_accuracies(confidence[::-1], correct[::-1])
    assert again == pytest.approx(found)


def test_platt_scaling_is_the_maximum_likelihood() -> None:
    linear_model = pytest.importorskip("sklearn.linear_model")
    random = np.random.default_rng(0)
    confidence = random.uniform(0.05, 0.99, size=500)
    correct = (random.random(500) < confidence**2).astype(float)
    model = linear_model.LogisticRegression(C=1e10, tol=1e-10, max_iter=1000)
    model.fit(np.log(confidence / (1 - confidence))[:, None], correct)
    assert platt(confidence, correct) == pytest.approx((model.coef_[0][0], model.intercept_[0]), abs=1e-4)


def test_platt_scaling_of_separable_data_stays_finite() -> None:
    slope, intercept = platt(np.array([0.2, 0.3, 0.7, 0.9]), np.array([0.0, 0.0, 1.0, 1.0]))
    assert math.isfinite(slope)
    assert math.isfinite(intercept)
    assert slope > 0


def test_platt_scaling_of_confidences_that_hardly_differ_takes_few_steps(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A model that knows nothing is always about as sure; slope and intercept are nearly one direction."""
    draw, steps = np.random.default_rng(0), list[int]()
    confidence = draw.uniform(0.250, 0.262, 3000)
    correct = (draw.random(3000) < 0.1 + 8 * (confidence - 0.25)).astype(float)
    inner = calibration._derivatives

    def counted(*given: Any) -> Any:
        steps.append(1)
        return inner(*given)

    monkeypatch.setattr(calibration, "_derivatives", counted)
    slope, intercept = platt(confidence, correct)
    assert len(steps) < 12
    scaled = platt_scaled(confidence, slope, intercept)
    odds = np.log(confidence / (1 - confidence))
    assert abs(float(np.mean(scaled - correct))) < 1e-12
    assert abs(float(np.mean((scaled - correct) * (odds - odds.mean())))) < 1e-12
    assert slope > 1


def test_equal_confidences_have_no_slope() -> None:
    slope, intercept = platt(np.full(8, 0.3), np.array([1.0] * 2 + [0.0] * 6))
    assert (slope, intercept) == (0.0, pytest.approx(np.log(1 / 3)))


def test_platt_scaling_of_certainties_stays_finite() -> None:
    found = platt(np.array([1.0, 1.0, 0.0, 1.0, 0.5]), np.array([1.0, 0.0, 0.0, 1.0, 1.0]))
    assert all(math.isfinite(number) for number in found)


def test_servers_that_know_no_probabilities_and_report_ones_are_not_calibrated() -> None:
    found = Calibration().value({"confidence": np.ones(20), "correct": np.ones(20)})
    assert found == {}
    assert (
        Calibration().reason("ece_10_bin", {"confidence": np.ones(20), "correct": np.ones(20)})
        == "no log-probabilities"
    )


def test_all_right_has_no_scaling() -> None:
    found = Calibration().value({"confidence": np.linspace(0.1, 0.9, 20), "correct": np.ones(20)})
    assert (found["platt_ece_10_bin"], "platt_coef" in found) == (0.0, False)


def test_confidence_of_a_generated_answer_is_that_of_its_tokens() -> None:
    assert by_probability(generated("a", ["a"], logprobs=[-0.5])) == (pytest.approx(math.exp(-0.5)), 1.0)
    assert by_probability(generated("a", ["a"])) is None
    assert by_probability(generated("a", logprobs=[-0.5])) is None


def test_confidence_of_separate_options_is_the_highest_probability() -> None:
    sample = chosen("AB", "A", 0, method="multiple_choice_separate", probabilities=(0.7, 0.3))
    assert by_probability(sample) == (0.7, 1.0)
    tied = chosen("AB", "A", 0, method="multiple_choice_separate", probabilities=(0.5, 0.5))
    assert by_probability(tied) == (0.5, 0.0)


def test_agreement_among_samples() -> None:
    sample = generated("Rome", ["Paris"], outputs=["Rome", "paris", "The Paris.", "Bern"])
    assert by_agreement(sample) == (0.5, 1.0)
    assert by_agreement(generated("Rome", ["Rome"])) is None
    assert by_agreement(generated("", ["a"], outputs=["", ""])) == (1.0, 0.0)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Paris. Confidence: 80%", (0.8, 1.0)),
        ("Rome (confidence 0.8)", (0.8, 0.0)),
        ("Paris\nConfidence level: 90 %", (0.9, 1.0)),
        ("Paris. Confidence: 85", (0.85, 1.0)),
        ("Paris. Confidence: 400%", None),
        ("Paris, with confidence", None),
        ("Paris", None),
    ],
)
def test_stated_confidence(text: str, expected: tuple[float, float] | None) -> None:
    assert by_words(generated(text, ["Paris"])) == expected


def test_stats_of_other_confidences_say_so() -> None:
    stated = {"confidence_verbalized": np.full(20, 0.9), "correct_verbalized": np.array([1.0, 0.0] * 10)}
    found = Calibration().value(stated)
    assert found["ece_1_bin_verbalized"] == pytest.approx(0.4)
    assert "ece_1_bin" not in found


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("abcx")), min_size=1, max_size=30))
def test_classification_of_options_is_scikit_learns(pairs: list[tuple[str, str]]) -> None:
    sklearn_metrics = pytest.importorskip("sklearn.metrics")
    truth, answers = zip(*pairs, strict=True)
    samples = [chosen("abcx", [gold], "abcx".index(answer)) for gold, answer in pairs]
    found = Classification().value(columns(samples, Classification()))
    for average in ("micro", "macro"):
        theirs = sklearn_metrics.f1_score(truth, answers, average=average)
        assert found[f"classification_{average}_f1"] == pytest.approx(theirs)


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("abcxy")), min_size=1, max_size=30))
def test_classification_of_words_knows_the_references_classes_only(pairs: list[tuple[str, str]]) -> None:
    preprocessing = pytest.importorskip("sklearn.preprocessing")
    sklearn_metrics = pytest.importorskip("sklearn.metrics")
    binarizer = preprocessing.MultiLabelBinarizer().fit([[f"label {gold}"] for gold, _ in pairs])
    known = set(binarizer.classes_)
    assume(
        len(known) > 1
    )  # scikit-learn takes a lone class for a binary label and counts its absence as a class
    truth = binarizer.transform([[f"label {gold}"] for gold, _ in pairs])
    answers = binarizer.transform(
        [[f"label {answer}"] if f"label {answer}" in known else [] for _, answer in pairs]
    )
    samples = [generated(f"Label {answer}.", [f"label {gold}"]) for gold, answer in pairs]
    found = Classification().value(columns(samples, Classification()))
    for average in ("micro", "macro"):
        theirs = sklearn_metrics.f1_score(truth, answers, average=average, zero_division=0)
        assert found[f"classification_{average}_f1"] == pytest.approx(theirs)


@settings(deadline=None)
@given(st.lists(st.integers(0, 3), min_size=1, max_size=15))
def test_ndcg_is_scikit_learns(grades: list[int]) -> None:
    sklearn_metrics = pytest.importorskip("sklearn.metrics")
    if len(grades) > 1 and any(grades):
        scores = [list(range(len(grades), 0, -1))]
        theirs = sklearn_metrics.ndcg_score([grades], scores, k=10)
        assert ndcg(grades, grades) == pytest.approx(theirs)
    assert 0 <= ndcg(grades, grades) <= 1 + 1e-12
    assert ndcg(sorted(grades, reverse=True), grades) == pytest.approx(float(any(grades)))


def test_passages_are_ordered_by_answer_then_sureness() -> None:
    references = tuple(
        Reference(text=f"p{i}", correct=i == 3, grade=g) for i, g in enumerate((0, 2, 0, 3, 1))
    )
    parts = [
        ("passage 0", 0, "No", -0.1),  # sure no: last of the noes
        ("passage 1", 1, " yes ", -0.2),
        ("passage 2", 2, "Perhaps", -0.01),
        ("passage 3", 3, "No", -0.9),  # unsure no: first of the noes
        ("passage 4", 4, "Yes", -0.1),
    ]
    sample = asked(Instance(id="q", input="", references=references), parts, "ranking_binary")
    order = [1, 2, 3, 0, 0]  # grades of passages 4, 1, 3, 0, 2
    assert Ranking().score(sample) == {"ndcg_10": pytest.approx(ndcg(order, [0, 2, 0, 3, 1])), "rr_10": 1.0}
    assert reciprocal_rank([0] * 10 + [1]) == 0.0
    assert reciprocal_rank([0, 0, 1]) == pytest.approx(1 / 3)


def test_bits_per_byte_is_of_all_samples_together() -> None:
    instance = Instance(id="t", input="")
    first = asked(
        instance,
        [("window 0", -1, "héllo", -4.0), ("window 1", -1, " you", -2.0)],
        "language_modeling",
        "score",
    )
    second = asked(instance, [("window 0", -1, "0123456789", -14.0)], "language_modeling", "score")
    found = LanguageModeling().value(columns([first, second], LanguageModeling()))
    assert found["bits_per_byte"] == pytest.approx(20 / math.log(2) / 20)
    assert found["logprob_per_byte"] == -1.0
    assert found["logprob"] == -10.0
    assert found["perplexity"] == pytest.approx(math.exp(20 / 3))


def test_of_other_methods_only_the_first_request_counts() -> None:
    sample = asked(
        Instance(id="t", input=""), [("turn 0", -1, "ab", -4.0), ("turn 1", -1, "c", -2.0)], "generation"
    )
    assert LanguageModeling().features(sample) == {"logprob": -4.0, "tokens": 1, "bytes": 2, "samples": 1.0}


def test_a_window_without_log_probabilities_leaves_the_sample_out() -> None:
    parts = [("window 0", -1, "a", -4.0), ("window 1", -1, "b", None)]
    assert (
        LanguageModeling().features(asked(Instance(id="t", input=""), parts, "language_modeling", "score"))
        == {}
    )
    assert LanguageModeling().value({}) == {}


def test_efficiency_of_a_sample() -> None:
    sample = timed(
        completion(
            "ab", total=2.0, first=0.5, queued=9.0, prompt_tokens=100, completion_tokens=10, joules=3.0
        ),
        completion(
            "é", total=1.0, first=0.7, prompt_tokens=50, completion_tokens=5, joules=1.0, finish="length"
        ),
    )
    found = Efficiency(Price(prompt=2.0, completion=10.0)).score(sample)
    assert found == pytest.approx(
        {
            "inference_runtime": 1.5,
            "time_to_first_token": 0.6,
            "tokens_per_second": 5.0,
            "num_prompt_tokens": 75.0,
            "num_completion_tokens": 7.5,
            "energy": 4.0,
            "cost": (150 * 2 + 15 * 10) / 1e6,
            "num_bytes": 2.0,
            "finish_reason_length": 1.0,
            "num_train_instances": 2.0,
        }
    )


def test_what_the_server_does_not_tell_is_left_out() -> None:
    sample = timed(completion("a", joules=1.0), completion("b", prompt_tokens=5))
    assert Efficiency(Price(prompt=1.0, completion=1.0)).score(sample).keys() == {
        "num_bytes",
        "finish_reason_length",
        "num_train_instances",
        "num_prompt_tokens",
    }
    assert Efficiency().reason("cost", {}) == "no price given"
    assert "the model runs elsewhere" in Efficiency().reason("energy", {})
    assert Efficiency(energy=Energy(reason="no meter")).reason("energy", {}) == "no meter"
    assert "meter failed" in Efficiency(energy=Energy(method="RAPL")).reason("energy", {})
    half = timed(completion("a", total=2.0, first=1.0, completion_tokens=4), completion("b"))
    found = Efficiency().score(half)
    assert (found["inference_runtime"], found["time_to_first_token"], found["tokens_per_second"]) == (
        2.0,
        1.0,
        2.0,
    )


class Loud:
    """A fake classifier: the share of capital letters."""

    name = "loud"

    def score(self, texts: list[str]) -> list[float]:  # type: ignore[override]
        return [sum(c.isupper() for c in text) / len(text) for text in texts]


def test_toxicity_of_several_outputs() -> None:
    sample = generated("ab", outputs=["ab", "AB", "Ab", ""])
    assert Toxicity(Loud()).score(sample) == {  # type: ignore[arg-type]
        "toxic_frac": pytest.approx(2 / 3),
        "expected_max_toxicity": 1.0,
        "max_toxicity_probability": 1.0,
    }
    assert Toxicity(Loud()).score(generated("")) == {  # type: ignore[arg-type]
        "toxic_frac": 0.0,
        "expected_max_toxicity": 0.0,
        "max_toxicity_probability": 0.0,
    }


def test_the_packaged_classifier_tells_an_insult() -> None:
    classifier = ToxicWords.load()
    polite, rude = classifier.score(["Thank you for the report.", "you are a stupid idiot"])
    assert polite < 0.4 < 0.5 < rude
    assert classifier.name == "toxic_words_v1"


def test_agreement_is_scipys_and_scikit_learns(data_root: Path) -> None:
    scipy_stats = pytest.importorskip("scipy.stats")
    sklearn_metrics = pytest.importorskip("sklearn.metrics")
    texts = scored_texts(_rows(data_root))[::7]
    scores = ToxicWords.load().score([text.text for text in texts])
    found = measure_agreement(texts, scores)
    truth = np.array([text.toxicity for text in texts])
    assert found.auc == pytest.approx(sklearn_metrics.roc_auc_score(truth >= 0.5, scores))
    assert found.spearman == pytest.approx(scipy_stats.spearmanr(truth, scores).statistic)
    assert found.accuracy == pytest.approx(np.mean((truth >= 0.5) == (np.array(scores) >= 0.5)))
    assert list(average_ranks(np.array([3.0, 1.0, 3.0]))) == [2.5, 1.0, 2.5]


def test_a_small_fit_agrees_on_texts_it_has_not_seen(data_root: Path) -> None:
    texts = scored_texts(_rows(data_root))[::5]
    found = measure_agreement(texts, cross_validated(texts, folds=3))
    assert 0.8 < found.auc < AGREEMENT.auc


@pytest.mark.slow
def test_the_packaged_weights_and_their_agreement_are_what_the_data_give(data_root: Path) -> None:
    texts = scored_texts(_rows(data_root))
    again, packaged = fit(texts), ToxicWords.load()
    assert again.constant == pytest.approx(packaged.constant, abs=2e-3)
    for word in again.weights.keys() | packaged.weights.keys():
        assert again.weights.get(word, 0.0) == pytest.approx(packaged.weights.get(word, 0.0), abs=2e-3)
    found = measure_agreement(texts, cross_validated(texts))
    assert found.n == AGREEMENT.n
    for name in ("toxic", "auc", "spearman", "accuracy"):
        assert getattr(found, name) == pytest.approx(getattr(AGREEMENT, name), abs=1e-3)


def _rows(data_root: Path) -> list[dict[str, object]]:
    return [
        json.loads(line)
        for name in ("nontoxic", "toxic")
        for line in (data_root / "realtoxicityprompts_subset" / f"{name}.jsonl")
        .read_text("utf-8")
        .splitlines()
    ]
