"""How an instance becomes requests: HELM's adaptation, as data.

Only the settings stand here; :mod:`commonweal.evals.adapters` carries them out. The prompt of the in-context methods
is, byte for byte as HELM builds it,

    global_prefix instructions
    { instance_prefix  input_prefix input input_suffix  [references]  output_prefix output output_suffix } x shots
    instance_prefix  input_prefix input input_suffix  [references]  output_prefix (stripped at its right)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Method = Literal[
    "generation",
    "multiple_choice_joint",
    "multiple_choice_separate",
    "multiple_choice_separate_calibrated",
    "language_modeling",
    "ranking_binary",
    "tools",
    "tools_by_text",
]
Ask = Literal["auto", "completion", "chat", "prefer_chat"]
Confidence = Literal["", "sampled", "verbalized"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Adaptation:
    """HELM's AdapterSpec. Defaults are HELM's for generation.

    ``ask`` says whether prompts go to the completion or to the chat endpoint (auto: completion where the model has
    it, else chat, in which the whole prompt is one user message; prefer_chat: chat where the model has one, else as
    auto, which :func:`commonweal.evals.adapters.resolve.resolve` decides). ``shots`` is HELM's max_train_instances;
    ``trials`` its num_train_trials: each draws its own examples. ``chain_of_thought`` takes the worked solution of the
    examples (``extra["thought"]``) into the prompt. ``confidence`` says what is asked beside each answer, "" nothing:
    ``confidence_samples`` more samples of it, or for its probability in words.
    """

    method: Method = "generation"
    ask: Ask = "auto"
    global_prefix: str = ""
    global_suffix: str = ""
    instructions: str = ""
    input_prefix: str = "Input: "
    input_suffix: str = "\n"
    reference_prefix: str = "A. "
    reference_suffix: str = "\n"
    output_prefix: str = "Output: "
    output_suffix: str = "\n"
    instance_prefix: str = "\n"
    chain_of_thought: bool = False
    chain_of_thought_prefix: str = ""
    chain_of_thought_suffix: str = "\n"
    shots: int = 5
    sample_train: bool = True
    trials: int = 1
    outputs: int = 1
    temperature: float = 0.0
    max_tokens: int = 100
    stop: tuple[str, ...] = ("\n",)
    multi_label: bool = False
    system: str = ""
    tools: tuple[str, ...] = ()
    confidence: Confidence = ""
    confidence_samples: int = 0

    def __post_init__(self) -> None:
        if self.shots < 0 or self.trials < 1 or self.outputs < 1 or self.max_tokens < 0:
            raise ValueError("shots, max_tokens: not negative; trials, outputs: at least 1")
        if (self.confidence == "sampled") != (self.confidence_samples > 0):
            raise ValueError("confidence_samples: at least 1 for a sampled confidence, 0 for any other")
