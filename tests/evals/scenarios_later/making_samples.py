"""Samples for tests of metrics, without an adapter; and a judge who says what he is told to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from commonweal.core.completion import (
    Abilities,
    Choice,
    Completion,
    CompletionFailed,
    FailureKind,
    Request,
)
from commonweal.evals.adaptation import Adaptation
from commonweal.evals.instance import Instance, Reference
from commonweal.evals.sample import Answer, Ask, Sample


def instance(*correct: str, text: str = "?", turns: tuple[str, ...] = (), **extra: Any) -> Instance:
    references = tuple(Reference(text=one, correct=True) for one in correct)
    return Instance(id="i", input=text, references=references, turns=turns, extra=extra)


def sample(of: Instance, *outputs: str, adaptation: Adaptation | None = None, **annotations: Any) -> Sample:
    """One answer with a choice for each output; for an instance with turns, one answer for each."""
    groups = [(text,) for text in outputs] if of.turns else [outputs]
    answers = tuple(
        Answer(
            ask=Ask(role="output" if n == 0 else f"turn {n}", request=Request(model="m", prompt=of.input)),
            completion=Completion(choices=tuple(Choice(text=text) for text in group)),
        )
        for n, group in enumerate(groups)
    )
    return Sample(
        instance=of,
        adaptation=adaptation or Adaptation(stop=()),
        trial=0,
        answers=answers,
        output=outputs[-1].strip() if outputs else "",
        outputs=tuple(text.strip() for text in outputs),
        annotations=annotations,
    )


class Judge:
    """A completer that answers by a function of the last message, or fails."""

    abilities = Abilities()

    def __init__(self, say: Callable[[str], str] | FailureKind) -> None:
        self._say = say
        self.asked: list[Request] = []

    async def complete(self, request: Request) -> Completion:
        self.asked.append(request)
        if not callable(self._say):
            raise CompletionFailed(self._say, "the judge is out")
        assert request.messages is not None
        return Completion(choices=(Choice(text=self._say(request.messages[-1].content)),))

    async def close(self) -> None:
        pass
