"""HELM's common adapter specifications (adaptation/common_adapter_specs.py, version 0.5.16), as adaptations.

The defaults of each are HELM's, so that a scenario states only what HELM's run specification states. HELM asks the
joint multiple-choice adapter for 5 alternatives of one token, not for 5 completions: that is ``outputs=1`` here.
"""

from __future__ import annotations

from commonweal.evals.adaptation import Adaptation


def generation(
    *,
    instructions: str = "",
    input_noun: str | None = None,
    output_noun: str | None = None,
    newline_after_input_noun: bool = False,
    shots: int = 5,
    outputs: int = 1,
    max_tokens: int = 5,
    stop: tuple[str, ...] = ("\n",),
    temperature: float = 0.0,
) -> Adaptation:
    """``get_generation_adapter_spec``: instructions, then "noun: input", "noun: output" for each example."""
    return Adaptation(
        method="generation",
        instructions=_line(instructions),
        input_prefix=_prefix(input_noun, "\n" if newline_after_input_noun else " "),
        input_suffix="\n",
        output_prefix=_prefix(output_noun, " "),
        output_suffix="\n",
        shots=shots,
        outputs=outputs,
        max_tokens=max_tokens,
        temperature=temperature,
        stop=stop,
    )


def completion(
    *,
    instructions: str = "",
    input_prefix: str = "",
    output_prefix: str = "",
    output_suffix: str = "",
    shots: int = 0,
    temperature: float = 0.0,
    outputs: int = 1,
    max_tokens: int = 100,
    stop: tuple[str, ...] = (),
) -> Adaptation:
    """``get_completion_adapter_spec``: the output follows the input at once."""
    return Adaptation(
        method="generation",
        instructions=_line(instructions),
        input_prefix=input_prefix,
        input_suffix="",
        output_prefix=output_prefix,
        output_suffix=output_suffix,
        shots=shots,
        temperature=temperature,
        outputs=outputs,
        max_tokens=max_tokens,
        stop=stop,
    )


def joint(
    *,
    instructions: str,
    input_noun: str | None,
    output_noun: str = "Answer",
    shots: int = 5,
    max_tokens: int = 1,
) -> Adaptation:
    """``get_multiple_choice_adapter_spec`` for the joint method: all choices in the prompt, answered by a letter."""
    return Adaptation(
        method="multiple_choice_joint",
        instructions=_line(instructions),
        input_prefix=_prefix(input_noun, " "),
        input_suffix="" if input_noun is None else "\n",
        output_prefix=_prefix(output_noun, " "),
        output_suffix="\n",
        shots=shots,
        max_tokens=max_tokens,
        temperature=0.0,
        stop=("\n",),
    )


def separate(*, empty_input: bool = False) -> Adaptation:
    """``get_multiple_choice_separate_adapter_spec``: each choice is scored by itself, after the input if there is
    one."""
    return Adaptation(
        method="multiple_choice_separate",
        input_prefix="",
        input_suffix="",
        output_prefix="" if empty_input else " ",
        output_suffix="",
        shots=0,
        max_tokens=0,
        temperature=0.0,
        stop=(),
    )


def language_modeling() -> Adaptation:
    """``get_language_modeling_adapter_spec``: the input itself is scored."""
    return Adaptation(
        method="language_modeling",
        input_prefix="",
        input_suffix="",
        output_prefix="",
        output_suffix="",
        shots=0,
        max_tokens=0,
        temperature=0.0,
        stop=(),
    )


def _line(instructions: str) -> str:
    return instructions + "\n" if instructions else ""


def _prefix(noun: str | None, end: str) -> str:
    return "" if noun is None else f"{noun}:{end}"
