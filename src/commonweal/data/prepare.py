"""Text in, shards out: tokenize a source once, and keep the result in a folder named by its content.

    out/<key>/tokenizer/           tokenizer.json, tokenizer_config.json
    out/<key>/shards/<hash>.safetensors
    out/<key>/prepared.json        both lists of shards and the provenance; written last

``key`` is a hash over the settings and, for local sources, over every file's bytes. The folder appears in one
rename, so it is whole or absent; a second call with the same content verifies every hash and does nothing
else. Memory is bounded by one shard and one batch of documents, whatever the size of the source.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import sysconfig
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from commonweal.core.errors import DataError, StorageFull
from commonweal.core.hashing import record_hash
from commonweal.data.files import list_files, list_stdlib
from commonweal.data.hub_datasets import local_files
from commonweal.data.packing import ShardWriter
from commonweal.data.provenance import VERSION, Provenance, SplitCounts, library_versions, licence_of
from commonweal.data.shards import ShardSet, shard_name
from commonweal.data.sources import Document, Source, described, held_out_rule, iter_documents
from commonweal.data.tokenizer import TextTokenizer, TokenizerSettings, make_tokenizer
from commonweal.data.windows import check_enough, count_windows

SHARD_TOKENS = 1_000_000

Progress = Callable[[str, int], None]
"""Told the stage ("tokenizer" or "tokens") and how many bytes of text it has read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """Data ready to train on. ``cached`` says that an earlier call had done the work."""

    folder: Path
    shards: ShardSet
    held_out: ShardSet
    tokenizer_dir: Path
    provenance: Provenance
    cached: bool

    @property
    def shard_dir(self) -> Path:
        return self.folder / "shards"


def prepare(
    source: Source,
    tokenizer: TokenizerSettings,
    out: Path,
    *,
    seq_len: int,
    batch_size: int = 1,
    held_out: Source | None = None,
    shard_tokens: int = SHARD_TOKENS,
    progress: Progress = lambda stage, text_bytes: None,
) -> Prepared:
    """Tokenize ``source`` into shards under ``out``, or find that done already.

    One document in fifty is held out, unless ``held_out`` is a source of its own. Raises DataError (the text,
    or too little of it for one batch of ``batch_size`` sequences of ``seq_len``), ConfigError or StorageFull.
    """
    content = {"train": source_hash(source), "held_out": source_hash(held_out) if held_out else ""}
    key = _key(source, tokenizer, held_out, content, shard_tokens)
    folder = out / key[:32]
    cached = (folder / "prepared.json").is_file()
    if not cached:
        with _new_folder(folder) as tmp:
            made = _Preparation(source, tokenizer, held_out, tmp, shard_tokens, progress).run(
                content["train"]
            )
            _check_sizes(made[0], made[1], source, seq_len, batch_size)
            _write_record(tmp / "prepared.json", *made)
    prepared = open_prepared(folder, cached=cached)
    _check_sizes(prepared.shards, prepared.held_out, source, seq_len, batch_size)
    return prepared


def open_prepared(folder: Path, *, cached: bool = True) -> Prepared:
    """Read a prepared folder, verifying the hash of every shard and of the record."""
    try:
        record = json.loads((folder / "prepared.json").read_text(encoding="utf-8"))
        prepared = Prepared(
            folder=folder,
            shards=ShardSet.from_json(record["shards"]),
            held_out=ShardSet.from_json(record["held_out"]),
            tokenizer_dir=folder / "tokenizer",
            provenance=Provenance.from_json(record["provenance"]),
            cached=cached,
        )
    except (OSError, ValueError, KeyError, TypeError):
        raise _changed(folder / "prepared.json", folder) from None
    for shard in (*prepared.shards.shards, *prepared.held_out.shards):
        _verify(prepared.shard_dir / shard_name(shard.hash), shard.hash)
    _verify(prepared.tokenizer_dir / "tokenizer.json", prepared.provenance.tokenizer_hash)
    return prepared


