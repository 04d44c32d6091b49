"""What a sample's answer is, as the text metrics compare it with its references. HELM's rules
(``evaluate_reference_metrics.py``), in one place.

A multiple-choice answer is the chosen reference's text, and no text at all where the model chose none: an answer
that is no option is wrong even if its words occur in one. Any other answer is the parsed output, stripped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from commonweal.evals.metrics.metric import Column
from commonweal.evals.sample import Sample

Compare = Callable[[str, str], float]
CHOICES = frozenset(
    {"multiple_choice_joint", "multiple_choice_separate", "multiple_choice_separate_calibrated"}
)
SEPARATE = frozenset({"multiple_choice_separate", "multiple_choice_separate_calibrated"})


def prediction(sample: Sample) -> str:
    """The answer, "" where there is none."""
    if sample.adaptation.method in CHOICES:
        chosen = sample.chosen
        references = sample.instance.references
        return references[chosen].text.strip() if chosen is not None and 0 <= chosen < len(references) else ""
    return sample.output.strip()


def predictions(sample: Sample) -> tuple[str, ...]:
    """All answers of a sample that was asked for several, the first of them :func:`prediction`'s."""
    first = prediction(sample)
    if len(sample.outputs) < 2:
        return (first,)
    if sample.adaptation.method in CHOICES:
        options = {reference.text.strip() for reference in sample.instance.references}
        return (first, *(text.strip() if text.strip() in options else "" for text in sample.outputs))
    return (first, *(text.strip() for text in sample.outputs))


def best(compare: Compare, golds: Iterable[str], answers: Iterable[str]) -> float:
    """The best agreement of any answer with any correct reference."""
    known = tuple(golds)
    return max(compare(gold, answer) for answer in answers for gold in known)


class ReferenceMetric:
    """Scores ``compare(gold, answer)``, the maximum over the correct references; with k > 1 outputs also ``name@k``,
    the maximum over the outputs. A sample without a correct reference is not scored."""

    def __init__(self, compares: Mapping[str, Compare]) -> None:
        self._compares = tuple(compares.items())

    def score(self, sample: Sample) -> dict[str, float]:
        golds = sample.instance.correct
        if not golds:
            return {}
        answer = (prediction(sample),)
        made = {name: best(compare, golds, answer) for name, compare in self._compares}
        k = sample.adaptation.outputs
        if k > 1:
            answers = predictions(sample)
            for name, compare in self._compares:
                made[f"{name}@{k}"] = best(compare, golds, answers)
        return made

    def reason(self, name: str, columns: Mapping[str, Column]) -> str:
        return "no correct reference"


def tied_accuracy(sample: Sample) -> float | None:
    """The share of correct options among those with the highest probability: 1 or 0 where one leads alone, 1/2 where
    a right and a wrong one tie (HELM, ``BasicReferenceMetric``). None where the probabilities are not known."""
    given = sample.probabilities
    references = sample.instance.references
    if not given or len(given) != len(references):
        return None
    top = max(given)
    ties = [reference.correct for p, reference in zip(given, references, strict=True) if p == top]
    return sum(ties) / len(ties)
