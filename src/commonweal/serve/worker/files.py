"""A model's files on the member's disk: fetched by content hash, verified, and plain.

Only kinds of file that are data are ever written (weights as safetensors, JSON, text, a chat template that is
rendered in a sandbox): never a pickle, never code. A folder belongs to one identity and is complete once its
``complete`` mark is there, so what a crash left half done is fetched again."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from commonweal.core.errors import CorruptBlob, StorageFull, UserError
from commonweal.core.hashing import BlobHash, content_hash
from commonweal.serve.gateway.frames import ModelSpec
from commonweal.serve.worker.engine import ModelFiles

PLAIN = (".safetensors", ".json", ".txt", ".jinja", ".model")
"""What a model's files may end in (``.model`` is a SentencePiece vocabulary)."""
DOCUMENTS = ("README.md", "LICENSE")
"""Files of a model that no engine reads."""
_COMPLETE = ".complete"

Get = Callable[[BlobHash], bytes]
"""Fetches a blob. Blocks."""


def fetch(spec: ModelSpec, folder: Path, get: Get) -> ModelFiles:
    """The model's files under ``folder``, fetched where they are not there yet. Raises UserError (a kind of file that
    is not loaded from strangers), CorruptBlob, StorageFull and what ``get`` raises."""
    base = None if spec.base is None else fetch(spec.base, folder, get)
    home = folder / spec.identity
    if not (home / _COMPLETE).exists():
        try:
            home.mkdir(parents=True, exist_ok=True)
            for name, blob in sorted(spec.files.items()):
                if name in DOCUMENTS:
                    continue
                _fetch(home / _plain(name), blob, get)
            (home / _COMPLETE).touch()
        except OSError as error:
            raise StorageFull(f"cannot keep '{spec.name}' in {home}: {error.strerror}") from error
    return ModelFiles(
        name=spec.name,
        identity=spec.identity,
        kind=spec.kind,
        folder=home,
        quantization=spec.quantization,
        window=spec.window,
        base=base,
    )


def _plain(name: str) -> str:
    if not name.endswith(PLAIN) or Path(name).name != name or name.startswith("."):
        raise UserError(
            f"'{name}' is not a kind of file that is loaded here", hint="safetensors, json, txt and jinja are"
        )
    return name


def _fetch(path: Path, blob: BlobHash, get: Get) -> None:
    data = get(blob)
    if content_hash(data) != blob:
        raise CorruptBlob(f"{path.name}: the bytes that came are not those of {blob[:12]}")
    part = path.with_name(path.name + ".part")
    part.write_bytes(data)
    os.replace(part, path)
