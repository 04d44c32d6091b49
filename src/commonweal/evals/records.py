"""A completion as JSON and back: the form in which the cache and a run's tables keep it.

Every form has a version (``v``). Fields that have their default are left out, and a token is a short list
(``[text, logprob, {alternative: logprob}]``), because a run keeps a hundred tokens for each of a hundred thousand
completions. Reading a form back gives an equal completion; what does not have the form is a DataError, and a later
version than this code knows is one too. Numbers are finite: ``-inf`` is not JSON (see
:data:`commonweal.core.completion.LOGPROB_FLOOR`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from commonweal.core.completion import Choice, Completion, Timing, Token, ToolCall
from commonweal.core.errors import DataError

VERSION = 1

_NO_TIMING = Timing()
_encode = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode


def completion_json(completion: Completion) -> dict[str, Any]:
    """``completion`` as plain JSON values."""
    made: dict[str, Any] = {"v": VERSION, "choices": [_choice_json(choice) for choice in completion.choices]}
    if completion.model:
        made["model"] = completion.model
    if completion.prompt_tokens is not None:
        made["prompt_tokens"] = completion.prompt_tokens
    if completion.completion_tokens is not None:
        made["completion_tokens"] = completion.completion_tokens
    if completion.timing != _NO_TIMING:
        timing = completion.timing
        made["timing"] = [timing.queued, timing.first_token, timing.total]
    if completion.joules is not None:
        made["joules"] = completion.joules
    if completion.attempts != 1:
        made["attempts"] = completion.attempts
    if completion.cached:
        made["cached"] = True
    return made


def completion_of(value: Mapping[str, Any]) -> Completion:
    """Read :func:`completion_json` back. Raises DataError."""
    try:
        if value["v"] != VERSION:
            raise DataError(
                f"completion: version {value['v']!r} is not known (this is {VERSION})",
                hint="read it with the version of commonweal that wrote it",
            )
        timing = value.get("timing")
        return Completion(
            choices=tuple([_choice_of(choice) for choice in value["choices"]]),
            model=value.get("model", ""),
            prompt_tokens=value.get("prompt_tokens"),
            completion_tokens=value.get("completion_tokens"),
            timing=Timing(queued=timing[0], first_token=timing[1], total=timing[2]) if timing else _NO_TIMING,
            joules=value.get("joules"),
            attempts=value.get("attempts", 1),
            cached=value.get("cached", False),
        )
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise DataError(f"completion: not in the form that this version writes ({error!r})") from None


def completion_text(completion: Completion, *, cached: bool | None = None) -> str:
    """:func:`completion_json` as one line of ASCII, where ``cached`` may be set otherwise than in ``completion``.

    Raises ValueError for numbers that are not finite.
    """
    made = completion_json(completion)
    if cached is not None:
        made["cached"] = cached
    return _encode(made)


def completion_of_text(text: str) -> Completion:
    """Read :func:`completion_text` back. Raises DataError."""
    try:
        value = json.loads(text)
    except ValueError as error:
        raise DataError(f"completion: not JSON ({error})") from None
    return completion_of(value)


def _choice_json(choice: Choice) -> dict[str, Any]:
    made: dict[str, Any] = {"text": choice.text}
    if choice.finish != "stop":
        made["finish"] = choice.finish
    if choice.tokens:
        made["tokens"] = [
            [token.text, token.logprob, dict(token.top)] if token.top else [token.text, token.logprob]
            for token in choice.tokens
        ]
    if choice.logprob is not None:
        made["logprob"] = choice.logprob
    if choice.greedy is not None:
        made["greedy"] = choice.greedy
    if choice.tool_calls:
        made["tool_calls"] = [[call.id, call.name, call.arguments] for call in choice.tool_calls]
    return made


def _choice_of(value: Mapping[str, Any]) -> Choice:
    tokens = value.get("tokens", ())
    return Choice(
        text=value["text"],
        finish=value.get("finish", "stop"),
        tokens=tuple([_token_of(token) for token in tokens]) if tokens else (),
        logprob=value.get("logprob"),
        greedy=value.get("greedy"),
        tool_calls=tuple(ToolCall(id=c[0], name=c[1], arguments=c[2]) for c in value.get("tool_calls", ())),
    )


def _token_of(value: list[Any]) -> Token:
    if len(value) == 2:
        return Token(text=value[0], logprob=value[1])
    return Token(text=value[0], logprob=value[1], top=value[2])
