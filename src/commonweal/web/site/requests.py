"""The requests of an instance as a page shows them: prompt or messages, answer, tokens, and what is known beside.

A run's tables keep some of it as JSON; what is none is left out, as a page is no place to fail.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from commonweal.web.site.pictures import Picture, Pictures
from commonweal.web.site.texts import Text, Texts

Facts = Sequence[tuple[str, str]]

OPEN = 6_000
"""Characters of a prompt up to which it is seen at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """A message of a chat."""

    role: str
    text: Text
    images: Sequence[Picture] = ()
    calls: Sequence[tuple[str, str]] = ()


Token = tuple[str | None, float | None, Sequence[tuple[str, float]] | None]
"""Its text, its log-probability, and those of the likeliest in its place: as the table has it, as there are so many."""


@dataclass(
    slots=True, kw_only=True
)  # not frozen, as a site has millions of them: that takes three times as long
class Asked:
    """One request. ``same`` is the role of an earlier one of this form that had the same prompt, which is then not
    shown again. ``facts`` are those that not every request of the page has."""

    role: str
    prompt: Text | None
    turns: Sequence[Turn]
    same: str
    open: bool
    continuation: Text | None
    completion: Text | None
    others: Sequence[Text]
    calls: Sequence[tuple[str, str]]
    tokens: Sequence[Token]
    tokens_left: int
    facts: Facts
    failure: str


def asked_of(
    texts: Texts,
    pictures: Pictures,
    name: str,
    requests: Sequence[tuple[Mapping[str, Any], Facts]],
    *,
    first: bool,
) -> list[Asked]:
    """The requests of one form, each with its facts. ``first`` says that it is the instance itself, whose prompt is
    seen at once."""
    seen: dict[tuple[Any, Any], str] = {}
    made = []
    for number, (row, facts) in enumerate(requests, 1):
        key = (row["prompt"], row["messages"])
        same = seen.get(key, "") if seen else ""
        made.append(_asked(texts, pictures, f"{name}-{number}", row, facts, same, first and not seen))
        seen.setdefault(key, row["role"])
    return made


def _asked(
    texts: Texts, pictures: Pictures, name: str, row: Mapping[str, Any], facts: Facts, same: str, first: bool
) -> Asked:
    prompt, messages, continuation, completion = (
        row["prompt"],
        row["messages"],
        row["continuation"],
        row["completion"],
    )
    tokens = row["tokens"] or ()
    shown = texts.prompt(prompt, f"{name}-prompt") if prompt and not same else None
    return Asked(
        role=row["role"],
        prompt=shown,
        turns=_turns(texts, pictures, messages, name) if messages and not same else (),
        same=same,
        open=first and (len(shown.beginning) if shown else len(messages or "")) <= OPEN,
        continuation=texts.shown(continuation, f"{name}-continuation") if continuation else None,
        completion=None if completion is None else texts.shown(completion, f"{name}-completion"),
        others=[
            texts.shown(str(one.get("text", "")), f"{name}-choice-{n}")
            for n, one in enumerate(_list(row["others"]), 2)
            if isinstance(one, dict)
        ]
        if row["others"]
        else (),
        calls=[_call(call) for call in _list(row["tool_calls"])] if row["tool_calls"] else (),
        tokens=tokens[: texts.tokens],
        tokens_left=max(0, len(tokens) - texts.tokens),
        facts=facts,
        failure=f"{row['failure']}: {row['message'] or ''}".rstrip(": ") if row["failure"] else "",
    )


def parsed(text: str | None) -> list[tuple[str, str]]:
    """The entries of an object in JSON, each as JSON on lines."""
    told = _json(text)
    if not isinstance(told, dict):
        return []
    return [(name, json.dumps(value, ensure_ascii=False, indent=1)) for name, value in told.items()]


def _json(text: str | None) -> Any:
    try:
        return json.loads(text) if text else None
    except ValueError:
        return None


def _list(text: str | None) -> list[Any]:
    told = _json(text)
    return told if isinstance(told, list) else []


def _turns(texts: Texts, pictures: Pictures, messages: str, name: str) -> list[Turn]:
    return [
        Turn(
            role=str(one.get("role", "")),
            text=texts.shown(str(one.get("content", "")), f"{name}-message-{number}"),
            images=[pictures.shown(_image(image)) for image in one.get("images", ())],
            calls=[_call(call) for call in one.get("tool_calls", ())],
        )
        for number, one in enumerate(_list(messages), 1)
        if isinstance(one, dict)
    ]


def _image(image: Any) -> str:
    """A picture in a message is its media type and the hash of its bytes."""
    return " ".join(map(str, image)) if isinstance(image, list) else str(image)


def _call(call: Any) -> tuple[str, str]:
    if isinstance(call, dict):
        return str(call.get("name", "")), str(call.get("arguments", ""))
    return (str(call[1]), str(call[2])) if isinstance(call, list) and len(call) > 2 else ("", str(call))


_FACTS: Sequence[tuple[str, str, Callable[[Any], str]]] = (
    ("shots", "shots", str),
    ("finish", "finish", str),
    ("prompt_tokens", "prompt tokens", str),
    ("completion_tokens", "completion tokens", str),
    ("greedy", "greedy", lambda value: "yes" if value else "no"),
    ("attempts", "attempts", lambda value: str(value) if value != 1 else ""),
    ("logprob", "logprob", "{:.4g}".format),
    ("queued", "queued", "{:.4g}".format),
    ("first_token", "first token", "{:.4g}".format),
    ("total", "seconds", "{:.4g}".format),
    ("joules", "joules", "{:.4g}".format),
    ("truncated", "truncated", lambda value: "the end of the prompt was cut off to fit" if value else ""),
    ("cached", "cached", lambda value: "answered from the cache" if value else ""),
    ("hash", "request", lambda value: str(value)[:16]),
)
"""The column, its title, and how its value is said; "" is not said."""


def facts_of(rows: Sequence[Mapping[str, Any]]) -> tuple[Facts, Sequence[Facts]]:
    """What was sent beside the prompts, and what is known of the answers: what is the same of all requests, and the
    rest of each."""
    common: list[tuple[str, str]] = []
    rest: list[list[tuple[str, str]]] = [[] for _ in rows]
    told = [_parameters(row["parameters"] or "") for row in rows]
    if len(set(told)) == 1:
        common.extend(told[0])
    else:
        for facts, more in zip(rest, told, strict=True):
            facts.extend(more)
    for name, title, say in _FACTS:
        values = [row[name] for row in rows]
        first = values[0] if values else None
        if values.count(first) == len(values):
            if first is not None and (word := say(first)):
                common.append((title, word))
            continue
        for facts, value in zip(rest, values, strict=True):
            if value is not None and (word := say(value)):
                facts.append((title, word))
    return common, rest


@lru_cache(maxsize=256)
def _parameters(text: str) -> tuple[tuple[str, str], ...]:
    told = _json(text)
    return tuple(
        (str(name), value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
        for name, value in (told if isinstance(told, dict) else {}).items()
        if value not in (None, [], "") and not (name == "sample" and value == 0)
    )
