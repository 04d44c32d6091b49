"""Multiple choice, all options in one prompt, answered by a letter (HELM, ``multiple_choice_joint_adapter.py``), also
with a worked solution before the letter (``multiple_choice_joint_chain_of_thought_adapter.py``).

``probabilities`` are those of the options' letters among the alternatives that the model told for the token of its
answer, scaled to sum to 1: a letter that is not among them has 0. They are () where there are no alternatives.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from commonweal.core.completion import Choice, Token
from commonweal.evals.adaptation import Adaptation
from commonweal.evals.adapters.asking import Asking
from commonweal.evals.adapters.generation import NO_CORRECT_REFERENCE, with_thought
from commonweal.evals.adapters.letters import chosen, concluded, first_alphanumeric, labels, prefixes
from commonweal.evals.adapters.prompt import Prompts, Turn
from commonweal.evals.instance import Instance
from commonweal.evals.sample import Answer, Ask, Sample

ALTERNATIVES = 5
"""How many alternatives are asked for: HELM's, and the most that some servers give."""

_AROUND = " \t\n▁Ġ()*[].:"


class JointForm:
    """An instance is its input, its options each after a letter, and the letter of the correct one."""

    def __init__(self, adaptation: Adaptation) -> None:
        self._adaptation = adaptation
        self._prefix = adaptation.reference_prefix
        first_alphanumeric(self._prefix)

    def shown(self, instance: Instance) -> tuple[Turn]:
        question = self._question(instance) + self._adaptation.output_prefix
        return (
            Turn(question=question, answer=with_thought(self._answer(instance), instance, self._adaptation)),
        )

    def asked(self, instance: Instance) -> str:
        return self._question(instance) + self._adaptation.output_prefix.rstrip()

    def _question(self, instance: Instance) -> str:
        adaptation = self._adaptation
        references = instance.references
        suffix = adaptation.reference_suffix
        options = "".join(
            [
                prefix + reference.text + suffix
                for prefix, reference in zip(prefixes(self._prefix, len(references)), references, strict=True)
            ]
        )
        return adaptation.input_prefix + instance.input + adaptation.input_suffix + options

    def _answer(self, instance: Instance) -> str:
        """The letter; after a worked solution HELM writes the whole prefix ("B. ")."""
        write = prefixes if self._adaptation.chain_of_thought else labels
        names = write(self._prefix, len(instance.references))
        correct = [
            name for name, reference in zip(names, instance.references, strict=True) if reference.correct
        ]
        if not correct:
            return NO_CORRECT_REFERENCE
        return ", ".join(correct) if self._adaptation.multi_label else correct[0]


class JointAdapter:
    """One request an instance."""

    def __init__(self, asking: Asking) -> None:
        self._asking = asking
        self._form = JointForm(asking.adaptation)
        self._prompts = Prompts(asking.adaptation, self._form, asking.tokens)

    def asks(
        self, instance: Instance, examples: Sequence[Instance], answers: Sequence[Answer]
    ) -> tuple[Ask, ...]:
        if answers:
            return ()
        asking, adaptation = self._asking, self._asking.adaptation
        prompt, fitted = asking.prompt(
            self._prompts,
            self._prompts.shown(examples),
            self._form.asked(instance),
            instance,
            least=len(adaptation.input_prefix),
        )
        # HELM stops a joint answer nowhere; several outputs make sense at a temperature only
        request = asking.request(
            prompt,
            n=adaptation.outputs if adaptation.temperature > 0 else 1,
            logprobs=asking.logprobs(ALTERNATIVES),
        )
        return (Ask(role="output", request=request, shots=fitted.shots, truncated=fitted.truncated),)

    def sample(self, instance: Instance, trial: int, answers: Sequence[Answer]) -> Sample:
        """``output`` is the chosen option's text, or what the model wrote where it chose none; so are ``outputs``,
        where there are several."""
        choices = answers[0].completion.choices
        names = labels(self._asking.adaptation.reference_prefix, len(instance.references))
        options = [reference.text for reference in instance.references]
        picks = [self._pick(choice.text, names, options) for choice in choices]
        texts = tuple(
            choice.text.strip() if pick is None else options[pick]
            for choice, pick in zip(choices, picks, strict=True)
        )
        return Sample(
            instance=instance,
            adaptation=self._asking.adaptation,
            trial=trial,
            answers=tuple(answers),
            output=texts[0],
            outputs=texts if len(texts) > 1 else (),
            chosen=picks[0],
            probabilities=letter_probabilities(choices[0], names, picks[0]),
        )

    def _pick(self, text: str, names: Sequence[str], options: Sequence[str]) -> int | None:
        adaptation = self._asking.adaptation
        if adaptation.chain_of_thought:
            return concluded(text, names, options, adaptation)
        return chosen(text, names, options)


def letter_probabilities(choice: Choice, names: Sequence[str], pick: int | None) -> tuple[float, ...]:
    """The probabilities of the letters at the token where the answer stands; () where they are not known."""
    token = _answer_token(choice.tokens, names, pick)
    if token is None or not token.top:
        return ()
    weight = dict.fromkeys(names, 0.0)
    for text, logprob in token.top.items():
        letter = text.strip(_AROUND)
        if letter in weight:
            weight[letter] += math.exp(min(0.0, logprob))
    total = sum(weight.values())
    return tuple([w / total for w in weight.values()]) if total > 0 else ()


def _answer_token(tokens: Sequence[Token], names: Sequence[str], pick: int | None) -> Token | None:
    """The only token that is the chosen letter; the first token of an answer that chose none."""
    if not tokens:
        return None
    if pick is None:
        return tokens[0]
    same = [token for token in tokens if token.text.strip(_AROUND) == names[pick]]
    return same[0] if len(same) == 1 else None
