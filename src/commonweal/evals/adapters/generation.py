"""Generation: the model writes the output. Also chats of several turns, in which each answer becomes part of the
conversation before the user goes on (``Instance.turns``).

The prompt is that of HELM's ``generation_adapter.py``. The output is the answer up to the first stop text (which some
servers do not honour), without white space around it.
"""

from __future__ import annotations

from collections.abc import Sequence

from commonweal.core.completion import Choice, Message
from commonweal.evals.adaptation import Adaptation
from commonweal.evals.adapters.asking import Asking
from commonweal.evals.adapters.prompt import Prompts, Turn
from commonweal.evals.instance import Instance
from commonweal.evals.sample import Answer, Ask, Sample

NO_CORRECT_REFERENCE = "n/a"


class GenerationForm:
    """An instance is its input and its correct reference."""

    def __init__(self, adaptation: Adaptation) -> None:
        self._adaptation = adaptation
        self._ending = adaptation.input_suffix + adaptation.output_prefix.rstrip()

    def shown(self, instance: Instance) -> tuple[Turn]:
        answer = correct_text(instance, self._adaptation)
        return (Turn(question=self.whole(instance), answer=with_thought(answer, instance, self._adaptation)),)

    def whole(self, instance: Instance) -> str:
        """All that stands before the answer."""
        adaptation = self._adaptation
        return adaptation.input_prefix + instance.input + adaptation.input_suffix + adaptation.output_prefix

    def asked(self, instance: Instance) -> str:
        return self._adaptation.input_prefix + instance.input + self._ending


def correct_text(instance: Instance, adaptation: Adaptation) -> str:
    """The first correct reference, or all of them where several labels are expected; "n/a" where there is none."""
    correct = instance.correct
    if not correct:
        return NO_CORRECT_REFERENCE
    return ", ".join(correct) if adaptation.multi_label else correct[0]


def with_thought(answer: str, instance: Instance, adaptation: Adaptation) -> str:
    """The answer with the worked solution before it, where examples think aloud."""
    if not adaptation.chain_of_thought:
        return answer
    thought = str(instance.extra.get("thought", ""))
    return adaptation.chain_of_thought_prefix + thought + adaptation.chain_of_thought_suffix + answer


class GenerationAdapter:
    """One request, or one for each turn of the user."""

    def __init__(self, asking: Asking) -> None:
        adaptation = asking.adaptation
        self._asking = asking
        self._form = GenerationForm(adaptation)
        self._prompts = Prompts(adaptation, self._form, asking.tokens)
        self._logprobs = 0 if asking.abilities.logprobs else None

    def asks(
        self, instance: Instance, examples: Sequence[Instance], answers: Sequence[Answer]
    ) -> tuple[Ask, ...]:
        if answers:
            return self._next_turn(instance, answers)
        asking, adaptation = self._asking, self._asking.adaptation
        prompt, fitted = asking.prompt(
            self._prompts,
            self._prompts.shown(examples),
            self._form.asked(instance),
            instance,
            least=len(adaptation.input_prefix),
        )
        request = asking.request(
            prompt,
            n=1 if instance.turns else adaptation.outputs,
            stop=adaptation.stop,
            logprobs=self._logprobs,
        )
        role = "turn 1" if instance.turns else "output"
        return (Ask(role=role, request=request, shots=fitted.shots, truncated=fitted.truncated),)

    def _next_turn(self, instance: Instance, answers: Sequence[Answer]) -> tuple[Ask, ...]:
        if len(answers) > len(instance.turns):
            return ()
        last = answers[-1]
        said = Message(role="assistant", content=last.completion.text)
        more = Message(role="user", content=instance.turns[len(answers) - 1])
        messages = (*(last.ask.request.messages or ()), said, more)
        self._asking.fits(messages)
        request = self._asking.request(messages, stop=self._asking.adaptation.stop, logprobs=self._logprobs)
        return (Ask(role=f"turn {len(answers) + 1}", request=request, shots=last.ask.shots),)

    def sample(self, instance: Instance, trial: int, answers: Sequence[Answer]) -> Sample:
        """``output`` is the likeliest answer (the last one of a chat), ``outputs`` are all where there are several."""
        adaptation = self._asking.adaptation
        if instance.turns:
            texts = tuple(stopped(answer.completion.text, adaptation.stop) for answer in answers)
            output = texts[-1]
        else:
            choices = answers[0].completion.choices
            texts = tuple(stopped(choice.text, adaptation.stop) for choice in choices)
            output = texts[_likeliest(choices)]
        return Sample(
            instance=instance,
            adaptation=adaptation,
            trial=trial,
            answers=tuple(answers),
            output=output,
            outputs=texts if len(texts) > 1 else (),
        )


def stopped(text: str, stops: Sequence[str]) -> str:
    """The text up to the first stop text, stripped."""
    for stop in stops:
        if stop and (at := text.find(stop)) >= 0:
            text = text[:at]
    return text.strip()


def _likeliest(choices: Sequence[Choice]) -> int:
    """HELM takes the most probable of several outputs for its answer; the first where no probability is known."""
    if len(choices) == 1:
        return 0
    return max(range(len(choices)), key=lambda i: (choices[i].logprob or 0.0, -i))
