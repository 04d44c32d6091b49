"""What the member's side needs of an engine, and one that is not there.

The engine proper is ``models/engine``; whoever wires the two hands it in as an :class:`Engine`. :class:`MockEngine`
answers by a pure function of the request, for tests and measurements of everything around an engine.
"""

from __future__ import annotations

import asyncio
import hashlib
import math
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from commonweal.core.completion import CompletionFailed, Request, Token
from commonweal.core.streaming import Ended, Event, Piece, Usage, Vector


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFiles:
    """A model to load: its files are in ``folder``. An adapter comes with its base."""

    name: str
    identity: str
    kind: str
    folder: Path
    quantization: str
    window: int
    base: ModelFiles | None = None


class Engine(Protocol):
    """Answers requests for the models that it has loaded, by the identity in ``request.model``; several at once."""

    def stream(self, request: Request) -> AsyncIterator[Event]: ...

    async def load(self, model: ModelFiles) -> int:
        """Returns the bytes of memory that it takes. Raises CommonwealError if it cannot be loaded."""
        ...

    async def unload(self, identity: str) -> None: ...


class MockEngine:
    """``length`` words for every request (or ``max_tokens``, if that is less), ``delay`` seconds between two; a
    token's log-probability follows from the model, the words so far and the word. ``tilt`` adds to each: a worker
    that computes something else. Prompts of one word ``wait:NAME`` wait until :meth:`let` lets them go on."""

    def __init__(self, *, length: int = 16, delay: float = 0.0, tilt: float = 0.0, size: int = 1000) -> None:
        self.length, self.delay, self.tilt, self.size = length, delay, tilt, size
        self.models: dict[str, ModelFiles] = {}
        self.asked: list[Request] = []
        self.cancelled = 0
        self._gates: dict[str, asyncio.Event] = {}

    def stream(self, request: Request) -> AsyncIterator[Event]:
        self.asked.append(request)
        if request.kind == "score":
            return self._score(request)
        if request.kind == "embed":
            return self._embed(request)
        return self._generate(request)

    async def load(self, model: ModelFiles) -> int:
        self.models[model.identity] = model
        return self.size

    async def unload(self, identity: str) -> None:
        self.models.pop(identity, None)

    def gate(self, name: str) -> asyncio.Event:
        return self._gates.setdefault(name, asyncio.Event())

    async def _generate(self, request: Request) -> AsyncIterator[Event]:
        words = prompt_of(request)
        try:
            if words.startswith("wait:"):
                await self.gate(words).wait()
            if words.startswith("fail"):
                raise CompletionFailed("too_long", "the mock was told to fail")
            count = min(self.length, request.max_tokens)
            for index in range(request.n):
                for place in range(count):
                    if self.delay:
                        await asyncio.sleep(self.delay)
                    number = _number(request.model, words, str(index), str(place))
                    token = self._token(request, words, place, number % 1000)
                    yield Piece(index=index, text=token.text, tokens=(token,))
                yield Ended(index=index, finish="length" if count == request.max_tokens else "stop")
            yield Usage(prompt_tokens=len(words.split()), completion_tokens=count * request.n)
        except (asyncio.CancelledError, GeneratorExit):
            self.cancelled += 1
            raise

    async def _score(self, request: Request) -> AsyncIterator[Event]:
        words = prompt_of(request)
        given = request.ids or tuple(range(len(request.continuation.split())))
        tokens = tuple(self._token(request, words, place, word) for place, word in enumerate(given))
        yield Piece(tokens=tokens)
        yield Ended(greedy=False)
        yield Usage(prompt_tokens=len(words.split()) + len(tokens), completion_tokens=0)

    async def _embed(self, request: Request) -> AsyncIterator[Event]:
        words = prompt_of(request)
        yield Vector(values=tuple(_number(words, str(place)) % 100 / 100 for place in range(8)))
        yield Usage(prompt_tokens=len(words.split()), completion_tokens=0)

    def _token(self, request: Request, words: str, place: int, word: int) -> Token:
        share = 0.2 + 0.7 * (_number(request.model, words, str(place), str(word)) % 997) / 997
        logprob = math.log(share) + self.tilt if request.logprobs is not None else None
        top: Mapping[str, float] = {f" w{word}": logprob} if request.logprobs and logprob is not None else {}
        return Token(text=f" w{word}", id=word, logprob=logprob, top=top)


def prompt_of(request: Request) -> str:
    if request.messages is not None:
        return "\n".join(message.content for message in request.messages)
    return request.prompt or ""


def _number(*parts: str) -> int:
    return int.from_bytes(hashlib.blake2b("\0".join(parts).encode(), digest_size=4).digest(), "big")
