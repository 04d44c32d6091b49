"""An engine without a model, for load tests: its answers follow from the request alone, at a set pace. No torch.

A token is a word of two to four letters with the space before it; its id, and from that its log-probability, are drawn
from the request's hash, so generating and scoring agree, and an audit of a mock passes. With no pace set an answer
costs its encoding and nothing else.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import math
import struct
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from commonweal.core.completion import CompletionFailed, Request, Token, ToolCall
from commonweal.core.errors import NotFound
from commonweal.core.streaming import Ended, Event, Piece, Usage, Vector
from commonweal.models.engine.options import Loaded, Quantization
from commonweal.models.engine.stops import StopStrings

_DIMENSIONS = 64
_RESTS = ("a", "e", "i", "o", "u", "an", "en", "in", "on", "un", "ar", "er", "or", "al", "el", "ol")
_WORDS = tuple(f" {first}{rest}" for first in "bcdfghklmnprstvw" for rest in _RESTS)
_IDS = {word: index for index, word in enumerate(_WORDS)}
_TOKENS = tuple(
    Token(text=word, id=index, logprob=-0.01 * (1 + index % 97)) for index, word in enumerate(_WORDS)
)


@dataclass(frozen=True, slots=True, kw_only=True)
class MockOptions:
    """``first_token`` are the seconds before the first token, ``rate`` the tokens a second of each answer after it (0:
    as fast as can be); ``piece`` tokens come together. An answer has ``tokens`` tokens, or as many as are asked for."""

    first_token: float = 0.0
    rate: float = 0.0
    piece: int = 1
    tokens: int | None = None
    window: int = 1 << 20

    def __post_init__(self) -> None:
        if self.first_token < 0 or self.rate < 0 or self.piece < 1:
            raise ValueError("first_token, rate: not negative; piece: at least 1")


class MockEngine:
    """A Streamer of any model, or of those that were loaded, once any was. ``running`` answers are under way."""

    def __init__(self, options: MockOptions | None = None) -> None:
        self._options = options or MockOptions()
        self._models: dict[str, Loaded] = {}
        self.running = 0

    async def load(self, name: str, folder: str | Path, *, quantization: Quantization = "none") -> Loaded:
        return self._know(name, name, quantization)

    async def load_adapter(self, name: str, base: str, folder: str | Path) -> Loaded:
        if base not in self._models:
            raise NotFound(f"the model '{base}' is not loaded here")
        return self._know(name, base, self._models[base].quantization)

    async def unload(self, name: str) -> None:
        if self._models.pop(name, None) is None:
            raise NotFound(f"the model '{name}' is not loaded here")

    def models(self) -> tuple[Loaded, ...]:
        return tuple(self._models.values())

    async def stream(self, request: Request) -> AsyncIterator[Event]:
        """The events of one request. Raises CompletionFailed or NotFound."""
        if self._models and request.model not in self._models:
            raise NotFound(f"the model '{request.model}' is not loaded here")
        prompt = _prompt_tokens(request)
        if request.fit:
            request = replace(
                request, max_tokens=max(1, min(request.max_tokens, self._options.window - prompt))
            )
        if prompt + request.max_tokens > self._options.window:
            raise CompletionFailed(
                "too_long", f"{prompt} tokens are too many for a window of {self._options.window}"
            )
        self.running += 1
        try:
            loop = asyncio.get_running_loop()
            began = due = loop.time()
            made = 0
            due += self._options.first_token
            for event in self._events(request):
                if isinstance(event, Piece):
                    if due > loop.time():
                        await asyncio.sleep(due - loop.time())
                    made += len(event.tokens) if request.kind == "generate" else 0
                    if self._options.rate:
                        due += len(event.tokens) / self._options.rate
                yield event
            yield Usage(prompt_tokens=prompt, completion_tokens=made, seconds=loop.time() - began)
        finally:
            self.running -= 1

    async def close(self) -> None:
        """There is nothing to close."""

    def _know(self, name: str, base: str, quantization: Quantization) -> Loaded:
        window = self._options.window
        made = Loaded(name=name, base=base, quantization=quantization, window=window, parameters=0)
        self._models[name] = made
        return made

    def _events(self, request: Request) -> Iterator[Event]:
        if request.kind == "embed":
            yield _vector(request)
        elif request.kind == "score":
            yield Piece(tokens=_scored(request))
            yield Ended(greedy=False)
        elif request.tools and request.tool_choice not in ("auto", "none"):
            yield _call(request)
        else:
            for index in range(request.n):
                yield from self._written(request, index)

    def _written(self, request: Request, index: int) -> Iterator[Event]:
        most = request.max_tokens
        count = most if self._options.tokens is None else min(most, self._options.tokens)
        ids = _ids(request, index, count)
        size = self._options.piece
        stops = StopStrings(request.stop)
        for at in range(0, count, size):
            tokens = tuple([_TOKENS[i] for i in ids[at : at + size]])
            text = stops.add("".join([token.text for token in tokens]))
            yield Piece(index=index, text=text, tokens=tokens)
            if stops.found:
                yield Ended(index=index)
                return
        if rest := stops.end():
            yield Piece(index=index, text=rest)
        yield Ended(index=index, finish="length" if count >= most else "stop")


def _ids(request: Request, index: int, count: int) -> bytes:
    """Each byte is a token. With a temperature and no seed answers would differ; a mock's do not."""
    name = f"{request.hash()}/{request.seed}/{index}"
    return hashlib.shake_256(name.encode()).digest(count)


def _prompt_tokens(request: Request) -> int:
    text = request.prompt if request.messages is None else " ".join([m.content for m in request.messages])
    return len((text or "").split()) + len(request.ids or request.continuation.split())


def _scored(request: Request) -> tuple[Token, ...]:
    if request.ids:
        return tuple([_TOKENS[token % len(_TOKENS)] for token in request.ids])
    words = [f" {word}" for word in request.continuation.split()]
    return tuple([_TOKENS[_IDS[word]] if word in _IDS else Token(text=word, logprob=-5.0) for word in words])


def _call(request: Request) -> Ended:
    names = [tool.name for tool in request.tools]
    name = request.tool_choice if request.tool_choice in names else names[0]
    call = ToolCall(id=f"call_{request.hash()[:24]}", name=name, arguments=json.dumps({}))
    return Ended(finish="tool_calls", tool_calls=(call,))


def _vector(request: Request) -> Vector:
    digest = hashlib.shake_256((request.prompt or "").encode("utf-8", "surrogatepass")).digest(
        4 * _DIMENSIONS
    )
    numbers = [number / 2**31 for number in struct.unpack(f"<{_DIMENSIONS}i", digest)]
    length = math.sqrt(math.fsum(number * number for number in numbers))
    return Vector(values=tuple([number / length for number in numbers]))