class _Preparation:
    """One run: source and settings in, files under ``tmp`` out."""

    def __init__(
        self,
        source: Source,
        tokenizer: TokenizerSettings,
        held_out: Source | None,
        tmp: Path,
        shard_tokens: int,
        progress: Progress,
    ) -> None:
        self._source = source
        self._settings = tokenizer
        self._held_out = held_out
        self._tmp = tmp
        self._shard_tokens = shard_tokens
        self._progress = progress

    def run(self, content: str) -> tuple[ShardSet, ShardSet, Provenance]:
        is_held_out = held_out_rule(self._source) if self._held_out is None else (lambda name: False)
        texts = (d.text for d in self._documents("tokenizer") if not is_held_out(d.name))
        with tempfile.TemporaryDirectory(dir=self._tmp) as work:
            tokenizer = make_tokenizer(self._settings, texts, work=Path(work))
            tokenizer.save(self._tmp / "tokenizer")
            train, held_out = self._write_splits(tokenizer, is_held_out)
            return train, held_out, self._provenance(content, tokenizer, train, held_out)

    def _write_splits(
        self, tokenizer: TextTokenizer, is_held_out: Callable[[str], bool]
    ) -> tuple[ShardSet, ShardSet]:
        (self._tmp / "shards").mkdir()
        writers = [ShardWriter(self._tmp / "shards", tokenizer, self._shard_tokens) for _ in range(2)]
        for document in self._documents("tokens"):
            writers[is_held_out(document.name)].add(document.text)
        for document in iter_documents(self._held_out) if self._held_out else ():
            writers[1].add(document.text)
        return writers[0].finish(), writers[1].finish()

    def _documents(self, stage: str) -> Iterator[Document]:
        size = 0
        for document in iter_documents(self._source):
            yield document
            size += len(document.text.encode())
            self._progress(stage, size)

    def _provenance(
        self, content: str, tokenizer: TextTokenizer, train: ShardSet, held_out: ShardSet
    ) -> Provenance:
        source = self._source
        return Provenance(
            version=VERSION,
            kind=source.kind,
            location=source.path,
            config=source.config,
            split=source.split,
            revision=source.revision,
            text_field=source.text_field,
            licence=licence_of(source),
            content=content,
            held_out_source=asdict(self._held_out) if self._held_out else None,
            tokenizer_kind=self._settings.kind,
            tokenizer_name=self._settings.name,
            tokenizer_hash=tokenizer.hash(),
            vocab_size=tokenizer.vocab_size,
            train=_counts(train),
            held_out=_counts(held_out),
            libraries=library_versions(),
        )


def _counts(shards: ShardSet) -> SplitCounts:
    return SplitCounts(
        documents=shards.documents,
        text_bytes=shards.text_bytes,
        tokens=shards.tokens,
        shards=tuple(shard.hash for shard in shards.shards),
    )


def _check_sizes(shards: ShardSet, held_out: ShardSet, source: Source, seq_len: int, batch_size: int) -> None:
    try:
        check_enough(shards, seq_len=seq_len, batch_size=batch_size)
    except DataError as error:
        raise DataError(f"{described(source)}: {error.message}", hint=error.hint) from None
    if not any(count_windows(shard.tokens, seq_len) for shard in held_out.shards):
        raise DataError(
            f"{described(source)}: {held_out.tokens} held-out tokens are less than one sequence of {seq_len}",
            hint="add text, shorten seq_len, or name a separate held-out source",
        )


def source_hash(source: Source) -> str:
    """A hash over the names and bytes of a local source's files; "" for one that is elsewhere."""
    if source.kind == "stdlib":
        root = Path(sysconfig.get_path("stdlib"))
        paths = list_stdlib(root)
    elif source.kind == "files":
        root, paths = list_files(source.path)
    else:
        root, paths = Path(source.path).expanduser(), local_files(source.path)
    if not paths:
        return ""
    return record_hash([[os.path.relpath(path, root), _file_hash(path)] for path in paths])


def _file_hash(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from None


def _key(
    source: Source,
    tokenizer: TokenizerSettings,
    held_out: Source | None,
    content: dict[str, str],
    shard_tokens: int,
) -> str:
    named: dict[str, Any] = asdict(tokenizer)
    if tokenizer.kind == "named" and (file := Path(tokenizer.name).expanduser() / "tokenizer.json").is_file():
        named["content"] = _file_hash(file)
    record = {
        "version": VERSION,
        "source": asdict(source),
        "tokenizer": named,
        "held_out": asdict(held_out) if held_out else None,
        "content": content,
        "shard_tokens": shard_tokens,
    }
    return record_hash(record)


def _write_record(file: Path, shards: ShardSet, held_out: ShardSet, provenance: Provenance) -> None:
    record = {"shards": shards.to_json(), "held_out": held_out.to_json(), "provenance": provenance.to_json()}
    file.write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _verify(file: Path, expected: str) -> None:
    if not file.is_file() or _file_hash(file) != expected:
        raise _changed(file, file.parent.parent)


def _changed(file: Path, folder: Path) -> DataError:
    return DataError(
        f"{file}: missing or changed since it was prepared", hint=f"delete {folder} and try again"
    )


@contextmanager
def _new_folder(folder: Path) -> Iterator[Path]:
    """A folder that appears under its name when the block ends well, and leaves nothing behind otherwise."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        tmp = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".preparing-"))
    except OSError as error:
        raise _storage_error(error, folder.parent) from None
    try:
        yield tmp
        # Another process may have prepared the same content meanwhile: its folder is as good as ours.
        if not folder.exists():
            tmp.rename(folder)
    except OSError as error:
        raise _storage_error(error, folder.parent) from error
    finally:
        shutil.rmtree(tmp, ignore_errors=True)


def _storage_error(error: OSError, folder: Path) -> Exception:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StorageFull(f"{folder}: no space left for the tokens", hint="free some space and try again")
    return DataError(f"{folder}: cannot be written: {error.strerror}", hint="choose another folder")
