"""Whether a model is as often right as it is sure.

Definitions are those of the ``uncertainty-calibration`` package (Kumar et al. 2019), which HELM calls: ECE with bins of
equal mass whose edges lie midway between neighbouring samples, and the accuracy of the surest. Samples of one
confidence have no order, so selective accuracy spreads their correct ones evenly among them (HELM leaves it to a sort).
Platt scaling (Platt 1999) is a logistic regression of correctness on the log-odds of the confidence, fitted to the same
samples.

Each stat has a form for another source of confidence, and says so: ``..._sampled`` (agreement among several outputs)
and ``..._verbalized`` (what the model states). Where the model tells no log-probabilities, the requests for these are
made by :mod:`commonweal.evals.adapters.confidence`.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from commonweal.evals.metrics.confidence import by_agreement, by_probability, by_words
from commonweal.evals.metrics.metric import Column, Definition, Family
from commonweal.evals.sample import Sample
from commonweal.evals.statistics import distinct

FEWEST = 10
_EDGE = 1e-12
_RIDGE = 1e-10  # scikit-learn's C = 1e10
_CONVERGED = 1e-20
"""Twice what another step would gain of log-likelihood: the point is within 1e-10 standard errors, however badly
conditioned it is (a model that is always about as sure)."""


def ece_equal_mass(confidence: Column, correct: Column, bins: int = 10) -> float:
    """Expected calibration error: the mean of |confidence - accuracy| over bins, weighted by their samples. Bins split
    the sorted confidences into equal parts; equal confidences stay in one bin. Naeini et al. 2015; Guo et al. 2017."""
    ordered = np.sort(confidence)
    starts = _starts(len(ordered), bins)
    edges = np.append((ordered[starts - 1] + ordered[starts]) / 2, 1.0)
    edges = edges[np.append(edges[1:] != edges[:-1], True)]
    bin_of = np.searchsorted(edges, confidence, side="left")
    gaps = np.bincount(bin_of, weights=confidence - correct, minlength=len(edges))
    return float(np.abs(gaps).sum() / len(ordered))


@lru_cache(maxsize=64)
def _starts(samples: int, bins: int) -> NDArray[np.intp]:
    """Where the second and further parts begin: np.array_split gives the first ``samples % parts`` parts one more."""
    parts = min(bins, samples)
    sizes = [samples // parts + (i < samples % parts) for i in range(parts)]
    return np.cumsum(sizes)[:-1]


def ece_one_bin(confidence: Column, correct: Column) -> float:
    """|mean confidence - accuracy|."""
    return float(abs(np.mean(confidence) - np.mean(correct)))


def selective_accuracies(confidence: Column, correct: Column) -> Column:
    """The accuracy of the surest 1, 2, ... n samples."""
    values, group = distinct(-confidence)
    size = np.bincount(group, minlength=len(values))
    share = np.bincount(group, weights=correct, minlength=len(values)) / size
    return np.asarray(np.cumsum(np.repeat(share, size)) / np.arange(1, len(confidence) + 1), dtype=np.float64)


def platt(confidence: Column, correct: Column) -> tuple[float, float]:
    """Slope and intercept of the logistic regression of correctness on the log-odds of the confidence, by Newton's
    method, steps halved where they do not lower the gradient; a ridge of 1e-10 on the slope keeps separable data
    finite. Needs both outcomes."""
    return _fitted(_log_odds(confidence), correct)


def _fitted(x: Column, correct: Column) -> tuple[float, float]:
    """:func:`platt` where the log-odds ``x`` are known. They are brought to mean 0 and deviation 1 meanwhile: of a
    model that is always about as sure, slope and intercept could hardly be told apart otherwise. Of equal confidences
    no slope can be known: it stays 0."""
    rate = float(np.mean(correct))
    start = float(np.log(rate / (1 - rate)))
    mean, spread = float(np.mean(x)), float(np.std(x))
    if spread == 0.0 or np.minimum.reduce(x) == np.maximum.reduce(x):
        return 0.0, start
    slope, intercept = _newton((x - mean) / spread, correct, start, _RIDGE / spread**2)
    return slope / spread, intercept - slope * mean / spread


def _newton(x: Column, correct: Column, start: float, ridge: float) -> tuple[float, float]:
    """From slope 0 and intercept ``start``. Where rounding keeps any step from lowering the gradient, halving ends when
    the step no longer moves the point."""
    at = (0.0, start)
    gradient, curvature = _derivatives(x, correct, *at, ridge)
    for _ in range(100):
        newton = np.linalg.lstsq(curvature, gradient, rcond=None)[0]
        if gradient @ newton <= _CONVERGED:
            return at
        step: list[float] = newton.tolist()
        steepness = gradient @ gradient
        for halvings in range(40):
            tried = (at[0] - step[0] / 2**halvings, at[1] - step[1] / 2**halvings)
            if tried == at:
                return at
            new_gradient, new_curvature = _derivatives(x, correct, *tried, ridge)
            if new_gradient @ new_gradient < steepness:
                break
        else:
            return at
        at, gradient, curvature = tried, new_gradient, new_curvature
    return at


def _derivatives(
    x: Column, correct: Column, slope: float, intercept: float, ridge: float
) -> tuple[Column, Column]:
    """Gradient and curvature of the negative log-likelihood in (slope, intercept)."""
    p = slope * x
    p += intercept
    _to_sigmoid(p)
    error, weight = p - correct, 1 - p
    weight *= p
    weighted = np.multiply(weight, x, out=p)
    cross = np.add.reduce(weighted)
    gradient = np.array((x @ error + ridge * slope, np.add.reduce(error)))
    return gradient, np.array(((weighted @ x + ridge, cross), (cross, np.add.reduce(weight))))


def platt_scaled(confidence: Column, slope: float, intercept: float) -> Column:
    return _to_sigmoid(slope * _log_odds(confidence) + intercept)


def _log_odds(p: Column) -> Column:
    inside = np.minimum(np.maximum(p, _EDGE), 1 - _EDGE)
    inside /= 1 - inside
    return np.log(inside, out=inside)


def _to_sigmoid(x: Column) -> Column:
    """In the place of ``x``. (``np.clip`` takes longer than all of this for some hundred numbers.)"""
    np.maximum(x, -700, out=x)
    np.minimum(x, 700, out=x)
    np.negative(x, out=x)
    np.exp(x, out=x)
    x += 1
    return np.divide(1, x, out=x)


class Calibration:
    """Confidence and correctness of each sample, by each source that it has."""

    def features(self, sample: Sample) -> dict[str, float]:
        made: dict[str, float] = {}
        if (known := by_probability(sample)) is not None:
            made["confidence"], made["correct"] = known
        if (known := by_agreement(sample)) is not None:
            made["confidence_sampled"], made["correct_sampled"] = known
        if (known := by_words(sample)) is not None:
            made["confidence_verbalized"], made["correct_verbalized"] = known
        return made

    def value(self, columns: Mapping[str, Column]) -> dict[str, float]:
        made: dict[str, float] = {}
        for suffix in ("", "_sampled", "_verbalized"):
            pair = _known(columns, suffix)
            if pair is None:
                continue
            confidence, correct = pair
            made[f"max_prob{suffix}"] = float(confidence.mean())
            if len(confidence) < FEWEST:
                continue
            made |= {f"{name}{suffix}": number for name, number in _errors(confidence, correct).items()}
            if not suffix:
                made |= _scaled(confidence, correct)
        return made

    def reason(self, name: str, columns: Mapping[str, Column]) -> str:
        source = next((s for s in ("_sampled", "_verbalized") if name.endswith(s)), "")
        pair = _known(columns, source)
        if pair is None:
            return _REASONS[source]
        if len(pair[0]) >= FEWEST and name in ("platt_coef", "platt_intercept"):
            return "all right or all wrong"
        return f"fewer than {FEWEST} samples"


def _known(columns: Mapping[str, Column], suffix: str) -> tuple[Column, Column] | None:
    """Confidence and correctness where they are known; None too where every probability is 1, which servers that know
    none report."""
    if f"confidence{suffix}" not in columns:
        return None
    confidence, correct = columns[f"confidence{suffix}"], columns[f"correct{suffix}"]
    known = ~np.isnan(confidence)
    if not known.any() or (not suffix and (confidence[known] == 1.0).all()):
        return None
    return confidence[known], correct[known]


def _errors(confidence: Column, correct: Column) -> dict[str, float]:
    accuracies = selective_accuracies(confidence, correct)
    return {
        "ece_10_bin": ece_equal_mass(confidence, correct),
        "ece_1_bin": ece_one_bin(confidence, correct),
        "selective_cov_acc_area": float(accuracies.mean()),
        "selective_acc@10": float(accuracies[int(0.1 * len(accuracies))]),
    }


def _scaled(confidence: Column, correct: Column) -> dict[str, float]:
    if correct.min() == correct.max():  # HELM: the error after scaling is 0, the scaling undefined
        return {"platt_ece_10_bin": 0.0, "platt_ece_1_bin": 0.0}
    x = _log_odds(confidence)
    slope, intercept = _fitted(x, correct)
    scaled = _to_sigmoid(slope * x + intercept)
    return {
        "platt_coef": slope,
        "platt_intercept": intercept,
        "platt_ece_10_bin": ece_equal_mass(scaled, correct),
        "platt_ece_1_bin": ece_one_bin(scaled, correct),
    }


_REASONS = {
    "": "no log-probabilities",
    "_sampled": "one output an instance: several are needed (--confidence sampled)",
    "_verbalized": "no answer states its confidence (--confidence verbalized asks for it)",
}
_SOURCES = {
    "": ("", "the model's probability of its answer"),
    "_sampled": (" (sampled)", "the share of several sampled outputs that give the same answer"),
    "_verbalized": (
        " (verbalized)",
        "the probability that the model states, in its answer or when asked for it",
    ),
}
_KUMAR = "Liang et al. 2022, section 4.4; Kumar et al. 2019 (arXiv 1909.10155)"


def _definitions(suffix: str) -> tuple[Definition, ...]:
    title, source = _SOURCES[suffix]
    rows = (
        (
            "ece_10_bin",
            "ECE (10 bins)",
            "Expected calibration error: mean distance of confidence and accuracy over 10 bins of equal mass. "
            "Unreliable below some 300 samples.",
            False,
        ),
        (
            "ece_1_bin",
            "ECE (1 bin)",
            "Distance of the mean confidence and the accuracy.",
            False,
        ),
        (
            "selective_cov_acc_area",
            "Selective accuracy (area)",
            "Mean over all coverages of the accuracy of the surest samples.",
            True,
        ),
        ("selective_acc@10", "Selective accuracy at 10%", "Accuracy of the surest tenth.", True),
        ("max_prob", "Confidence", "Mean confidence.", True),
    )
    return tuple(
        Definition(
            name=f"{name}{suffix}",
            title=f"{label}{title}",
            aspect="general" if name == "max_prob" else "calibration",
            description=f"{description} Confidence is {source}.",
            source=_KUMAR,
            higher_is_better=better,
        )
        for name, label, description, better in rows
    )


def _platt(name: str, title: str, description: str, error: bool) -> Definition:
    return Definition(
        name=name,
        title=title,
        aspect="calibration" if error else "general",
        description=description,
        source="Platt 1999; Liang et al. 2022, section 4.4",
        higher_is_better=not error,
    )


CALIBRATION = Family(
    name="calibration",
    make=Calibration,
    definitions=(
        *_definitions(""),
        _platt(
            "platt_ece_10_bin", "ECE (10 bins, Platt)", "ECE after Platt scaling on the same samples.", True
        ),
        _platt(
            "platt_ece_1_bin",
            "ECE (1 bin, Platt)",
            "1-bin ECE after Platt scaling on the same samples.",
            True,
        ),
        _platt(
            "platt_coef",
            "Platt slope",
            "1 where the log-odds of the confidence are right; below, too sure.",
            False,
        ),
        _platt("platt_intercept", "Platt intercept", "0 where the confidence is right on average.", False),
        *_definitions("_sampled"),
        *_definitions("_verbalized"),
    ),
)
