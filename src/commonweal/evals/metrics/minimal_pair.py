"""Whether the model finds the right one of two sentences more probable (BLiMP, CrowS-Pairs).

The whole sentences' log-probabilities are compared, not their means per token as in multiple choice: a minimal pair
has nearly equal lengths by design (Warstadt et al. 2020, section 4). A tie counts one half.
"""

from __future__ import annotations

from collections.abc import Mapping

from commonweal.evals.metrics.language_modeling import logprob_of
from commonweal.evals.metrics.metric import Column, Definition, Family
from commonweal.evals.sample import Sample


class MinimalPair:
    """Needs an answer for each reference (``Ask.index``) with its log-probability."""

    def score(self, sample: Sample) -> dict[str, float]:
        totals: dict[int, float] = {}
        for answer in sample.answers:
            if answer.ask.index >= 0 and answer.ask.role.startswith("reference"):
                logprob = logprob_of(answer.completion.choices[0])
                if logprob is None:
                    return {}
                totals[answer.ask.index] = logprob
        references = sample.instance.references
        if len(totals) != len(references) or not any(reference.correct for reference in references):
            return {}
        top = max(totals.values())
        ties = [references[index].correct for index, total in totals.items() if total == top]
        return {"minimal_pair_accuracy": sum(ties) / len(ties)}

    def reason(self, name: str, columns: Mapping[str, Column]) -> str:
        return "no log-probabilities of whole sentences"


MINIMAL_PAIR = Family(
    name="minimal_pair",
    make=MinimalPair,
    needs=("logprobs",),
    definitions=(
        Definition(
            name="minimal_pair_accuracy",
            title="Minimal-pair accuracy",
            aspect="accuracy",
            description="Share of pairs whose right sentence has the higher total log-probability.",
            source="Warstadt et al. 2020, section 4",
        ),
    ),
)
