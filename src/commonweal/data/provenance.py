"""What went into a prepared data set: the record that the model's label is later written from.

Written once, by ``prepare``, with a hash over all of it. It holds what the user typed, not what that resolved
to on this machine, so publishing it gives away no folder names.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from commonweal import __version__
from commonweal.core.errors import DataError
from commonweal.core.hashing import record_hash
from commonweal.data.sources import Source

VERSION = 1
STDLIB_LICENCE = "PSF-2.0"
_LIBRARIES = ("numpy", "tokenizers", "datasets")


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitCounts:
    """One split, counted: documents, UTF-8 bytes of text, tokens with their separators, and its shards."""

    documents: int
    text_bytes: int
    tokens: int
    shards: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """Where the tokens come from. ``licence`` is the user's word ("" is "not stated"); ``content`` is a hash
    over the source's files where it is local, else "" (``revision`` says which then)."""

    version: int
    kind: str
    location: str
    config: str | None
    split: str
    revision: str | None
    text_field: str
    licence: str
    content: str
    held_out_source: dict[str, Any] | None
    tokenizer_kind: str
    tokenizer_name: str
    tokenizer_hash: str
    vocab_size: int
    train: SplitCounts
    held_out: SplitCounts
    libraries: dict[str, str]

    @property
    def hash(self) -> str:
        """The hash of the record."""
        return record_hash(asdict(self))

    def to_json(self) -> dict[str, Any]:
        """Plain JSON, with the record's own hash in it."""
        return {**asdict(self), "hash": self.hash}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Provenance:
        """Read :meth:`to_json` back. Raises DataError when the record was changed since."""
        known = {f.name for f in fields(cls)}
        values = {key: item for key, item in value.items() if key in known}
        for split in ("train", "held_out"):
            values[split] = SplitCounts(**{**values[split], "shards": tuple(values[split]["shards"])})
        record = cls(**values)
        if record.hash != value.get("hash"):
            raise DataError(
                "provenance: the record does not have its own hash", hint="prepare the data again"
            )
        return record


def licence_of(source: Source) -> str:
    """The licence that the user gave; the standard library's own is known."""
    return source.licence or (STDLIB_LICENCE if source.kind == "stdlib" else "")


def library_versions() -> dict[str, str]:
    """The releases that made the tokens, this package's among them."""
    found = {"commonweal": __version__}
    for name in _LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
