"""Whether the last number of the answer is the last number of the reference: how GSM8K is scored."""

from __future__ import annotations

import re

from commonweal.evals.metrics.metric import Definition, Family
from commonweal.evals.metrics.prediction import ReferenceMetric

_NUMBER = re.compile(r"-?[\d,]+(?:.\d+)?")


def final_number(text: str) -> str:
    """The last number as it is written, without thousands separators; "" where there is none. The point before
    decimals may be any character, as in HELM.

    >>> final_number("5 + 2 = 7. The answer is 1,234.50 dollars")
    '1234.50'
    """
    found = _NUMBER.findall(text)
    return found[-1].replace(",", "") if found else ""


def final_number_exact_match(gold: str, answer: str) -> float:
    """1 where both last numbers are the same text; an answer without a number is wrong."""
    given = final_number(answer)
    return float(bool(given) and final_number(gold) == given)


NUMERIC = Family(
    name="numeric",
    make=lambda: ReferenceMetric({"final_number_exact_match": final_number_exact_match}),
    definitions=(
        Definition(
            name="final_number_exact_match",
            title="Exact match (final number)",
            aspect="accuracy",
            description="Share of answers whose last number is the reference's last number.",
            source="Cobbe et al. 2021 (arXiv 2110.14168); HELM, evaluate_reference_metrics.py",
        ),
    ),
)
