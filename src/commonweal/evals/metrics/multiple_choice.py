"""Accuracy of the chosen option where each was scored by itself (HELM, ``BasicReferenceMetric``)."""

from __future__ import annotations

from collections.abc import Mapping

from commonweal.evals.metrics.exact_match import EXACT_MATCH
from commonweal.evals.metrics.metric import Column, Definition, Family
from commonweal.evals.metrics.prediction import SEPARATE, tied_accuracy
from commonweal.evals.sample import Sample


class MultipleChoice:
    """``exact_match`` of the chosen option, and which one it was."""

    def score(self, sample: Sample) -> dict[str, float]:
        references = sample.instance.references
        if not any(reference.correct for reference in references):
            return {}
        chosen = sample.chosen
        if chosen is None or not 0 <= chosen < len(references):
            return {"exact_match": 0.0}
        score = tied_accuracy(sample) if sample.adaptation.method in SEPARATE else None
        if score is None:
            score = float(
                references[chosen].text.strip() in {text.strip() for text in sample.instance.correct}
            )
        return {"exact_match": score, "predicted_index": float(chosen)}

    def reason(self, name: str, columns: Mapping[str, Column]) -> str:
        return "no correct reference" if name == "exact_match" else "no option was chosen"


MULTIPLE_CHOICE = Family(
    name="multiple_choice",
    make=MultipleChoice,
    definitions=(
        EXACT_MATCH.definitions[0],
        Definition(
            name="predicted_index",
            title="Predicted index",
            aspect="general",
            description="Which option was chosen, counted from 0; the mean shows a preference for a position.",
            source="HELM, basic_metrics.py",
        ),
    ),
)
