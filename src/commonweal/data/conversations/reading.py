"""From a file's bytes to its examples, or to everything that is wrong with them.

One JSON object a line. The first line that shows a format decides it for the file. Knows no tokens: what is
too long is found in :mod:`commonweal.data.conversations.encoding`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, NoReturn

from commonweal.core.hashing import record_hash
from commonweal.data.conversations.examples import (
    Chat,
    Completed,
    Document,
    Example,
    Labelled,
    Method,
    Numbered,
    Preference,
    Turn,
)
from commonweal.data.conversations.messages import Complain, read_tools, read_turns, unknown_keys
from commonweal.data.conversations.problems import Problems

Format = Literal["chat", "completion", "text", "preference", "labelled"]

METHODS: dict[Format, Method] = {
    "chat": "supervised",
    "completion": "supervised",
    "text": "supervised",
    "preference": "dpo",
    "labelled": "kto",
}

_KEYS: dict[Format, tuple[str, ...]] = {
    "chat": ("messages", "tools", "parallel_tool_calls"),
    "completion": ("prompt", "completion"),
    "text": ("text",),
    "preference": ("input", "preferred_output", "non_preferred_output"),
    "labelled": ("messages", "tools", "parallel_tool_calls", "label"),
}
_USUAL: dict[Method, Format] = {"supervised": "chat", "dpo": "preference", "kto": "labelled"}
_HERE = "this file's examples are '{}', as its first line shows"


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """What a file holds. ``examples`` are those that can be used; the others are among ``problems``."""

    examples: tuple[Numbered, ...]
    format: Format | None
    problems: Problems


def read_examples(data: bytes, method: Method, *, least: int = 1) -> Read:
    """Read a fine-tuning file for ``method``. Never raises for what is in it: ``problems.check()`` does."""
    problems, examples = Problems(), list[Numbered]()
    kind: Format | None = None
    seen: dict[str, int] = {}
    lines = 0
    for number, value in _objects(data, problems):
        lines += 1
        if value is None:
            continue
        complain = partial(_complain, problems, number)
        shown = _format_of(value)
        if shown is not None and METHODS[shown] != method:
            wanted = " or ".join(f"{{{', '.join(_KEYS[f][:3])}}}" for f in _KEYS if METHODS[f] == method)
            complain("wrong_format", "", f"the method '{method}' learns from {wanted}")
            continue
        kind = kind or shown
        if shown is not None and kind is not None and shown != kind:
            complain("mixed_formats", "", _HERE.format(kind))
            continue
        before = problems.errors
        example = _READERS[kind or _USUAL[method]](value, complain)
        if example is None or problems.errors > before:
            continue
        first = seen.setdefault(_key(value) or f"line {number}", number)
        if first != number:
            complain("duplicate_example", "", f"the same as line {first}")
        examples.append(Numbered(line=number, example=example))
    if not lines:
        problems.add("empty_file", 0, "", "there are no examples in it")
    elif len(examples) < least and not problems.errors:
        said = f"{len(examples)} examples, at least {least} are needed"
        problems.add("too_few_examples", 0, "", said)
    return Read(examples=tuple(examples), format=kind, problems=problems)


def _complain(problems: Problems, line: int, code: Any, field: str, message: str) -> None:
    problems.add(code, line, field, message)


def _objects(data: bytes, problems: Problems) -> Iterator[tuple[int, dict[str, Any] | None]]:
    """The lines that are not blank, numbered; None for what is not a JSON object."""
    for number, line in enumerate(data.removeprefix(b"\xef\xbb\xbf").split(b"\n"), 1):
        if not line.strip():
            continue
        try:
            text = line.decode("utf-8")
        except UnicodeDecodeError as error:
            problems.add("not_utf8", number, "", f"not UTF-8 at byte {error.start + 1} of the line")
            yield number, None
            continue
        yield number, _object(text, number, problems)


def _object(text: str, number: int, problems: Problems) -> dict[str, Any] | None:
    try:
        value = json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        said = str(error) if isinstance(error, ValueError) else "nested too deeply"
        problems.add("not_json", number, "", f"not JSON: {said}")
        return None
    if not isinstance(value, dict):
        problems.add("data_type", number, "", f"must be a JSON object, not {_named(value)}")
        return None
    return value


def _refuse(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")


def _named(value: Any) -> str:
    return {list: "a list", str: "text", bool: "a boolean", type(None): "null"}.get(type(value), "a number")


def _key(value: Mapping[str, Any]) -> str | None:
    """What equal examples have in common; None for what has no canonical form (halves of surrogate pairs)."""
    try:
        return record_hash(value)
    except (ValueError, RecursionError):
        return None


def _format_of(value: Mapping[str, Any]) -> Format | None:
    if "preferred_output" in value or "non_preferred_output" in value or "input" in value:
        return "preference"
    if "messages" in value:
        return "labelled" if "label" in value else "chat"
    if "prompt" in value or "completion" in value:
        return "completion"
    return "text" if "text" in value else None


def _unknown(value: Mapping[str, Any], kind: Format, complain: Complain) -> None:
    for key, said in unknown_keys(value, _KEYS[kind]):
        complain("unrecognized_key", key, said)


def _turns(value: Mapping[str, Any], complain: Complain) -> tuple[Turn, ...] | None:
    """The turns of an example to learn from; None where that could not be."""
    if "messages" not in value:
        complain("missing_messages_list", "messages", "is missing")
        return None
    turns = read_turns(value["messages"], "messages", complain)
    if turns and not any(turn.message.role == "assistant" for turn in turns):
        complain("example_missing_assistant_message", "messages", "no message is the assistant's")
        return None
    if turns and not any(turn.weight for turn in turns):
        complain("nothing_to_train", "messages", "every weight is 0")
        return None
    return tuple(turns) or None


def _chat(value: Mapping[str, Any], complain: Complain) -> Example | None:
    _unknown(value, "chat", complain)
    turns, tools = _turns(value, complain), read_tools(value.get("tools"), complain)
    return Chat(turns=turns, tools=tools) if turns else None


def _labelled(value: Mapping[str, Any], complain: Complain) -> Example | None:
    _unknown(value, "labelled", complain)
    turns, tools = _turns(value, complain), read_tools(value.get("tools"), complain)
    if "label" not in value:
        complain("missing_key", "label", "is missing")
    elif not isinstance(value["label"], bool):
        complain("wrong_type", "label", "must be true or false")
    if turns and turns[-1].message.role != "assistant":
        complain("last_message_not_assistant", "messages", "the label is about the assistant's last message")
    if not turns:
        return None
    judged = (*(Turn(message=turn.message, weight=0.0) for turn in turns[:-1]), turns[-1])
    return Labelled(turns=judged, label=value.get("label") is True, tools=tools)


def _completion(value: Mapping[str, Any], complain: Complain) -> Example | None:
    _unknown(value, "completion", complain)
    prompt, completion = (_text(value, key, complain) for key in ("prompt", "completion"))
    if completion == "":
        complain("missing_content", "completion", "is empty: there is nothing to learn in it")
    return None if prompt is None or not completion else Completed(prompt=prompt, completion=completion)


def _document(value: Mapping[str, Any], complain: Complain) -> Example | None:
    _unknown(value, "text", complain)
    text = _text(value, "text", complain)
    if text == "":
        complain("missing_content", "text", "is empty: there is nothing to learn in it")
    return Document(text=text) if text else None


def _text(value: Mapping[str, Any], key: str, complain: Complain) -> str | None:
    if key not in value:
        complain("missing_key", key, "is missing")
        return None
    if not isinstance(value[key], str):
        complain("wrong_type", key, f"must be text, not {_named(value[key])}")
        return None
    return str(value[key])


def _preference(value: Mapping[str, Any], complain: Complain) -> Example | None:
    _unknown(value, "preference", complain)
    messages, tools = _input(value, complain)
    outputs = [_output(value, key, complain) for key in ("preferred_output", "non_preferred_output")]
    if messages is None or not all(outputs):
        return None
    if outputs[0] == outputs[1]:
        complain("identical_outputs", "non_preferred_output", "the same as preferred_output")
    return Preference(messages=messages, tools=tools, preferred=outputs[0], rejected=outputs[1])


def _input(value: Mapping[str, Any], complain: Complain) -> tuple[Any, Any]:
    given = value.get("input")
    if not isinstance(given, dict):
        complain("missing_key" if "input" not in value else "wrong_type", "input", "must be an object")
        return None, ()
    for key, said in unknown_keys(given, ("messages", "tools", "parallel_tool_calls")):
        complain("unrecognized_key", f"input.{key}", said)
    if "messages" not in given:
        complain("missing_messages_list", "input.messages", "is missing")
        return None, ()
    turns = read_turns(given["messages"], "input.messages", complain)
    return tuple(turn.message for turn in turns) or None, read_tools(given.get("tools"), complain)


def _output(value: Mapping[str, Any], key: str, complain: Complain) -> tuple[Turn, ...]:
    if key not in value:
        complain("missing_key", key, "is missing")
        return ()
    turns = read_turns(value[key], key, complain)
    if turns and not any(turn.weight for turn in turns):
        complain("example_missing_assistant_message", key, "no message of weight is the assistant's")
    return tuple(turns)


_READERS: dict[Format, Callable[[Mapping[str, Any], Complain], Example | None]] = {
    "chat": _chat,
    "completion": _completion,
    "text": _document,
    "preference": _preference,
    "labelled": _labelled,
}
