"""Where text comes from: files, a Hugging Face data set, or the standard library of this interpreter.

Owns the settings of a source, the order of its documents, and which of them are held out. It does not know
tokens. Invariants: the same source gives the same documents in the same order; whether a document is held
out depends on its name alone, so it stays held out when documents are added around it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Literal

from commonweal.core.errors import DataError
from commonweal.data.files import iter_files, iter_stdlib
from commonweal.data.hub_datasets import iter_dataset

HELD_OUT_ONE_IN = 50
_PEEK = 10 * HELD_OUT_ONE_IN


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Text to learn from, as a job file names it.

    ``path`` is a file, a folder or a glob (kind "files"), or the name or local path of a Hugging Face data
    set (kind "dataset"; ``config``, ``split`` and ``revision`` are its own words). ``text_field`` is the field
    of a JSONL line or the column of a data set. ``max_bytes`` stops after that much text (UTF-8 bytes).
    """

    kind: Literal["stdlib", "files", "dataset"] = "stdlib"
    path: str = ""
    text_field: str = "text"
    config: str | None = None
    split: str = "train"
    revision: str | None = None
    licence: str = ""
    max_bytes: int | None = None

    def __post_init__(self) -> None:
        if self.kind == "stdlib" and self.path:
            raise ValueError("path: the kind 'stdlib' has none; set kind = \"files\" to read a path")
        if self.kind != "stdlib" and not self.path:
            raise ValueError(f"path: the kind '{self.kind}' needs one")
        if not self.text_field:
            raise ValueError("text_field: must not be empty")
        if self.max_bytes is not None and self.max_bytes < 1:
            raise ValueError("max_bytes: must be at least 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """One text and its name within the source: a relative path, with a line or row number if it has one."""

    text: str
    name: str


def iter_documents(source: Source) -> Iterator[Document]:
    """Every non-empty document of ``source`` in its fixed order. Raises DataError with the place at fault."""
    size = 0
    for name, text in _read(source):
        if not text or text.isspace():
            continue
        yield Document(text=text, name=name)
        size += len(text.encode())
        if source.max_bytes is not None and size >= source.max_bytes:
            return


def held_out_rule(source: Source) -> Callable[[str], bool]:
    """Which names of ``source`` are held out: one in fifty by a stable hash.

    A source so small that the hash picks none of its documents gives up the one with the smallest hash
    instead. Raises DataError when there are fewer than two documents.
    """
    names = [document.name for document in islice(iter_documents(source), _PEEK)]
    if not names:
        raise DataError(f"{described(source)}: no text in it", hint="every document is empty; check path")
    if any(is_held_out(name) for name in names):
        return is_held_out
    if len(names) < 2:
        raise DataError(
            f"{described(source)}: one document only, so none can be held out",
            hint="add documents, or name a separate held-out source",
        )
    chosen = min(names, key=_name_hash)
    return lambda name: name == chosen or is_held_out(name)


def is_held_out(name: str) -> bool:
    """Whether the hash of ``name`` falls into the held-out fiftieth."""
    return _name_hash(name) % HELD_OUT_ONE_IN == 0


def described(source: Source) -> str:
    """The source in a word or two, for messages: its path as given, or its kind."""
    return source.path or source.kind


def _name_hash(name: str) -> int:
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")


def _read(source: Source) -> Iterator[tuple[str, str]]:
    if source.kind == "stdlib":
        return iter_stdlib()
    if source.kind == "files":
        return iter_files(source.path, source.text_field)
    return iter_dataset(
        source.path,
        config=source.config,
        split=source.split,
        revision=source.revision,
        text_field=source.text_field,
    )
