"""Exact match and its lenient forms: is the answer one of the correct references.

Definitions are HELM's (``evaluate_reference_metrics.py``), the normalisation QuAC's and SQuAD's
(Choi et al. 2018; Rajpurkar et al. 2016): lower case, no ASCII punctuation, no articles, single spaces.
An empty answer matches nothing.
"""

from __future__ import annotations

import re
import string
from collections.abc import Mapping

from commonweal.evals.metrics.metric import Column, Definition, Family
from commonweal.evals.metrics.prediction import SEPARATE, ReferenceMetric, prediction, tied_accuracy
from commonweal.evals.sample import Sample

_PUNCTUATION = str.maketrans("", "", string.punctuation)
_ARTICLES = re.compile(r"\b(?:a|an|the)\b").sub


def normalize_text(text: str, articles: bool = False) -> str:
    """Lower case without punctuation and with single spaces; articles are dropped unless ``articles`` keeps them.

    >>> normalize_text("The  U.S. President!")
    'us president'
    """
    text = text.lower().translate(_PUNCTUATION)
    if not articles:
        text = _ARTICLES(" ", text)
    return " ".join(text.split())


def exact_match(gold: str, answer: str) -> float:
    """1 where both are equal but for white space around them."""
    return float(bool(answer) and gold.strip() == answer.strip())


def quasi_exact_match(gold: str, answer: str) -> float:
    """1 where both are equal after :func:`normalize_text`."""
    return float(bool(answer) and normalize_text(gold) == normalize_text(answer))


def prefix_exact_match(gold: str, answer: str) -> float:
    """1 where the answer begins with the reference: a model that was shown no example often goes on after it."""
    return float(bool(answer) and answer.strip().startswith(gold.strip()))


def quasi_prefix_exact_match(gold: str, answer: str) -> float:
    """:func:`prefix_exact_match` after :func:`normalize_text`."""
    return float(bool(answer) and normalize_text(answer).startswith(normalize_text(gold)))


_NAMES = ("exact_match", "quasi_exact_match", "prefix_exact_match", "quasi_prefix_exact_match")
_SEVERAL = ReferenceMetric(
    dict(
        zip(
            _NAMES,
            (exact_match, quasi_exact_match, prefix_exact_match, quasi_prefix_exact_match),
            strict=True,
        )
    )
)


class ExactMatch:
    """The four together, each text normalised once. Where every option was scored by itself, ``exact_match`` shares
    the point among tied options (:func:`~commonweal.evals.metrics.prediction.tied_accuracy`), as HELM does."""

    def score(self, sample: Sample) -> dict[str, float]:
        golds = sample.instance.correct
        if not golds:
            return {}
        if sample.adaptation.outputs > 1:
            return _SEVERAL.score(sample)
        made = dict(zip(_NAMES, _four(golds, prediction(sample)), strict=True))
        if sample.adaptation.method in SEPARATE and (tied := tied_accuracy(sample)) is not None:
            made["exact_match"] = tied
        return made

    def reason(self, name: str, columns: Mapping[str, Column]) -> str:
        return "no correct reference"


def _four(golds: tuple[str, ...], answer: str) -> tuple[float, float, float, float]:
    if not answer:
        return 0.0, 0.0, 0.0, 0.0
    plain = normalize_text(answer)
    normal = [normalize_text(gold) for gold in golds]
    stripped = tuple(gold.strip() for gold in golds)
    return (
        float(answer in stripped),
        float(plain in normal),
        float(answer.startswith(stripped)),
        float(plain.startswith(tuple(normal))),
    )


_SOURCE = "Liang et al. 2022, section 4.1; HELM, evaluate_reference_metrics.py"

EXACT_MATCH = Family(
    name="exact_match",
    make=ExactMatch,
    definitions=(
        Definition(
            name="exact_match",
            title="Exact match",
            aspect="accuracy",
            description="Share of answers that equal a correct reference but for white space around them.",
            source=_SOURCE,
        ),
        Definition(
            name="quasi_exact_match",
            title="Quasi-exact match",
            aspect="accuracy",
            description="Exact match after lower-casing and dropping punctuation, articles and extra white space.",
            source=_SOURCE,
        ),
        Definition(
            name="prefix_exact_match",
            title="Prefix exact match",
            aspect="accuracy",
            description="Share of answers that begin with a correct reference.",
            source=_SOURCE,
        ),
        Definition(
            name="quasi_prefix_exact_match",
            title="Prefix quasi-exact match",
            aspect="accuracy",
            description="Share of answers that begin with a correct reference, both normalised as for quasi-exact "
            "match.",
            source=_SOURCE,
        ),
    ),
)
