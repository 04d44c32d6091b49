"""The seam between those who serve a model's words one by one and those who make them.

A :class:`Streamer` answers a :class:`~commonweal.core.completion.Request` with events, in this order for each choice:
pieces as they are made, then how it ended; after all choices, the usage. A scored continuation is a piece with its
tokens and no text, an embedding is one vector. Who has heard enough closes the iterator (``aclose``), and the work
stops. A request that cannot be answered raises :class:`~commonweal.core.completion.CompletionFailed`, before the first
event or between two.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Protocol

from commonweal.core.completion import Choice, Completion, Finish, Request, Timing, Token, ToolCall


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """More of choice ``index``. ``text`` is final: what a stop string or half a character may still take back is held
    until it is known. ``tokens`` are those that were made since the last piece, with the log-probabilities that were
    asked for; their texts need not join to ``text``."""

    index: int = 0
    text: str = ""
    tokens: tuple[Token, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """Choice ``index`` is complete. ``greedy`` says of a scored continuation whether each token was the likeliest."""

    index: int = 0
    finish: Finish = "stop"
    tool_calls: tuple[ToolCall, ...] = ()
    greedy: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Vector:
    """An embedding."""

    values: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """The last event: tokens over all choices. ``cached_tokens`` of the prompt were not computed anew; ``seconds`` is
    what the model took, without the wait before."""

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0
    seconds: float = 0.0


Event = Piece | Ended | Vector | Usage


class Streamer(Protocol):
    """Answers requests, several at once."""

    def stream(self, request: Request) -> AsyncIterator[Event]: ...

    async def close(self) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Gathered:
    """All that came: choices by their index, or the vector of an embedding."""

    choices: tuple[Choice, ...]
    usage: Usage
    vector: tuple[float, ...] = ()


@dataclass(slots=True)
class _Choice:
    text: list[str] = field(default_factory=list)
    tokens: list[Token] = field(default_factory=list)
    ended: Ended = field(default_factory=Ended)


async def gathered(events: AsyncIterator[Event]) -> Gathered:
    """Everything, for those who do not stream."""
    choices: dict[int, _Choice] = {}
    usage = Usage(prompt_tokens=0, completion_tokens=0)
    vector: tuple[float, ...] = ()
    async for event in events:
        if isinstance(event, Piece):  # most are
            choice = choices.get(event.index) or choices.setdefault(event.index, _Choice())
            choice.text.append(event.text)
            choice.tokens.extend(event.tokens)
        elif isinstance(event, Ended):
            choices.setdefault(event.index, _Choice()).ended = event
        elif isinstance(event, Usage):
            usage = event
        else:
            vector = event.values
    return Gathered(
        choices=tuple(_whole(choices[index]) for index in sorted(choices)), usage=usage, vector=vector
    )


async def collected(events: AsyncIterator[Event], *, model: str = "") -> Completion:
    """The whole answer as a completion."""
    found = await gathered(events)
    if found.vector:
        raise ValueError("an embedding is no completion")
    return Completion(
        choices=found.choices,
        model=model,
        prompt_tokens=found.usage.prompt_tokens,
        completion_tokens=found.usage.completion_tokens,
        timing=Timing(total=found.usage.seconds),
    )


def _whole(choice: _Choice) -> Choice:
    logprobs = [token.logprob for token in choice.tokens if token.logprob is not None]
    return Choice(
        text="".join(choice.text),
        finish=choice.ended.finish,
        tokens=tuple(choice.tokens),
        logprob=sum(logprobs) if logprobs else None,
        greedy=choice.ended.greedy,
        tool_calls=choice.ended.tool_calls,
    )
