"""The routes of a model's use on loopback, with a desk that answers what a test wants."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
from fastapi import FastAPI
from openai import OpenAI

from commonweal.core.blobs import Blobs
from commonweal.core.clock import SystemClock
from commonweal.core.completion import Request, Token
from commonweal.core.database import Database
from commonweal.core.errors import NotAuthorized
from commonweal.core.streaming import Ended, Event, Piece, Usage, Vector
from commonweal.serve.api import chat, completions, embeddings, models, responses
from commonweal.serve.api.context import Account, Serve, ServeOptions
from commonweal.serve.api.errors import refuse_the_rest
from commonweal.serve.catalogue import ServedModel, publish
from commonweal.serve.desk import Ask
from served_app import serving

Script = Callable[[Ask], AsyncIterator[Event]]
WORDS = ("Four", " legs", " good", ",", " two", " legs", " bad", ".")


def tokens_of(request: Request, words: tuple[str, ...]) -> tuple[Token, ...]:
    """Each word is a token whose likeliest alternative is itself."""
    if request.logprobs is None:
        return ()
    tops = ("x", "y", "z")[: max(0, request.logprobs - 1)]
    return tuple(
        Token(
            text=word,
            logprob=-0.5,
            top={word: -0.5} | {t: -1.5 - i for i, t in enumerate(tops)} if request.logprobs else {},
            id=number,
        )
        for number, word in enumerate(words)
    )


async def says(ask: Ask, words: tuple[str, ...] = WORDS, ended: Ended | None = None) -> AsyncIterator[Event]:
    """``words``, for every choice, as long as ``max_tokens`` lets."""
    request = ask.request
    said = words[: request.max_tokens]
    for index in range(request.n):
        for word, token in zip(said, tokens_of(request, said) or [None] * len(said), strict=True):
            yield Piece(index=index, text=word, tokens=(token,) if token else ())
        finish = "stop" if len(said) == len(words) else "length"
        yield ended or Ended(index=index, finish=finish)
    yield Usage(prompt_tokens=7, completion_tokens=len(said) * request.n, cached_tokens=3)


async def scores(ask: Ask) -> AsyncIterator[Event]:
    """The words of the continuation (or its ids, as ``<7>``); before the first stands nothing."""
    request = ask.request
    words = tuple(f"<{i}>" for i in request.ids) or tuple(request.continuation.replace(" ", "| ").split("|"))
    first, *rest = tokens_of(request, words)
    yield Piece(tokens=(Token(text=first.text), *rest))
    yield Ended(greedy=True)
    yield Usage(prompt_tokens=0, completion_tokens=len(words))


async def embeds(ask: Ask) -> AsyncIterator[Event]:
    request = ask.request
    yield Vector(values=(float(len(request.prompt or "")), float(sum(request.ids)), 0.25))
    yield Usage(prompt_tokens=len(request.ids) or 2, completion_tokens=0)


def default_script(ask: Ask) -> AsyncIterator[Event]:
    return {"generate": says, "score": scores, "embed": embeds}[ask.request.kind](ask)


class ScriptedAnswers:
    """A desk. ``script`` makes the events of an ask; what was asked and how many were closed early is kept."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.script: Script = default_script
        self.asks: list[Ask] = []
        self.open = 0
        self.cut = 0
        self.pulled = 0

    async def stream(self, ask: Ask) -> AsyncIterator[Event]:
        self.asks.append(ask)
        self.open += 1
        whole = False
        try:
            async for event in self.script(ask):
                self.pulled += 1
                yield event
            whole = True
        finally:
            self.open -= 1
            self.cut += not whole

    @property
    def request(self) -> Request:
        """What was asked last."""
        return self.asks[-1].request


def raising(error: Exception, after: int = 0) -> Script:
    """A script that fails after so many words."""

    async def script(ask: Ask) -> AsyncIterator[Event]:
        for word in WORDS[:after]:
            yield Piece(text=word)
        raise error

    return script


@dataclass(slots=True)
class Gate:
    """A script that answers when it is opened, or never."""

    opened: threading.Event = field(default_factory=threading.Event)
    before: int = 0

    async def script(self, ask: Ask) -> AsyncIterator[Event]:
        for word in WORDS[: self.before]:
            yield Piece(text=word)
        while not self.opened.is_set():  # noqa: ASYNC110  (a test opens it from its own thread)
            await asyncio.sleep(0.002)
        async for event in default_script(ask):
            yield event


def identify(secret: str) -> Account:
    """Keys are ``key-NAME``."""
    if not secret.startswith("key-"):
        raise NotAuthorized("this key is not known here")
    return Account(name=secret.removeprefix("key-"))


@dataclass(frozen=True, slots=True)
class World:
    url: str
    serve: Serve
    desk: ScriptedAnswers

    def client(self, name: str = "ann", **options: Any) -> OpenAI:
        options = {"max_retries": 0, "_strict_response_validation": True} | options
        return OpenAI(base_url=f"{self.url}/v1", api_key=f"key-{name}", **options)

    def http(self, name: str = "ann", **options: Any) -> httpx.Client:
        headers = {"Authorization": f"Bearer key-{name}"}
        return httpx.Client(base_url=self.url, headers=headers, timeout=20, verify=False, **options)

    def post(self, path: str, body: Any = None, name: str = "ann", **options: Any) -> httpx.Response:
        with self.http(name) as client:
            return client.post(path, json=body, **options)


def eventually(condition: Callable[[], bool], seconds: float = 5.0) -> None:
    """Wait for what another thread does."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.002)


def make_model(name: str, owner: str = "operator", **changes: Any) -> ServedModel:
    fields: dict[str, Any] = {
        "kind": "full", "files": {}, "identity": "0123456789abcdef" * 4, "parameters": 1000, "window": 2048,
        "price_in": 10, "price_out": 30, "created": 1_700_000_000.5,
    }  # fmt: skip
    return ServedModel(name=name, owner=owner, **fields | changes)


def make_app(serve: Serve) -> FastAPI:
    app = FastAPI()
    app.state.serve = serve
    for module in (chat, completions, embeddings, models, responses):
        app.include_router(module.router)
    refuse_the_rest(app)
    return app


@contextmanager
def running_world(database: Database, blobs: Blobs, desk: Any = None, **options: Any) -> Iterator[World]:
    desk = desk or ScriptedAnswers()
    serve = Serve(
        desk=desk,
        database=database,
        blobs=blobs,
        clock=SystemClock(),
        identify=identify,
        options=ServeOptions(**options),
    )
    with database.transaction() as connection:
        publish(connection, make_model("tiny"))
        publish(connection, make_model("org/tiny-chat"))
        publish(connection, make_model("secret", owner="bob", public=False))
    with serving(make_app(serve)) as url:
        yield World(url, serve, desk)
