"""Answers that list what follows ("The dog is big and red."), compared as sets (HELM, for natural synthetic reasoning).

The things listed are what stands after the last " is ", between " and "s, without full stops; "Nothing." is the empty
set. Only the answer's first line counts. Source: Liang et al. 2022, appendix C; HELM, evaluate_reference_metrics.py.
"""

from __future__ import annotations

from commonweal.evals.metrics.metric import Definition, Family
from commonweal.evals.metrics.prediction import ReferenceMetric


def listed(text: str) -> frozenset[str]:
    """
    >>> sorted(listed("The dog is big and red.")), sorted(listed("Nothing."))
    (['big', 'red'], [])
    """
    if text == "Nothing.":
        return frozenset()
    return frozenset(text.replace(".", "").split(" is ")[-1].split(" and "))


def _both(gold: str, answer: str) -> tuple[frozenset[str], frozenset[str]]:
    return listed(gold), listed(answer.split("\n")[0])


def exact_set_match(gold: str, answer: str) -> float:
    """1 where both list the same."""
    wanted, given = _both(gold, answer)
    return float(wanted == given)


def iou_set_match(gold: str, answer: str) -> float:
    """What both list over what either does."""
    wanted, given = _both(gold, answer)
    return len(wanted & given) / len(wanted | given) if wanted else float(wanted == given)


def f1_set_match(gold: str, answer: str) -> float:
    """Harmonic mean of precision and recall of what is listed."""
    wanted, given = _both(gold, answer)
    return 2 * len(wanted & given) / (len(wanted) + len(given)) if wanted else float(wanted == given)


SET_MATCH = Family(
    name="set_match",
    make=lambda: ReferenceMetric(
        {
            "exact_set_match": exact_set_match,
            "iou_set_match": iou_set_match,
            "f1_set_match": f1_set_match,
        }
    ),
    definitions=tuple(
        Definition(
            name=name,
            title=title,
            aspect="accuracy",
            description=description,
            source="Liang et al. 2022, appendix C; HELM, evaluate_reference_metrics.py",
        )
        for name, title, description in (
            (
                "exact_set_match",
                "Exact match (of sets)",
                "Share of answers that list just what the reference lists.",
            ),
            (
                "iou_set_match",
                "Intersection over union",
                "What answer and reference both list over what either does.",
            ),
            (
                "f1_set_match",
                "F1 (of sets)",
                "Harmonic mean of precision and recall of what the answer lists.",
            ),
        )
    ),
)
