"""F1 over classes, from all answers together (not the word F1 of one answer).

HELM's two definitions. Of generated labels, the classes are the correct references', normalised but with their
articles, and an answer that is none of them is only missing from its true class. Of multiple choice, an answer that
is no option is a class of its own. Micro F1 pools the counts of all classes; macro F1 is the mean over classes of
their F1, a class never predicted rightly counting 0. (scikit-learn's ``f1_score``.)
"""

from __future__ import annotations

from collections.abc import Mapping
from zlib import crc32

import numpy as np

from commonweal.evals.metrics.exact_match import normalize_text
from commonweal.evals.metrics.metric import Column, Definition, Family
from commonweal.evals.metrics.prediction import CHOICES, prediction
from commonweal.evals.sample import Sample


class Classification:
    """One class a sample; of several correct references, the first is the truth."""

    def features(self, sample: Sample) -> dict[str, float]:
        golds = sample.instance.correct
        if not golds:
            return {}
        answer = prediction(sample)
        if sample.adaptation.method in CHOICES:
            return {"truth": _code(golds[0].strip()), "answer": _code(answer), "open": 1.0}
        return {
            "truth": _code(normalize_text(golds[0], articles=True)),
            "answer": _code(normalize_text(answer, articles=True)),
            "open": 0.0,
        }

    def value(self, columns: Mapping[str, Column]) -> dict[str, float]:
        known = ~np.isnan(columns.get("truth", np.empty(0)))
        if not known.any():
            return {}
        truth, answer = columns["truth"][known], columns["answer"][known]
        classes = np.unique(np.concatenate([truth, answer]) if columns["open"][known].any() else truth)
        wanted, given = np.searchsorted(classes, truth), np.searchsorted(classes, answer)
        inside = given < len(classes)
        inside[inside] = classes[given[inside]] == answer[inside]
        right = inside & (given == wanted)
        size = len(classes)
        true_positive = np.bincount(wanted[right], minlength=size)
        total = np.bincount(wanted, minlength=size) + np.bincount(given[inside], minlength=size)
        return {
            "classification_micro_f1": float(2 * true_positive.sum() / total.sum()),
            "classification_macro_f1": float(np.mean(2 * true_positive / total)),
        }

    def reason(self, name: str, columns: Mapping[str, Column]) -> str:
        return "no correct reference"


def _code(label: str) -> float:
    """A number for a label; two labels of one data set share one with odds of 1 to 4 thousand million."""
    return float(crc32(label.encode("utf-8", "surrogatepass")))


_SOURCE = "Liang et al. 2022, section 4.1; HELM, classification_metrics.py"

CLASSIFICATION = Family(
    name="classification",
    make=Classification,
    definitions=(
        Definition(
            name="classification_macro_f1",
            title="Macro F1",
            aspect="accuracy",
            description="F1 of each class, averaged over the classes.",
            source=_SOURCE,
        ),
        Definition(
            name="classification_micro_f1",
            title="Micro F1",
            aspect="accuracy",
            description="F1 from the pooled counts of all classes.",
            source=_SOURCE,
        ),
    ),
)
