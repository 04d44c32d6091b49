r"""Whether two LaTeX answers are the same but for formatting: the normalisation of MATH (Hendrycks et al. 2021).

It is a normalisation of text, not algebra: ``\frac{1}{2}``, ``\dfrac12``, ``1/2`` and ``0.5`` are one, ``0.50`` is
another. The rules and their order are those of github.com/hendrycks/math (``math_equivalence.py``, MIT), which HELM
uses.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from commonweal.evals.metrics.metric import Column, Definition, Family
from commonweal.evals.metrics.prediction import ReferenceMetric
from commonweal.evals.sample import Sample

_DROPPED = ("\\left", "\\right", "^{\\circ}", "^\\circ", "\\$")
_FRACTION = re.compile(r"(-?\d+)/(-?\d+)\Z")


def normalize_math(text: str) -> str:
    r"""The canonical form of an answer. Raises ValueError or IndexError where the text is none that the rules can read.

    >>> normalize_math(r"x = \dfrac12 \text{ meters}")
    '\\frac{1}{2}'
    """
    text = text.replace("\n", "").replace("\\!", "").replace("\\\\", "\\")
    text = text.replace("tfrac", "frac").replace("dfrac", "frac")
    for dropped in _DROPPED:
        text = text.replace(dropped, "")
    text = _without_units(text).replace("\\%", "")
    text = text.replace(" .", " 0.").replace("{.", "{0.")
    if not text:
        return text
    if text[0] == ".":
        text = "0" + text
    left, equals, right = text.partition("=")
    if equals and "=" not in right and len(left) <= 2:
        text = right
    text = _whole_roots(text).replace(" ", "")
    text = _whole_fractions(text)
    if text == "0.5":
        return "\\frac{1}{2}"
    slash = _FRACTION.match(text)
    if slash and all(part == str(int(part)) for part in slash.groups()):
        return f"\\frac{{{slash[1]}}}{{{slash[2]}}}"
    return text


def _without_units(text: str) -> str:
    r"""``\text{ `` (with its space) only ever begins a unit."""
    value, *units = text.split("\\text{ ")
    if len(units) > 1:
        raise ValueError("two units")
    return value


def _whole_roots(text: str) -> str:
    r"""``\sqrt3`` becomes ``\sqrt{3}``."""
    first, *rest = text.split("\\sqrt")
    return first + "".join("\\sqrt" + (r if r[0] == "{" else f"{{{r[0]}}}{r[1:]}") for r in rest)


def _whole_fractions(text: str) -> str:
    r"""``\frac1b`` becomes ``\frac{1}{b}`` and ``\frac1{72}`` ``\frac{1}{72}``; one that is cut short stays, and then
    so do all."""
    parts = text.split("\\frac")
    made = parts[0]
    for part in parts[1:]:
        if part[0] == "{":
            made += "\\frac" + part
        elif len(part) < 2:
            return text
        elif part[1] == "{":
            made += f"\\frac{{{part[0]}}}{part[1:]}"
        else:
            made += f"\\frac{{{part[0]}}}{{{part[1]}}}{part[2:]}"
    return made


def math_equiv(gold: str, answer: str) -> float:
    """1 where both have one canonical form; where either cannot be read, where they are equal as they stand."""
    try:
        return float(normalize_math(gold) == normalize_math(answer))
    except (ValueError, IndexError):
        return float(gold == answer)


def boxed(solution: str) -> str | None:
    r"""The contents of the last ``\boxed{...}`` of a worked solution, None where there is none.

    A last ``\fbox`` counts as found but has no contents that the original reads: None.

    >>> boxed(r"so $x = \boxed{\frac{1}{2}}$.")
    '\\frac{1}{2}'
    """
    start = solution.rfind("\\boxed")
    if start < 0:
        return None
    depth = 0
    for end in range(start, len(solution)):
        if solution[end] == "{":
            depth += 1
        elif solution[end] == "}":
            depth -= 1
            if depth == 0:
                whole = solution[start : end + 1]
                return whole[len("\\boxed{") : -1] if whole.startswith("\\boxed{") else None
    return None


def math_equiv_chain_of_thought(gold: str, answer: str) -> float:
    """:func:`math_equiv` of what both solutions have boxed; an answer without a box is wrong. (The original calls two
    solutions without a box equal; such references are not scored here.)"""
    wanted, given = boxed(gold), boxed(answer)
    return math_equiv(wanted, given) if wanted is not None and given is not None else 0.0


class MathEquiv:
    """``math_equiv``; where a reference is a worked solution with its answer boxed, the other one too."""

    def __init__(self) -> None:
        self._plain = ReferenceMetric({"math_equiv": math_equiv})
        self._worked = ReferenceMetric({"math_equiv_chain_of_thought": math_equiv_chain_of_thought})

    def score(self, sample: Sample) -> dict[str, float]:
        made = self._plain.score(sample)
        if any(boxed(gold) is not None for gold in sample.instance.correct):
            made |= self._worked.score(sample)
        return made

    def reason(self, name: str, columns: Mapping[str, Column]) -> str:
        return "no reference is a worked solution" if name != "math_equiv" else "no correct reference"


_SOURCE = "Hendrycks et al. 2021 (arXiv 2103.03874); github.com/hendrycks/math"

MATH_EQUIV = Family(
    name="math_equiv",
    make=MathEquiv,
    definitions=(
        Definition(
            name="math_equiv",
            title="Equivalent",
            aspect="accuracy",
            description="Share of answers that equal the reference up to formatting: units, fractions, roots, LaTeX.",
            source=_SOURCE,
        ),
        Definition(
            name="math_equiv_chain_of_thought",
            title="Equivalent (CoT)",
            aspect="accuracy",
            description="The same for what a worked solution has in its last \\boxed{}.",
            source=_SOURCE,
        ),
    ),
)
