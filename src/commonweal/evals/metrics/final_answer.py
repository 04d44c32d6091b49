"""The answer at the end of a chain of thought: what stands after "the answer is"."""

from __future__ import annotations

import re

from commonweal.evals.metrics.metric import Definition, Family
from commonweal.evals.sample import Sample

_ANSWER = re.compile(r".*the answer is:?[ \t]*([^\n]*)", re.IGNORECASE)
_NUMBER = re.compile(r"-?\$?(?:\d[\d,]*)?\.?\d+")


def final_answer(text: str) -> str | None:
    """What follows the last "the answer is" on its line, without the full stop and marks around it; None if nothing
    does (Suzgun et al. 2022; their code takes the same).

    >>> final_answer("2 + 2 = 4. So the answer is **4**.")
    '4'
    """
    found = _ANSWER.findall(text)
    return found[-1].strip().rstrip(".").strip().strip("*`$").strip() if found else None


def same_answer(answer: str, gold: str) -> bool:
    """Equal texts; where the gold answer is a number, equal numbers, whatever unit stands beside the model's."""
    if answer == gold:
        return True
    wanted = _number(gold)
    if wanted is None or _NUMBER.sub("", gold).strip():
        return False
    return _number(answer) == wanted


def _number(text: str) -> float | None:
    found = _NUMBER.search(text)
    return None if found is None else float(found.group().replace(",", "").replace("$", ""))


class FinalAnswer:
    """``final_answer_match``, and ``final_answer_given``: whether there is a "the answer is" at all."""

    def score(self, sample: Sample) -> dict[str, float]:
        golds = sample.instance.correct
        if not golds:
            return {}
        answer = final_answer(sample.output)
        right = answer is not None and any(same_answer(answer, gold) for gold in golds)
        return {"final_answer_match": float(right), "final_answer_given": float(answer is not None)}


FINAL_ANSWER = Family(
    name="final_answer",
    make=FinalAnswer,
    definitions=(
        Definition(
            name="final_answer_match",
            title="Final answer",
            aspect="accuracy",
            description='Share of answers of which the part after the last "the answer is" equals the reference; '
            "numbers are compared as numbers.",
            source="Suzgun et al. 2022, arXiv 2210.09261, section 2",
        ),
        Definition(
            name="final_answer_given",
            title="Final answer given",
            aspect="general",
            description='Share of answers that contain "the answer is".',
        ),
    ),
)
