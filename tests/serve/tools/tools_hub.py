"""The routes of tools on loopback, with a scripted desk behind them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
from fastapi import FastAPI
from openai import OpenAI
from scripted_desk import Answer, ScriptedDesk

from commonweal.core.blobs import Blobs
from commonweal.core.clock import SystemClock
from commonweal.core.database import Database
from commonweal.core.errors import NotAuthorized
from commonweal.serve.api import answers, chat, documents, files
from commonweal.serve.api.context import Account, Serve
from commonweal.serve.api.errors import refuse_the_rest
from commonweal.serve.catalogue import ServedModel, publish
from commonweal.serve.tools.workbench import Workbench
from served_app import serving


@dataclass(frozen=True, slots=True)
class ToolsHub:
    url: str
    serve: Serve
    desk: ScriptedDesk

    def client(self, name: str = "ann") -> OpenAI:
        key = f"key-{name}"
        return OpenAI(base_url=f"{self.url}/v1", api_key=key, max_retries=0, _strict_response_validation=True)

    def post(self, path: str, body: Any, name: str = "ann") -> httpx.Response:
        headers = {"Authorization": f"Bearer key-{name}"}
        return httpx.post(self.url + path, json=body, headers=headers, timeout=60, trust_env=False)

    def says(self, *script: Answer) -> None:
        self.desk.__init__(*script)  # type: ignore[misc]


def identify(secret: str) -> Account:
    if not secret.startswith("key-"):
        raise NotAuthorized("this key is not known here")
    return Account(name=secret.removeprefix("key-"))


@contextmanager
def running_tools_hub(database: Database, blobs: Blobs) -> Iterator[ToolsHub]:
    desk = ScriptedDesk()
    serve = Serve(
        desk=desk,
        database=database,
        blobs=blobs,
        clock=SystemClock(),
        identify=identify,
        workbench=Workbench.make(desk, database, blobs, SystemClock()),
    )
    model = ServedModel(
        name="tiny", kind="full", owner="operator", files={}, identity="0123456789abcdef" * 4,
        parameters=1000, window=2048, price_in=10, price_out=30, created=1.0,
    )  # fmt: skip
    with database.transaction() as connection:
        publish(connection, model)
    app = FastAPI()
    app.state.serve = serve
    for module in (chat, answers, documents, files):
        app.include_router(module.router)
    refuse_the_rest(app)
    assert serve.workbench is not None
    with serving(app) as url, closing(serve.workbench.databases):
        yield ToolsHub(url, serve, desk)
