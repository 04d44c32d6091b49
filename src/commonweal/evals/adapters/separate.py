"""Multiple choice, each option scored by itself (HELM, ``multiple_choice_separate_adapter.py`` and
``multiple_choice_calibrated_adapter.py``; Brown et al. 2020, section 2.4).

An option's score is the log-probability of its text after the prompt, over its number of tokens; calibrated, it is the
log-probability less that of the same text after the input "Answer:", without examples. The highest score is the
choice, the first of equals; ``probabilities`` are the softmax of the scores, as HELM's ``max_prob``.

HELM's prompt, prompt and option together, is byte for byte our ``prompt`` and ``continuation``. White space before
the option is scored with it, as it belongs to its first token. What HELM's output suffix would add behind the option
is left away.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from commonweal.core.completion import CompletionFailed
from commonweal.evals.adapters.asking import Asking
from commonweal.evals.adapters.generation import GenerationForm
from commonweal.evals.adapters.prompt import Prompts, Shown
from commonweal.evals.instance import Instance
from commonweal.evals.sample import Answer, Ask, Sample

UNCONDITIONAL_INPUT = "Answer:"


class SeparateAdapter:
    """One request an option, and with ``calibrated`` a second one."""

    def __init__(self, asking: Asking, *, calibrated: bool = False) -> None:
        self._asking = asking
        self._calibrated = calibrated
        self._form = GenerationForm(asking.adaptation)
        self._prompts = Prompts(asking.adaptation, self._form, asking.tokens)
        self._none = self._prompts.shown(())

    def asks(
        self, instance: Instance, examples: Sequence[Instance], answers: Sequence[Answer]
    ) -> tuple[Ask, ...]:
        if answers:
            return ()
        if instance.images:
            raise CompletionFailed("unsupported", "pictures cannot be scored option by option")
        made = self._scored("reference", instance, self._prompts.shown(examples))
        if self._calibrated:
            made += self._scored("calibration", replace(instance, input=UNCONDITIONAL_INPUT), self._none)
        return tuple(made)

    def _scored(self, role: str, instance: Instance, shown: Shown) -> list[Ask]:
        left = self._form.whole(instance)
        made = []
        for index, reference in enumerate(instance.references):
            fitted = self._prompts.fit(shown, left + reference.text, self._asking.budget(0), least=None)
            prompt = (shown.heads[fitted.shots] + left).rstrip()
            request = self._asking.score(prompt, fitted.text[len(prompt) :])
            made.append(Ask(role=f"{role} {index}", request=request, index=index, shots=fitted.shots))
        return made

    def sample(self, instance: Instance, trial: int, answers: Sequence[Answer]) -> Sample:
        """Raises CompletionFailed where an answer has no log-probability."""
        count = len(instance.references)
        if self._calibrated:
            scores = [
                _logprob(original) - _logprob(alone)
                for original, alone in zip(answers[:count], answers[count:], strict=True)
            ]
        else:
            scores = [_logprob(answer) / _length(answer) for answer in answers]
        best = max(range(count), key=lambda i: (scores[i], -i)) if count else None
        return Sample(
            instance=instance,
            adaptation=self._asking.adaptation,
            trial=trial,
            answers=tuple(answers),
            output="" if best is None else instance.references[best].text,
            chosen=best,
            probabilities=softmax(scores),
        )


def softmax(scores: Sequence[float]) -> tuple[float, ...]:
    """
    >>> softmax([0.0, 0.0])
    (0.5, 0.5)
    """
    if not scores:
        return ()
    top = max(scores)
    weights = [math.exp(score - top) for score in scores]
    total = sum(weights)
    return tuple([weight / total for weight in weights])


def _logprob(answer: Answer) -> float:
    choice = answer.completion.choices[0]
    if choice.logprob is not None:
        return choice.logprob
    known = [token.logprob for token in choice.tokens if token.logprob is not None]
    if not known or len(known) < len(choice.tokens):
        raise CompletionFailed("unsupported", f"no log-probability came for {answer.ask.role}")
    return math.fsum(known)


def _length(answer: Answer) -> int:
    tokens = len(answer.completion.choices[0].tokens)
    if not tokens and answer.ask.request.continuation:
        raise CompletionFailed("unsupported", f"the tokens of {answer.ask.role} were not told")
    return max(1, tokens)
