"""How well passages are ranked by their relevance, as TREC measures it.

The model was asked of each passage whether it answers the query. HELM's order (``ranking_metrics.py``): first those
it said yes to, the surest first; then those it said no to, the surest last; then those it said anything else to.
Passages alike stay in their order. NDCG's gain is the grade and its discount log2(1 + rank) (Järvelin & Kekäläinen
2002, as trec_eval has it); the ideal order is that of all graded passages.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from commonweal.evals.metrics.metric import Column, Definition, Family
from commonweal.evals.sample import Answer, Sample

YES, NO = "yes", "no"


def ndcg(grades: Sequence[int], ideal: Sequence[int], k: int = 10) -> float:
    """Normalised discounted cumulative gain of the first ``k``; 0 where nothing is relevant. ``ideal`` are the grades
    of all passages in any order.

    >>> round(ndcg([3, 2, 3, 0, 1, 2], [3, 2, 3, 0, 1, 2, 3, 2], k=6), 3)
    0.785
    """
    best = _gain(sorted(ideal, reverse=True)[:k])
    return _gain(grades[:k]) / best if best else 0.0


def _gain(grades: Sequence[int]) -> float:
    return sum(grade / math.log2(rank + 1) for rank, grade in enumerate(grades, 1))


def reciprocal_rank(grades: Sequence[int], k: int = 10) -> float:
    """1 / the rank of the first relevant passage, 0 where it is not among the first ``k``."""
    return next((1.0 / rank for rank, grade in enumerate(grades[:k], 1) if grade > 0), 0.0)


class Ranking:
    """``ndcg_10`` and ``rr_10`` of one query. A correct reference without a grade has grade 1."""

    def score(self, sample: Sample) -> dict[str, float]:
        references = sample.instance.references
        asked = [a for a in sample.answers if 0 <= a.ask.index < len(references)]
        grades = [reference.grade or int(reference.correct) for reference in references]
        if not asked or not any(grades):
            return {}
        order = sorted(asked, key=_relevance, reverse=True)
        ranked = [grades[answer.ask.index] for answer in order]
        return {"ndcg_10": ndcg(ranked, grades), "rr_10": reciprocal_rank(ranked)}

    def reason(self, name: str, columns: Mapping[str, Column]) -> str:
        return "no passage is known to be relevant"


def _relevance(answer: Answer) -> tuple[int, float]:
    choice = answer.completion.choices[0]
    said = choice.text.strip().lower()
    logprob = choice.logprob or 0.0
    if said == YES:
        return 2, logprob
    return (1 if said == NO else 0), -logprob


RANKING = Family(
    name="ranking",
    make=Ranking,
    definitions=(
        Definition(
            name="ndcg_10",
            title="NDCG@10",
            aspect="accuracy",
            description="Discounted gain of the first ten passages, relative to the best possible order.",
            source="Järvelin & Kekäläinen 2002; trec_eval ndcg_cut_10",
        ),
        Definition(
            name="rr_10",
            title="RR@10",
            aspect="accuracy",
            description="One over the rank of the first relevant passage, 0 beyond the tenth.",
            source="trec_eval recip_rank; MS MARCO",
        ),
    ),
)
