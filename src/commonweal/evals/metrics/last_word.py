"""HELM's exact_match_indicator: whether what stands after the last space is right, whatever comes before it.

For Dyck languages, where HELM uses it, only the last closing bracket is compared so; exact match, beside it, wants all
of them. Source: HELM, evaluate_reference_metrics.py.
"""

from __future__ import annotations

from commonweal.evals.metrics.exact_match import exact_match
from commonweal.evals.metrics.metric import Definition, Family
from commonweal.evals.metrics.prediction import ReferenceMetric


def exact_match_indicator(gold: str, answer: str) -> float:
    """
    >>> exact_match_indicator(" ) ] }", "so: [ }"), exact_match_indicator(" ) ]", "}")
    (1.0, 0.0)
    """
    return exact_match(gold.split(" ")[-1], answer.split(" ")[-1].strip())


LAST_WORD = Family(
    name="last_word",
    make=lambda: ReferenceMetric({"exact_match_indicator": exact_match_indicator}),
    definitions=(
        Definition(
            name="exact_match_indicator",
            title="Exact match (final)",
            aspect="accuracy",
            description="Share of answers whose last word equals the reference's last word.",
            source="HELM, evaluate_reference_metrics.py",
        ),
    ),
)
