"""IFEval: the share of verifiable instructions that a response follows, strictly and loosely.

``instance.extra`` holds ``instructions`` (kinds, see :mod:`.checks`) and ``arguments`` (one table each).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from commonweal.evals.metrics.ifeval.checks import CHECKS, follows, loosened
from commonweal.evals.metrics.metric import Column, Definition, Family
from commonweal.evals.sample import Sample

__all__ = ["CHECKS", "IFEVAL", "IFEVAL_INSTRUCTIONS", "followed"]


def followed(
    text: str, kinds: Sequence[str], arguments: Sequence[Mapping[str, Any]]
) -> tuple[list[bool], list[bool]]:
    """Which instructions a response follows: strictly, and loosely (any of its loosened forms does)."""
    strict = [follows(kind, text, given) for kind, given in zip(kinds, arguments, strict=True)]
    if all(strict):
        return strict, strict
    forms = loosened(text)[1:]
    loose = [
        done or any(follows(kind, form, given) for form in forms)
        for done, kind, given in zip(strict, kinds, arguments, strict=True)
    ]
    return strict, loose


def _followed(sample: Sample) -> tuple[list[bool], list[bool]] | None:
    kinds = sample.instance.extra.get("instructions")
    if not kinds:
        return None
    return followed(sample.output.strip(), kinds, sample.instance.extra["arguments"])


class IFEval:
    """``ifeval_strict_accuracy`` and ``ifeval_loose_accuracy``: the share of a prompt's instructions that are followed
    (HELM's main number is the first); ``..._prompt_...``: whether all are."""

    def score(self, sample: Sample) -> dict[str, float]:
        both = _followed(sample)
        if both is None:
            return {}
        strict, loose = both
        return {
            "ifeval_strict_accuracy": sum(strict) / len(strict),
            "ifeval_loose_accuracy": sum(loose) / len(loose),
            "ifeval_prompt_strict_accuracy": float(all(strict)),
            "ifeval_prompt_loose_accuracy": float(all(loose)),
        }


class IFEvalInstructions:
    """``ifeval_instruction_..._accuracy``: over all instructions of all prompts together."""

    additive = True

    def features(self, sample: Sample) -> dict[str, float]:
        both = _followed(sample)
        if both is None:
            return {}
        strict, loose = both
        return {"all": float(len(strict)), "strict": float(sum(strict)), "loose": float(sum(loose))}

    def value(self, columns: Mapping[str, Column]) -> dict[str, float]:
        if "all" not in columns or not (total := float(columns["all"].sum())):
            return {}
        return {
            f"ifeval_instruction_{how}_accuracy": float(columns[how].sum() if how in columns else 0.0) / total
            for how in ("strict", "loose")
        }


_SOURCE = "Zhou et al. 2023, arXiv 2311.07911, section 2.2"
_HOW = {
    "strict": "as the response is",
    "loose": "without its first or last line or its stars, if that helps",
}
IFEVAL = Family(
    name="ifeval",
    make=IFEval,
    definitions=tuple(
        definition
        for how, meaning in _HOW.items()
        for definition in (
            Definition(
                name=f"ifeval_{how}_accuracy",
                title=f"IFEval {how} accuracy",
                aspect="accuracy",
                description=f"Share of a prompt's instructions that are followed, {meaning}; mean over prompts.",
                source=_SOURCE if how == "loose" else "HELM, ifeval_metrics.py; " + _SOURCE,
            ),
            Definition(
                name=f"ifeval_prompt_{how}_accuracy",
                title=f"IFEval {how} accuracy by prompt",
                aspect="accuracy",
                description=f"Share of prompts of which all instructions are followed, {meaning}.",
                source=_SOURCE,
            ),
        )
    ),
)
IFEVAL_INSTRUCTIONS = Family(
    name="ifeval_instructions",
    make=IFEvalInstructions,
    definitions=tuple(
        Definition(
            name=f"ifeval_instruction_{how}_accuracy",
            title=f"IFEval {how} accuracy by instruction",
            aspect="accuracy",
            description=f"Share of all instructions that are followed, {meaning}.",
            source=_SOURCE,
        )
        for how, meaning in _HOW.items()
    ),
)
