"""Ranking: of each passage by itself the model is asked whether it answers the query, and says yes or no (HELM,
``binary_ranking_adapter.py``; Nogueira & Cho 2019 rank by the probability of the answer).

An example is a query with all its passages, one block each. The metric orders passages by answer and log-probability;
``probabilities`` are those of "Yes", scaled to sum to 1 over the passages, and () where they are not known.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from commonweal.core.completion import Choice, CompletionFailed
from commonweal.evals.adaptation import Adaptation
from commonweal.evals.adapters.asking import Asking
from commonweal.evals.adapters.prompt import Prompts, Turn
from commonweal.evals.instance import Instance, Reference
from commonweal.evals.sample import Answer, Ask, Sample

YES, NO = "Yes", "No"
_ALTERNATIVES = 5


class RankingForm:
    """A passage, the query, and whether the one answers the other."""

    def __init__(self, adaptation: Adaptation) -> None:
        self._adaptation = adaptation

    def shown(self, instance: Instance) -> list[Turn]:
        return [
            Turn(
                question=self._question(instance, reference) + self._adaptation.output_prefix,
                answer=YES if reference.correct else NO,
            )
            for reference in instance.references
        ]

    def asked(self, instance: Instance, reference: Reference) -> str:
        return self._question(instance, reference) + self._adaptation.output_prefix.rstrip()

    def _question(self, instance: Instance, reference: Reference) -> str:
        adaptation = self._adaptation
        passage = adaptation.reference_prefix + reference.text + adaptation.reference_suffix
        return passage + adaptation.input_prefix + instance.input + adaptation.input_suffix


class RankingAdapter:
    """One request a passage."""

    def __init__(self, asking: Asking) -> None:
        self._asking = asking
        self._form = RankingForm(asking.adaptation)
        self._prompts = Prompts(asking.adaptation, self._form, asking.tokens)

    def asks(
        self, instance: Instance, examples: Sequence[Instance], answers: Sequence[Answer]
    ) -> tuple[Ask, ...]:
        if answers:
            return ()
        if self._asking.abilities.logprobs is False:
            raise CompletionFailed(
                "unsupported", "the model gives no log-probabilities, by which passages are ranked"
            )
        return tuple(self._ask(instance, index, examples) for index in range(len(instance.references)))

    def _ask(self, instance: Instance, index: int, examples: Sequence[Instance]) -> Ask:
        asking, adaptation = self._asking, self._asking.adaptation
        prompt, fitted = asking.prompt(
            self._prompts,
            self._prompts.shown(examples),
            self._form.asked(instance, instance.references[index]),
            instance,
            least=len(adaptation.reference_prefix),
        )
        request = asking.request(prompt, stop=adaptation.stop, logprobs=_ALTERNATIVES)
        return Ask(
            role=f"passage {index}",
            request=request,
            index=index,
            shots=fitted.shots,
            truncated=fitted.truncated,
        )

    def sample(self, instance: Instance, trial: int, answers: Sequence[Answer]) -> Sample:
        """``chosen`` is the passage with the likeliest "Yes"."""
        found = [_yes(answer.completion.choices[0]) for answer in answers]
        known = [p for p in found if p is not None]
        total = sum(known)
        whole = total > 0 and len(known) == len(instance.references)
        probabilities = tuple(p / total for p in known) if whole else ()
        best = max(range(len(known)), key=lambda i: (known[i], -i)) if whole else None
        return Sample(
            instance=instance,
            adaptation=self._asking.adaptation,
            trial=trial,
            answers=tuple(answers),
            output="" if best is None else instance.references[best].text,
            chosen=best,
            probabilities=probabilities,
        )


def _yes(choice: Choice) -> float | None:
    """The probability of yes, of yes and no together, at the first token; or by the answer's own probability."""
    if choice.tokens and choice.tokens[0].top:
        weights = {YES.lower(): 0.0, NO.lower(): 0.0}
        for text, logprob in choice.tokens[0].top.items():
            word = text.strip(" ▁Ġ\n").lower()
            if word in weights:
                weights[word] += math.exp(min(0.0, logprob))
        if total := sum(weights.values()):
            return weights[YES.lower()] / total
    said = choice.text.strip().lower()
    if choice.logprob is None or said not in (YES.lower(), NO.lower()):
        return None
    probability = math.exp(min(0.0, choice.logprob))
    return probability if said == YES.lower() else 1 - probability
