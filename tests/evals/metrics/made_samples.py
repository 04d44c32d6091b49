"""Samples made by hand, for the tests of metrics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from commonweal.core.completion import Choice, Completion, Request, Timing, Token
from commonweal.evals.adaptation import Adaptation, Method
from commonweal.evals.instance import Instance, Reference
from commonweal.evals.sample import Answer, Ask, Failure, Sample


def references(options: Sequence[str], right: Sequence[str] = ()) -> tuple[Reference, ...]:
    return tuple(Reference(text=text, correct=text in right) for text in options)


def generated(
    output: str,
    golds: Sequence[str] = (),
    *,
    id: str = "id1",
    outputs: Sequence[str] = (),
    logprobs: Sequence[float | None] = (),
    input: str = "question",
    split: Any = "test",
    subset: str = "",
    perturbation: str = "",
    trial: int = 0,
    extra: Mapping[str, Any] | None = None,
    failure: Failure | None = None,
) -> Sample:
    """An answer of the generation method; ``logprobs`` are those of the outputs."""
    texts = tuple(outputs) or (output,)
    given = tuple(logprobs) or (None,) * len(texts)
    choices = tuple(
        Choice(text=text, logprob=p, tokens=() if p is None else (Token(text=text, logprob=p),))
        for text, p in zip(texts, given, strict=True)
    )
    ask = Ask(role="output", request=Request(model="m", prompt=input, n=len(texts)))
    return Sample(
        instance=Instance(
            id=id,
            input=input,
            references=references(golds, golds),
            split=split,
            subset=subset,
            perturbation=perturbation,
            extra=extra or {},
        ),
        adaptation=Adaptation(outputs=len(texts)),
        trial=trial,
        answers=() if failure else (Answer(ask=ask, completion=Completion(choices=choices)),),
        output=output,
        outputs=tuple(outputs),
        failure=failure,
    )


def chosen(
    options: Sequence[str],
    right: Sequence[str],
    index: int | None,
    *,
    id: str = "id1",
    method: Method = "multiple_choice_joint",
    probabilities: Sequence[float] = (),
    logprob: float | None = None,
    output: str | None = None,
    extra: Mapping[str, Any] | None = None,
    perturbation: str = "",
    subset: str = "",
    trial: int = 0,
) -> Sample:
    """An answer of a multiple-choice method."""
    text = output if output is not None else (options[index] if index is not None else "")
    ask = Ask(role="output", request=Request(model="m", prompt="question"))
    choice = Choice(text=text, logprob=logprob)
    return Sample(
        instance=Instance(
            id=id,
            input="question",
            references=references(options, right),
            extra=extra or {},
            perturbation=perturbation,
            subset=subset,
        ),
        adaptation=Adaptation(method=method),
        trial=trial,
        answers=(Answer(ask=ask, completion=Completion(choices=(choice,))),),
        output=text,
        chosen=index,
        probabilities=tuple(probabilities),
    )


def asked(
    instance: Instance,
    parts: Sequence[tuple[str, int, str, float | None]],
    method: Method,
    kind: Any = "generate",
) -> Sample:
    """A sample of several requests, each (role, index, text, log-probability); ``kind`` "score" puts the text into the
    continuation."""
    answers = []
    for role, index, text, logprob in parts:
        request = Request(model="m", kind=kind, prompt="", continuation=text if kind == "score" else "")
        choice = Choice(
            text="" if kind == "score" else text,
            logprob=logprob,
            tokens=tuple(Token(text=word) for word in text.split()),
        )
        answers.append(
            Answer(ask=Ask(role=role, request=request, index=index), completion=Completion(choices=(choice,)))
        )
    return Sample(instance=instance, adaptation=Adaptation(method=method), trial=0, answers=tuple(answers))


def timed(*completions: Completion) -> Sample:
    """A sample of these completions."""
    request = Request(model="m", prompt="question")
    return Sample(
        instance=Instance(id="id1", input="question"),
        adaptation=Adaptation(),
        trial=0,
        answers=tuple(
            Answer(ask=Ask(role="output", request=request, shots=2), completion=c) for c in completions
        ),
    )


def completion(text: str, *, total: float = 0.0, first: float | None = None, **more: Any) -> Completion:
    return Completion(
        choices=(Choice(text=text, finish=more.pop("finish", "stop")),),
        timing=Timing(total=total, first_token=first, queued=more.pop("queued", 0.0)),
        **more,
    )
