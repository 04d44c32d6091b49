"""The routes of files, fine-tuning and batches on loopback, with a desk that echoes and a trainer that only counts."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from fastapi import FastAPI
from openai import OpenAI

from commonweal.core.blobs import Blobs
from commonweal.core.clock import Clock, SystemClock
from commonweal.core.completion import CompletionFailed
from commonweal.core.database import Database
from commonweal.core.errors import NotAuthorized, Overloaded
from commonweal.core.streaming import Ended, Event, Piece, Usage, Vector
from commonweal.serve.api import batches, files, fine_tuning, uploads
from commonweal.serve.api.context import Account, Serve, ServeOptions
from commonweal.serve.api.errors import refuse_the_rest
from commonweal.serve.catalogue import ServedModel, identity_of, publish
from commonweal.serve.desk import Ask
from commonweal.serve.tuning.trainer import Trainer
from served_app import serving


@dataclass(slots=True)
class EchoDesk:
    """Answers with the last message, or as a test says. Keeps what it was asked."""

    asked: list[Ask] = field(default_factory=list)
    busy: int = 0
    answer: Callable[[Ask], str] = lambda ask: "echo " + _last(ask)

    async def stream(self, ask: Ask) -> AsyncIterator[Event]:
        self.asked.append(ask)
        if self.busy:
            self.busy -= 1
            raise Overloaded("nobody is free", retry_after=0.01)
        if ask.request.kind == "embed":
            yield Vector(values=(0.5, -0.5))
            yield Usage(prompt_tokens=2, completion_tokens=0)
            return
        text = self.answer(ask)
        if text == "FAIL":
            raise CompletionFailed("too_long", "it does not fit")
        yield Piece(text=text)
        yield Ended()
        yield Usage(prompt_tokens=3, completion_tokens=2, cached_tokens=1)

    async def close(self) -> None: ...


def _last(ask: Ask) -> str:
    return ask.request.messages[-1].content if ask.request.messages else ask.request.prompt or ""


def identify(secret: str) -> Account:
    """Keys are ``key-NAME``."""
    if not secret.startswith("key-"):
        raise NotAuthorized("this key is not known here")
    return Account(name=secret.removeprefix("key-"))


@dataclass(frozen=True, slots=True)
class Api:
    """The running routes."""

    url: str
    serve: Serve
    desk: EchoDesk

    def client(self, name: str = "ann") -> OpenAI:
        return OpenAI(base_url=f"{self.url}/v1", api_key=f"key-{name}", max_retries=0)


def make_app(serve: Serve) -> FastAPI:
    app = FastAPI()
    app.state.serve = serve
    for module in (files, uploads, fine_tuning, batches):
        app.include_router(module.router)
    refuse_the_rest(app)
    return app


@contextmanager
def running_api(
    database: Database,
    blobs: Blobs,
    *,
    trainer: Trainer | None = None,
    clock: Clock | None = None,
    options: Mapping[str, Any] | None = None,
) -> Iterator[Api]:
    desk = EchoDesk()
    serve = Serve(
        desk=desk,
        database=database,
        blobs=blobs,
        clock=clock or SystemClock(),
        identify=identify,
        options=replace(ServeOptions(), **(options or {})),
        trainer=trainer,
    )
    with serving(make_app(serve)) as url:
        yield Api(url, serve, desk)


def add_model(
    database: Database, blobs: Blobs, name: str = "tiny", owner: str = "operator", **changes: Any
) -> ServedModel:
    """A served model whose files are made up."""
    content = {"config.json": blobs.put(b"{}"), "model.safetensors": blobs.put(name.encode())}
    model = ServedModel(
        name=name,
        kind="full",
        owner=owner,
        files=content,
        identity=identity_of(content, base=None),
        parameters=1000,
        window=64,
        price_in=10,
        price_out=30,
        created=1.0,
    )
    with database.transaction() as connection:
        return publish(connection, replace(model, **changes))


__all__ = ["Api", "EchoDesk", "add_model", "identify", "make_app", "running_api"]
