"""From one piece of feedback to training examples, scrubbed: lines in the formats of the fine-tuning API.

    edit    -> sft  {"messages": [..., the ideal]}            and dpo: the ideal over the answer
    choice  -> dpo  {"input", "preferred_output", "non_preferred_output"}; a tie gives none
    thumb   -> kto  {"messages": [..., the answer], "label": true or false}

``kto`` is no format of OpenAI's API; it is what KTO (Ethayarajh et al. 2024) learns from.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from commonweal.serve.community.evidence import Evidence, Said
from commonweal.serve.community.scrubbing import Scrubber

Format = Literal["sft", "dpo", "kto"]
FORMATS: tuple[Format, ...] = ("sft", "dpo", "kto")

_Message = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """``line`` is JSON text without a line break. ``prompt`` is what was said before the answer and ``text`` all that
    was said, as plain text: by these two examples can be told to be alike."""

    format: Format
    line: str
    prompt: str
    text: str
    evidence: Evidence


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """``scrubbed`` counts the personal data that was replaced, by kind; ``nothing`` says why there is no example."""

    examples: tuple[Example, ...]
    scrubbed: Mapping[str, int]
    nothing: str = ""


def examples(evidence: Evidence, scrubber: Scrubber) -> Made:
    """What a model can learn from this."""
    clean = _Clean(scrubber)
    context = [clean.message(said) for said in evidence.context]
    lines = list(_lines(evidence, context, clean))
    made = tuple(
        Example(
            format=format,
            line=_json(line),
            prompt=_plain(context),
            text=_plain([*context, *answers]),
            evidence=evidence,
        )
        for format, line, answers in lines
    )
    return Made(examples=made, scrubbed=dict(clean.found), nothing="" if made else _why_nothing(evidence))


def _lines(
    evidence: Evidence, context: list[_Message], clean: _Clean
) -> Iterator[tuple[Format, dict[str, Any], list[_Message]]]:
    """Format, line, and the answers in it."""
    answer = clean.message(evidence.answer)
    if evidence.kind == "thumb" and _says_something(answer):
        label = (evidence.rating or 0) > 0
        yield "kto", {"messages": [*context, answer], "label": label}, [answer]
    elif evidence.kind == "edit" and evidence.ideal is not None:
        ideal = clean.message(Said(role="assistant", content=evidence.ideal))
        yield "sft", {"messages": [*_unweighted(context), ideal]}, [ideal]
        if ideal != answer and _says_something(answer):
            yield "dpo", _pair(context, ideal, answer), [ideal, answer]
    elif evidence.other is not None and not evidence.tie:
        other = clean.message(evidence.other)
        if other != answer and _says_something(answer) and _says_something(other):
            yield "dpo", _pair(context, answer, other), [answer, other]


def _pair(context: list[_Message], better: _Message, worse: _Message) -> dict[str, Any]:
    return {
        "input": {"messages": context},
        "preferred_output": [better],
        "non_preferred_output": [worse],
    }


def _unweighted(context: list[_Message]) -> list[_Message]:
    """Answers before the one that was edited are context: nobody said that they were good."""
    return [message | {"weight": 0} if message["role"] == "assistant" else message for message in context]


def _plain(messages: list[_Message]) -> str:
    return "\n".join(message["content"] for message in messages)


def _says_something(message: _Message) -> bool:
    return bool(message.get("content") or message.get("tool_calls"))


def _why_nothing(evidence: Evidence) -> str:
    if evidence.tie:
        return "tie"
    return "two equal drafts" if evidence.kind == "choice" else "empty answer"


class _Clean:
    """Messages as JSON, scrubbed, and the count of what was found."""

    def __init__(self, scrubber: Scrubber) -> None:
        self._scrubber = scrubber
        self.found: Counter[str] = Counter()

    def message(self, said: Said) -> _Message:
        made: _Message = {"role": said.role, "content": self._text(said.content)}
        if said.tool_calls:
            made["tool_calls"] = [
                {
                    "id": call.id,
                    "type": "function",
                    "function": {"name": call.name, "arguments": self._text(call.arguments)},
                }
                for call in said.tool_calls
            ]
        return made

    def _text(self, text: str) -> str:
        scrubbed = self._scrubber.scrub(text)
        self.found.update(scrubbed.found)
        return scrubbed.text


def _json(line: dict[str, Any]) -> str:
    """Half surrogate pairs, which UTF-8 does not have, are replaced."""
    text = json.dumps(line, ensure_ascii=False, separators=(",", ":"))
    return text.encode("utf-8", "replace").decode()
