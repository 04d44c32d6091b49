"""Held-out feedback as questions to a model, and its answers as numbers: does it find the better answer likelier?

``dpo`` lines: 1 where the preferred answer has the higher log-probability a token than the other, 1/2 where both have
the same. ``sft`` lines: the log-probability a token of the ideal answer (nats). ``kto`` lines: of an answer that was
found good its log-probability a token, of a bad one minus that; so more is better throughout. Scored, not generated:
one forward pass an answer, no judge, the same number every time.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from commonweal.core.completion import Choice, Message, Request, Role, ToolCall
from commonweal.core.errors import DataError
from commonweal.core.hashing import content_hash
from commonweal.serve.community.gate import Scenario, paired

METRICS: dict[str, str] = {
    "dpo": "share of pairs in which the preferred answer is likelier",
    "sft": "log-probability a token of the ideal answer",
    "kto": "log-probability a token of good answers, and minus that of bad ones",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One held-out line: its context, and the answers that are scored with the weight of each."""

    id: str
    format: Literal["dpo", "sft", "kto"]
    context: tuple[Message, ...]
    answers: tuple[str, ...]
    good: bool = True


def questions(file: str, data: bytes) -> Iterator[Question]:
    """The lines of ``sft.heldout.jsonl`` and its like. Raises DataError with the line that cannot be read."""
    format = file.split(".", 1)[0]
    for number, line in enumerate(data.rstrip(b"\n").split(b"\n") if data else (), 1):
        try:
            yield _question(format, content_hash(line), json.loads(line))
        except (ValueError, KeyError, TypeError, IndexError) as error:
            raise DataError(
                f"{file}: line {number}: {error}", hint="files of a community data set are read"
            ) from None


def _question(format: str, id: str, line: Mapping[str, Any]) -> Question:
    match format:
        case "dpo":
            pair = (line["preferred_output"][0]["content"], line["non_preferred_output"][0]["content"])
            return Question(id=id, format="dpo", context=_messages(line["input"]["messages"]), answers=pair)
        case "sft":
            *before, ideal = line["messages"]
            return Question(id=id, format="sft", context=_messages(before), answers=(ideal["content"],))
        case "kto":
            *before, answer = line["messages"]
            return Question(
                id=id,
                format="kto",
                context=_messages(before),
                answers=(answer["content"],),
                good=bool(line["label"]),
            )
        case _:
            raise ValueError(f"unknown format '{format}'")


def _messages(plain: Sequence[Mapping[str, Any]]) -> tuple[Message, ...]:
    return tuple(
        Message(role=_role(m["role"]), content=m["content"] or "", tool_calls=_calls(m.get("tool_calls", ())))
        for m in plain
    )


def _role(text: str) -> Role:
    if text not in ("system", "user", "assistant", "tool"):
        raise ValueError(f"unknown role '{text}'")
    return text  # type: ignore[return-value]  # checked above


def _calls(plain: Sequence[Mapping[str, Any]]) -> tuple[ToolCall, ...]:
    return tuple(
        ToolCall(id=c["id"], name=c["function"]["name"], arguments=c["function"]["arguments"]) for c in plain
    )


def requests(question: Question, model: str) -> tuple[Request, ...]:
    """What to ask ``model`` for this question: one scored continuation an answer."""
    return tuple(
        Request(
            model=model,
            kind="score",
            messages=question.context,
            continuation=answer,
            max_tokens=0,
            logprobs=0,
        )
        for answer in question.answers
    )


def value(question: Question, scored: Sequence[Choice]) -> float | None:
    """The number of a question; None where the model told no log-probabilities."""
    means = [_per_token(choice) for choice in scored]
    if any(mean is None for mean in means):
        return None
    known = [mean for mean in means if mean is not None]
    if question.format == "dpo":
        better, worse = known
        return 0.5 if better == worse else float(better > worse)
    return known[0] if question.good else -known[0]


def _per_token(choice: Choice) -> float | None:
    logprobs = [token.logprob for token in choice.tokens if token.logprob is not None]
    return sum(logprobs) / len(logprobs) if logprobs else None


def compared(
    current: Mapping[str, Mapping[str, float]], candidate: Mapping[str, Mapping[str, float]]
) -> list[Scenario]:
    """Both models' values as scenarios of the gate."""
    return [
        paired(f"feedback/{format}", METRICS[format], current[format], candidate[format])
        for format in METRICS
        if format in current and format in candidate
    ]
