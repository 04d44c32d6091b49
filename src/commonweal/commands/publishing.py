"""``commonweal models``: what the hub serves, and how a folder becomes one of its models."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
from rich.table import Table

from commonweal import console
from commonweal.commands import origin
from commonweal.core.errors import UserError
from commonweal.core.hashing import BlobHash
from commonweal.labels.folder import stated_beside
from commonweal.pool.client import PoolClient
from commonweal.pool.worker.answers import check, reached
from commonweal.serve.publishing import wanted

_TIMEOUT = httpx.Timeout(60.0, connect=10.0)


class Models:
    """The hub's catalogue, over HTTP."""

    def __init__(self, url: str, key: str, *, transport: httpx.BaseTransport | None = None) -> None:
        self._http = httpx.Client(
            base_url=f"{url}/serve/v1",
            headers={"Authorization": f"Bearer {key}"},
            timeout=_TIMEOUT,
            transport=transport,
        )

    def close(self) -> None:
        self._http.close()

    def every(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._call("GET", "/models")
        return found

    def retire(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self._call("DELETE", f"/models/{name}")
        return found

    def publish(
        self,
        name: str,
        files: dict[str, BlobHash],
        *,
        base: str | None,
        public: bool,
        quantization: str,
        lineage: dict[str, Any],
    ) -> dict[str, Any]:
        body = {
            "name": name,
            "files": files,
            "base": base,
            "public": public,
            "quantization": quantization,
            "lineage": lineage,
        }
        made: dict[str, Any] = self._call("POST", "/models", body)
        return made

    def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        with reached("the hub"):
            response = self._http.request(method, path, json=body)
        check(response)
        return response.json()


def publish_folder(
    models: Models,
    client: PoolClient,
    folder: Path,
    name: str,
    *,
    base: str | None = None,
    public: bool = True,
    quantization: str = "none",
    say: Callable[[str], None] = lambda text: None,
) -> dict[str, Any]:
    """Upload a folder in the Hugging Face format, and publish it, with the note of the job that it comes from and what
    its owner states of it. Files that are no part of a model stay where they are. Raises UserError for a folder without
    any."""
    try:
        found = sorted(file for file in folder.iterdir() if file.is_file() and wanted(file.name))
    except OSError as error:
        raise UserError(f"{folder}: cannot be read: {error.strerror}", hint="give a model's folder") from None
    if not found:
        raise UserError(
            f"{folder}: has no files of a model", hint="config.json, model.safetensors and a tokenizer, say"
        )
    lineage = {**origin.read(folder), **stated_beside(folder)}
    files: dict[str, BlobHash] = {}
    for file in found:
        say(f"uploading {file.name}")
        files[file.name] = client.put(file.read_bytes())
    return models.publish(name, files, base=base, public=public, quantization=quantization, lineage=lineage)


def table(models: list[dict[str, Any]]) -> Table:
    """The catalogue for people: a line a model; prices are credits for a million tokens."""
    rows = [
        (
            console.safe(model["name"]),
            console.safe(model["base"] or ("a member's server" if model["kind"] == "fronted" else "")),
            console.count(model["parameters"]),
            str(model["window"]),
            console.money(1000 * model["price_in"]),
            console.money(1000 * model["price_out"]),
        )
        for model in models
    ]
    columns = ("model", "base", "params", "window", "1M in", "1M out")
    return console.table(columns, rows, right=columns[2:])
