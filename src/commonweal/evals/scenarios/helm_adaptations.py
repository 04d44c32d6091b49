"""HELM's adaptations that the core scenarios add to the common ones, and the metrics that go with them.

The prompts are those of HELM 0.5 (Liang et al. 2022, appendix J; ``common_adapter_specs.py``), byte for byte.
"""

from __future__ import annotations

from dataclasses import replace

from commonweal.evals.adaptation import Adaptation
from commonweal.evals.scenario import Args
from commonweal.evals.scenarios.prompting import separate

METHODS = ("multiple_choice_joint", "multiple_choice_separate", "multiple_choice_separate_calibrated")

CHOICE = ("exact_match",)
LABEL = ("exact_match", "classification")
ANSWER = ("exact_match", "f1")
OPEN_ENDED = ("exact_match", "f1", "rouge", "bleu")
SUMMARY = ("rouge",)
RANKING = ("ranking",)
"""HELM's metrics of accuracy; those of the other aspects (calibration, bias ...) every run has."""


def by_method(adaptation: Adaptation, args: Args) -> Adaptation:
    """The adaptation under the argument ``method``: HELM's separate ones score ``[input] [reference]`` without
    instructions or examples."""
    match args.get("method", METHODS[0]):
        case "multiple_choice_separate":
            return separate()
        case "multiple_choice_separate_calibrated":
            return replace(separate(), method="multiple_choice_separate_calibrated")
        case _:
            return adaptation


def summarization(*, sentences: int, max_tokens: int, temperature: float = 0.3) -> Adaptation:
    """HELM's summarization, in so many sentences."""
    size = "1 sentence" if sentences == 1 else f"{sentences} sentences"
    return Adaptation(
        input_prefix="###\nArticle: ",
        input_suffix="\n\n",
        output_prefix=f"Summarize the above article in {size}.\n",
        output_suffix="\n",
        max_tokens=max_tokens,
        temperature=temperature,
        stop=("###",),
    )


def ranking() -> Adaptation:
    """HELM's binary ranking: each passage is asked about by itself. A shot is a query with one relevant and one
    irrelevant passage, so two shots are HELM's four examples."""
    return Adaptation(
        method="ranking_binary",
        input_prefix="Query: ",
        input_suffix="\n",
        reference_prefix="Passage: ",
        reference_suffix="\n",
        output_prefix="Does the passage answer the query?\nAnswer: ",
        output_suffix="\n",
        max_tokens=5,
        stop=("\n",),
        shots=2,
    )
