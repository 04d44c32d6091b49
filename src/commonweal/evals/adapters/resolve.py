"""What becomes of an adaptation for a model that cannot be asked as the scenario wants.

Decided once before a run, so that the run's spec says how it was asked, and why not as the scenario says.
"""

from __future__ import annotations

from dataclasses import replace

from commonweal.core.completion import Abilities
from commonweal.evals.adaptation import Adaptation

ANSWER_TOKENS = 64
"""What a model that chats may need to name a letter: "The correct answer is **B) ...**"."""

_SEPARATE = ("multiple_choice_separate", "multiple_choice_separate_calibrated")
_SCORED = (*_SEPARATE, "language_modeling")
_LETTERS = "Answer with the letter of the best option.\n"


def resolve(adaptation: Adaptation, abilities: Abilities) -> tuple[Adaptation, str]:
    """The adaptation as the model can be asked, and the reasons for what was changed ("" where nothing was).

    Options that were to be scored one by one are asked for together, by letter, of a model that does not score given
    text; a model that is asked by chat may answer a letter in a sentence; one without tool calls calls tools by text.
    A scenario that prefers a chat gets one, with the model's own template, where the model has it.
    """
    reasons = []
    if adaptation.method in _SEPARATE and abilities.score is False:
        reasons.append(
            f"multiple_choice_joint in place of {adaptation.method}: the model gives no log-probabilities of a"
            " given text"
        )
        adaptation = _by_letter(adaptation)
    if adaptation.method == "tools" and abilities.tools is False:
        reasons.append(
            "tools are described in the prompt and called by text: the model has no tool calls of its own"
        )
        adaptation = replace(adaptation, method="tools_by_text")
    adaptation, way = _way(adaptation, abilities)
    if way:
        reasons.append(way)
    if _is_short(adaptation) and (adaptation.ask == "chat" or abilities.complete is False):
        reasons.append(
            f"{ANSWER_TOKENS} tokens for the answer in place of {adaptation.max_tokens}: the model is asked by chat"
        )
        adaptation = replace(adaptation, max_tokens=ANSWER_TOKENS)
    return adaptation, "; ".join(reasons)


def _way(adaptation: Adaptation, abilities: Abilities) -> tuple[Adaptation, str]:
    """Chat or not. That a model has no chat is only said where that is known."""
    if adaptation.ask == "prefer_chat":
        if abilities.chat is False:
            return replace(adaptation, ask="auto"), "asked without a chat's template: the model has no chat"
        return replace(adaptation, ask="chat"), "asked by chat, with the model's own template"
    if adaptation.ask == "chat" and adaptation.method in _SCORED:
        return (
            replace(adaptation, ask="auto"),
            "asked without a chat's template: a given text is scored, which no chat can be asked for",
        )
    return adaptation, ""


def _is_short(adaptation: Adaptation) -> bool:
    return adaptation.method == "multiple_choice_joint" and adaptation.max_tokens < ANSWER_TOKENS


def _by_letter(adaptation: Adaptation) -> Adaptation:
    """HELM's joint prompt (``get_multiple_choice_joint_adapter_spec``) for a scenario that had a separate one."""
    return replace(
        adaptation,
        method="multiple_choice_joint",
        instructions=adaptation.instructions or _LETTERS,
        input_prefix="Question: ",
        input_suffix="\n",
        reference_prefix="A. ",
        reference_suffix="\n",
        output_prefix="Answer: ",
        output_suffix="\n",
        instance_prefix="\n",
        max_tokens=max(1, adaptation.max_tokens),
        stop=("\n",),
    )
