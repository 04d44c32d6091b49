"""Requests and events as plain JSON, and back from what a stranger wrote.

Owns the compact form in which a request goes to a worker and its events come back, over a member's connection and
between hub processes. What is at its default is left out of a request. An event is a list that begins with a letter:

    ["p", index, text, [[id, text, logprob, top?], ...]?]     a piece
    ["e", index, finish, [[id, name, arguments], ...]?, greedy?]  a choice that ended
    ["v", [number, ...]]                                      a vector
    ["u", prompt, completion, cached, seconds]                the usage

Reading checks every type and size, and raises InvalidContribution: what comes out can be passed on as it is.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping
from math import isfinite
from typing import Any, cast, get_args

from commonweal.core.completion import Finish, Image, Kind, Message, Request, Role, Token, Tool, ToolCall
from commonweal.core.errors import InvalidContribution
from commonweal.core.streaming import Ended, Event, Piece, Usage, Vector

Json = dict[str, Any]

LONGEST_TEXT = 1 << 18
MOST_TOKENS = 1 << 17
MOST_CHOICES = 128
MOST_ALTERNATIVES = 64
MOST_CALLS = 64
LONGEST_VECTOR = 1 << 16
_FINISHES: frozenset[str] = frozenset(get_args(Finish))
_KINDS: frozenset[str] = frozenset(get_args(Kind))
_ROLES: frozenset[str] = frozenset(get_args(Role))
_PLAIN = Request(model="", prompt="")
_AS_IT_IS = (
    "kind",
    "prompt",
    "continuation",
    "max_tokens",
    "temperature",
    "top_p",
    "n",
    "seed",
    "logprobs",
    "sample",
    "schema",
    "tool_choice",
    "fit",
)


def bad(what: str) -> InvalidContribution:
    """The error for a frame that says ``what`` wrongly."""
    return InvalidContribution(f"a frame cannot be read: {what}")


def request_json(request: Request) -> Json:
    """What differs from the default request; the model is named beside it."""
    made: Json = {}
    for name in _AS_IT_IS:
        value = getattr(request, name)
        if value != getattr(_PLAIN, name):
            made[name] = value
    if request.messages is not None:
        made["messages"] = [_message_json(message) for message in request.messages]
    if request.tools:
        made["tools"] = [[tool.name, tool.description, dict(tool.parameters)] for tool in request.tools]
    if request.stop:
        made["stop"] = list(request.stop)
    if any(request.penalties):
        made["penalties"] = list(request.penalties)
    if request.bias:
        made["bias"] = [list(pair) for pair in request.bias]
    if request.ids:
        made["ids"] = list(request.ids)
    return made


def read_request(raw: Any, model: str) -> Request:
    """The request that :func:`request_json` wrote. Raises InvalidContribution."""
    if not isinstance(raw, dict):
        raise bad("request")
    try:
        return Request(
            model=model,
            kind=cast(Kind, _one_of(raw.get("kind", "generate"), _KINDS, "kind")),
            prompt=_optional(raw.get("prompt", "" if raw.get("messages") is None else None), _words),
            messages=_optional(raw.get("messages"), lambda m: tuple(_message(each) for each in _list(m))),
            continuation=_words(raw.get("continuation", "")),
            max_tokens=whole(raw.get("max_tokens", _PLAIN.max_tokens)),
            temperature=number(raw.get("temperature", 0.0)),
            top_p=number(raw.get("top_p", 1.0)),
            n=whole(raw.get("n", 1), most=MOST_CHOICES),
            stop=tuple(_words(each) for each in _list(raw.get("stop", []))),
            seed=_optional(raw.get("seed"), lambda s: whole(s, least=-(2**63), most=2**64 - 1)),
            logprobs=_optional(raw.get("logprobs"), lambda n: whole(n, most=MOST_ALTERNATIVES)),
            tools=tuple(_tool(each) for each in _list(raw.get("tools", []))),
            sample=whole(raw.get("sample", 0)),
            schema=_optional(raw.get("schema"), _words),
            tool_choice=_words(raw.get("tool_choice", "auto")),
            penalties=_pair(raw.get("penalties", [0.0, 0.0])),
            bias=tuple((whole(each[0]), number(each[1])) for each in _list(raw.get("bias", []))),
            ids=tuple(whole(each) for each in _list(raw.get("ids", []))),
            fit=_truth(raw.get("fit", False)),
        )
    except (KeyError, IndexError, TypeError) as error:
        raise bad(f"request: {type(error).__name__}") from None


def event_json(event: Event) -> list[Any]:
    """An event in its compact form."""
    if isinstance(event, Piece):
        if not event.tokens:
            return ["p", event.index, event.text]
        return ["p", event.index, event.text, [_token_json(token) for token in event.tokens]]
    if isinstance(event, Ended):
        made: list[Any] = ["e", event.index, event.finish]
        if event.tool_calls or event.greedy is not None:
            made += [[[call.id, call.name, call.arguments] for call in event.tool_calls], event.greedy]
        return made
    if isinstance(event, Vector):
        return ["v", event.values]
    return ["u", event.prompt_tokens, event.completion_tokens, event.cached_tokens, event.seconds]


def read_event(raw: Any) -> Event:
    """The event that :func:`event_json` wrote. Raises InvalidContribution."""
    try:
        return _READERS[raw[0]](raw)
    except (KeyError, IndexError, TypeError):
        raise bad("event") from None


def text(value: Any, *, longest: int = LONGEST_TEXT) -> str:
    if type(value) is not str or len(value) > longest:
        raise bad("text")
    return value


def whole(value: Any, *, least: int = 0, most: int = 2**53) -> int:
    if type(value) is not int or not least <= value <= most:
        raise bad("whole number")
    return value


def number(value: Any, *, least: float = -1e12, most: float = 1e12) -> float:
    if type(value) not in (int, float) or not least <= value <= most or not isfinite(value):
        raise bad("number")
    return float(value)


def _piece(raw: list[Any]) -> Piece:
    tokens = raw[3] if len(raw) > 3 else ()
    if len(tokens) > MOST_TOKENS:
        raise bad("tokens")
    return Piece(
        index=whole(raw[1], most=MOST_CHOICES),
        text=text(raw[2]),
        tokens=tuple([_token(token) for token in tokens]),
    )


def _ended(raw: list[Any]) -> Ended:
    calls, greedy = (raw[3], raw[4]) if len(raw) > 3 else ((), None)
    if (greedy is not None and type(greedy) is not bool) or len(calls) > MOST_CALLS:
        raise bad("end of a choice")
    return Ended(
        index=whole(raw[1], most=MOST_CHOICES),
        finish=cast(Finish, _one_of(raw[2], _FINISHES, "finish")),
        tool_calls=tuple(_call(call) for call in calls),
        greedy=greedy,
    )


def _vector(raw: list[Any]) -> Vector:
    values = raw[1]
    if type(values) is not list or len(values) > LONGEST_VECTOR:
        raise bad("vector")
    return Vector(values=tuple([number(value) for value in values]))


def _usage(raw: list[Any]) -> Usage:
    return Usage(
        prompt_tokens=whole(raw[1]),
        completion_tokens=whole(raw[2]),
        cached_tokens=whole(raw[3]),
        seconds=number(raw[4], least=0.0),
    )


_READERS: Mapping[str, Callable[[list[Any]], Event]] = {"p": _piece, "e": _ended, "v": _vector, "u": _usage}


def _token_json(token: Token) -> list[Any]:
    logprob = None if token.logprob is None else round(token.logprob, 6)
    if token.top:
        return [token.id, token.text, logprob, {word: round(value, 6) for word, value in token.top.items()}]
    return [token.id, token.text, logprob]


def _token(raw: list[Any]) -> Token:
    number_of, words, logprob = raw[0], raw[1], raw[2]
    if number_of is not None:
        whole(number_of, most=2**31)
    top = _alternatives(raw[3]) if len(raw) > 3 else {}
    return Token(id=number_of, text=text(words, longest=4096), logprob=_logprob(logprob), top=top)


def _alternatives(raw: Any) -> dict[str, float]:
    if type(raw) is not dict or len(raw) > MOST_ALTERNATIVES:
        raise bad("alternatives")
    return {text(word, longest=4096): number(value, most=0.01) for word, value in raw.items()}


def _logprob(value: Any) -> float | None:
    return None if value is None else number(value, most=0.01)


def _call(raw: Any) -> ToolCall:
    identity, name, arguments = raw
    return ToolCall(id=text(identity, longest=200), name=text(name, longest=200), arguments=text(arguments))


def _message_json(message: Message) -> Json:
    made: Json = {"r": message.role, "c": message.content}
    if message.images:
        made["i"] = [[image.media_type, base64.b64encode(image.data).decode()] for image in message.images]
    if message.tool_calls:
        made["t"] = [[call.id, call.name, call.arguments] for call in message.tool_calls]
    if message.tool_call_id is not None:
        made["o"] = message.tool_call_id
    return made


def _message(raw: Json) -> Message:
    return Message(
        role=cast(Role, _one_of(raw["r"], _ROLES, "role")),
        content=_words(raw["c"]),
        images=tuple(_image(each) for each in _list(raw.get("i", []))),
        tool_calls=tuple(_call(each) for each in _list(raw.get("t", []))),
        tool_call_id=_optional(raw.get("o"), _words),
    )


def _image(raw: Any) -> Image:
    media_type, data = raw
    try:
        return Image(media_type=text(media_type, longest=100), data=base64.b64decode(data, validate=True))
    except (binascii.Error, ValueError):
        raise bad("image") from None


def _tool(raw: Any) -> Tool:
    name, description, parameters = raw
    if not isinstance(parameters, dict):
        raise bad("tool")
    return Tool(name=_words(name), description=_words(description), parameters=parameters)


def _pair(raw: Any) -> tuple[float, float]:
    first, second = raw
    return number(first), number(second)


def _words(value: Any) -> str:
    return text(value, longest=2**26)


def _truth(value: Any) -> bool:
    if type(value) is not bool:
        raise bad("truth")
    return value


def _list(value: Any) -> list[Any]:
    if type(value) is not list or len(value) > MOST_TOKENS:
        raise bad("list")
    return value


def _one_of(value: Any, known: frozenset[str], what: str) -> str:
    if value not in known:
        raise bad(what)
    return cast(str, value)


def _optional(value: Any, read: Callable[[Any], Any]) -> Any:
    return None if value is None else read(value)
