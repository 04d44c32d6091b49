"""Asking how sure a model is of its answer, where it tells no log-probabilities.

Decides whether an adaptation is asked so (:func:`eliciting`), and asks (:class:`ConfidenceAdapter`, around the adapter
of any method): once the answer is there, either for some more samples of it, or, in words, for the probability that it
is right (Tian et al. 2023, Just Ask for Calibration, arXiv 2305.14975: "label probability" and "verb. 2S"). Knows no
metric: what came of it stands in the sample's annotation :data:`CONFIDENCE`, with its source.

Only answers to unperturbed instances are asked about, and only where a correct reference is known. What is asked here
is no part of the answer (:attr:`Ask.beside`): where it fails, the answer counts as before and has no confidence.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal, get_args

from commonweal.core.completion import Abilities, CompletionFailed, Message, Request
from commonweal.core.errors import ConfigError
from commonweal.evals.adaptation import Adaptation
from commonweal.evals.adapters.adapter import Adapter
from commonweal.evals.adapters.asking import Asking
from commonweal.evals.adapters.generation import stopped
from commonweal.evals.instance import Instance
from commonweal.evals.sample import BESIDE, CONFIDENCE, Answer, Ask, Sample

Wish = Literal["auto", "logprobs", "sampled", "verbalized", "none"]
SAMPLES = 5
SHORT_TOKENS = 32
"""An answer of so many tokens is short; so is one that ends with its line."""

QUESTION = (
    "How likely is it that this answer is right? Say one number from 0 (certainly wrong) to 100 (certainly right), and"
    " nothing else."
)
CUE = "Probability (0 to 100):"
STATED_TOKENS = 16
SAMPLED_TEMPERATURE = 1.0

_STATED = re.compile(
    r"(?:probability|confidence)?(?:\s*\(0 to 100\))?\s*:?\s*(?P<number>\d{1,3}(?:\.\d+)?)\s*%?\.?",
    re.IGNORECASE,
)
_COMPARED = frozenset(
    {
        "exact_match",
        "quasi_exact_match",
        "prefix_exact_match",
        "quasi_prefix_exact_match",
        "f1_score",
        "bbq_accuracy",
    }
)
"""Main metrics that compare the whole answer with the references, so that two answers can be said to be the same."""


def check_wish(text: str) -> str:
    """``text``, if it is a :data:`Wish`. Raises ConfigError."""
    if text not in get_args(Wish):
        raise ConfigError(f"--confidence {text}: not known", hint=f"one of {', '.join(get_args(Wish))}")
    return text


def eliciting(
    adaptation: Adaptation, abilities: Abilities, wish: str, main_metric: str
) -> tuple[Adaptation, str]:
    """The adaptation with what is asked about its answers' confidence, and why ("" where there is nothing to say).

    ``auto`` leaves it to log-probabilities, and asks a model that has none for more samples where answers are short.
    """
    if wish in ("logprobs", "none") or (wish == "auto" and abilities.logprobs is not False):
        return adaptation, ""
    if wish == "auto" and not _is_compared(adaptation, main_metric):
        return adaptation, ""  # nobody asked, and there is nothing to be calibrated
    unable = _unable(adaptation, wish, main_metric)
    if unable:
        return adaptation, f"no confidence is asked for: {unable}"
    if wish == "verbalized":
        return replace(
            adaptation, confidence="verbalized"
        ), "confidence is what the model states when asked for it"
    why = ": the model gives no log-probabilities" if wish == "auto" else ""
    made = replace(adaptation, confidence="sampled", confidence_samples=SAMPLES)
    return made, f"confidence is the share of {SAMPLES} more samples that give the same answer{why}"


def _is_compared(adaptation: Adaptation, main_metric: str) -> bool:
    """Whether of a whole written answer can be said that it is right."""
    return adaptation.method == "multiple_choice_joint" or (
        adaptation.method == "generation" and main_metric in _COMPARED
    )


def _unable(adaptation: Adaptation, wish: str, main_metric: str) -> str:
    if adaptation.method not in ("generation", "multiple_choice_joint"):
        return f"{adaptation.method} has no written answer to ask about"
    if not _is_compared(adaptation, main_metric):
        return f"{main_metric} does not say of a whole answer whether it is right"
    if wish == "verbalized":
        return ""
    if adaptation.outputs > 1:
        return "several outputs are sampled anyway"
    if wish == "auto" and not _is_short(adaptation):
        return "answers are too long to be sampled (--confidence verbalized asks the model instead)"
    return ""


def _is_short(adaptation: Adaptation) -> bool:
    if adaptation.chain_of_thought:
        return False
    choice = adaptation.method == "multiple_choice_joint"
    return choice or adaptation.max_tokens <= SHORT_TOKENS or "\n" in adaptation.stop


class ConfidenceAdapter:
    """An adapter of another method, and after its last answer the requests about that answer's confidence."""

    def __init__(self, inner: Adapter, asking: Asking) -> None:
        self._inner, self._asking = inner, asking

    def asks(
        self, instance: Instance, examples: Sequence[Instance], answers: Sequence[Answer]
    ) -> Sequence[Ask]:
        if any(answer.ask.beside for answer in answers):
            return ()
        asks = self._inner.asks(instance, examples, answers)
        if asks or not answers or instance.perturbation or not instance.correct:
            return asks
        if self._asking.adaptation.confidence == "verbalized":
            return self._in_words(answers[-1])
        return self._samples(answers[-1].ask)

    def _samples(self, asked: Ask) -> tuple[Ask, ...]:
        adaptation = self._asking.adaptation
        again = replace(
            asked.request, n=1, logprobs=None, temperature=adaptation.temperature or SAMPLED_TEMPERATURE
        )
        return tuple(
            replace(asked, role=f"{BESIDE} {i}", request=replace(again, sample=i))
            for i in range(1, adaptation.confidence_samples + 1)
        )

    def _in_words(self, answer: Answer) -> tuple[Ask, ...]:
        """The question behind the answer; nothing where both do not fit the window."""
        asked, adaptation = answer.ask.request, self._asking.adaptation
        said = stopped(answer.completion.text, adaptation.stop)
        try:
            request = self._asked_in_words(asked, said)
        except CompletionFailed:
            return ()
        return (Ask(role=f"{BESIDE} 1", request=request, shots=answer.ask.shots),)

    def _asked_in_words(self, asked: Request, said: str) -> Request:
        plain = replace(
            asked, n=1, logprobs=None, temperature=0.0, max_tokens=STATED_TOKENS, stop=("\n",), sample=0
        )
        if asked.messages is None:
            prompt = f"{asked.prompt} {said}\n\n{QUESTION}\n{CUE}"
            window = self._asking.abilities.window
            if window is not None and self._asking.tokens.count(prompt) + STATED_TOKENS > window:
                raise CompletionFailed("too_long", "no room for a question about the answer")
            return replace(plain, prompt=prompt)
        more = (Message(role="assistant", content=said), Message(role="user", content=QUESTION))
        messages = (*asked.messages, *more)
        self._asking.fits(messages)
        return replace(plain, messages=messages, stop=())

    def sample(self, instance: Instance, trial: int, answers: Sequence[Answer]) -> Sample:
        own = tuple(answer for answer in answers if not answer.ask.beside)
        beside = tuple(answer for answer in answers if answer.ask.beside)
        sample = self._inner.sample(instance, trial, own)
        if not beside:
            return sample
        return replace(
            sample,
            beside=beside,
            annotations={**sample.annotations, CONFIDENCE: self._found(instance, trial, beside)},
        )

    def _found(self, instance: Instance, trial: int, beside: Sequence[Answer]) -> dict[str, Any]:
        source = self._asking.adaptation.confidence
        if source == "verbalized":
            return {"source": source, "stated": stated(beside[0].completion.text)}
        outputs = [self._inner.sample(instance, trial, (answer,)).output for answer in beside]
        return {"source": source, "outputs": outputs}


def stated(text: str) -> float | None:
    """The probability that an answer to :data:`QUESTION` states, as a share; None for anything but one number from 0 to
    100. A fraction of 1 might mean either, and is none.

    >>> [stated(text) for text in ("85", " 90%.", "Probability: 7", "0", "0.9", "101", "80 or 90", "I am sure", "")]
    [0.85, 0.9, 0.07, 0.0, None, None, None, None, None]
    """
    found = _STATED.fullmatch(text.strip().strip("*").strip())
    if found is None:
        return None
    number = float(found["number"])
    return None if number > 100 or ("." in found["number"] and number <= 1) else number / 100
