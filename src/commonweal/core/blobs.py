"""The blob store: bytes named by their SHA-256, in a folder or in any S3-compatible store.

A blob is written once and never changed. It is stored before the row that names it, so a crash leaves only an
orphan. An orphan's age protects it from the collection of garbage while a row is about to name it, so storing
what is there already makes it young again. What is read is verified. Uploads of strangers land under
``incoming/`` and take their place only after their hash was checked, so a name never stands for other bytes.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import tempfile
import time
import typing
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import obstore
from obstore.exceptions import BaseError
from obstore.store import LocalStore, MemoryStore, S3Store

from commonweal.core.blob_parts import LEAST, SUFFIX, Part, Parts
from commonweal.core.errors import ConfigError, CorruptBlob, NotFound, StorageFull, Unavailable
from commonweal.core.hashing import BlobHash, content_hash, is_content_hash

if typing.TYPE_CHECKING:
    from obstore.store import ClientConfig, RetryConfig

CHUNK = 1 << 20

_COPIED_AT_MOST = 5_000_000_000
"""Bytes of the largest object that S3 copies in one request."""

_YOUNG_SECONDS = 600.0
_FULL = ("No space left", "os error 28", "os error 122")  # ENOSPC, EDQUOT
_CLIENT: ClientConfig = {"allow_http": True, "connect_timeout": "5s", "timeout": "60s"}
_RETRY: RetryConfig = {"max_retries": 3, "retry_timeout": timedelta(seconds=15)}


@dataclass(frozen=True, slots=True)
class BlobInfo:
    """``modified`` is in seconds since the epoch."""

    hash: BlobHash
    size: int
    modified: float


class Blobs:
    """A content-addressed store over obstore. Every method raises Unavailable when the store is away."""

    def __init__(self, store: LocalStore | MemoryStore | S3Store) -> None:
        self._store = store

    def put(self, data: bytes) -> BlobHash:
        """Store ``data``; storing the same bytes again is almost free. Raises StorageFull."""
        name = content_hash(data)
        if not self.keep(name):
            with _translated(name):
                obstore.put(self._store, _path(name), data)
        return name

    def put_file(self, file: Path | typing.IO[bytes], name: BlobHash) -> None:
        """Store a file, or what an open one has from here on, whose hash is known to be ``name``."""
        if not self.keep(name):
            with _translated(name):
                obstore.put(self._store, _path(name), file)

    def keep(self, name: BlobHash) -> bool:
        """Whether ``name`` is there; if it is, it is as young as one that was stored now (give or take)."""
        try:
            with _translated(name):
                modified = obstore.head(self._store, _path(name))["last_modified"].timestamp()
                if modified < time.time() - _YOUNG_SECONDS:
                    self._touch(name)
        except NotFound:
            return False
        return True

    def is_older(self, name: BlobHash, before: float) -> bool:
        """Whether ``name`` is there and was last stored before that time."""
        try:
            with _translated(name):
                modified = obstore.head(self._store, _path(name))["last_modified"].timestamp()
        except NotFound:
            return False
        return bool(modified < before)

    def _touch(self, name: BlobHash) -> None:
        """A folder's copies are links, which keep the time; an S3 object cannot be copied onto itself."""
        if isinstance(self._store, LocalStore) and self._store.prefix is not None:
            os.utime(self._store.prefix / _path(name))
            return
        aside = f"incoming/touched/{name}"
        self._copy(_path(name), aside)
        self._copy(aside, _path(name))
        obstore.delete(self._store, aside)

    def get(self, name: BlobHash) -> bytes:
        """The bytes of ``name``. Raises NotFound, and CorruptBlob if the store returns other bytes."""
        with _translated(name):
            data = bytes(obstore.get(self._store, _path(name)).bytes())
        if content_hash(data) != name:
            raise CorruptBlob(f"blob {name[:12]} is damaged in the store", hint="restore it from a backup")
        return data

    def stream(self, name: BlobHash, start: int, end: int) -> Iterator[bytes]:
        """Bytes ``start`` to ``end`` (exclusive) in pieces. Not verified: the receiver does that."""
        for offset in range(start, end, CHUNK):
            with _translated(name):
                yield bytes(
                    obstore.get_range(self._store, _path(name), start=offset, end=min(end, offset + CHUNK))
                )

    def has(self, name: BlobHash) -> bool:
        try:
            self.size(name)
        except NotFound:
            return False
        return True

    def size(self, name: BlobHash) -> int:
        """Size in bytes. Raises NotFound."""
        with _translated(name):
            return int(obstore.head(self._store, _path(name))["size"])

    def delete(self, name: BlobHash) -> None:
        """Forget a blob; one that is not there is fine."""
        try:
            with _translated(name):
                obstore.delete(self._store, _path(name))
        except NotFound:
            pass

    def all(self) -> Iterator[BlobInfo]:
        """Every blob in the store, for the collection of garbage."""
        with _translated("the listing"):
            for batch in obstore.list(self._store, prefix="blobs"):
                for meta in batch:
                    name = meta["path"].rsplit("/", 1)[-1]
                    if is_content_hash(name):
                        yield BlobInfo(BlobHash(name), meta["size"], meta["last_modified"].timestamp())

    def drop_incoming(self, before: float) -> int:
        """Forget uploads by signed URL that nobody has gone on with since ``before``; returns how many objects. Parts
        of one upload are as young as the last of them."""
        touched: dict[str, float] = {}
        waiting: dict[str, list[str]] = {}
        with _translated("the listing"):
            for batch in obstore.list(self._store, prefix="incoming"):
                for meta in batch:
                    folder = meta["path"].rsplit("/", 1)[0]
                    upload = folder if folder.endswith(SUFFIX) else meta["path"]
                    waiting.setdefault(upload, []).append(meta["path"])
                    touched[upload] = max(touched.get(upload, 0.0), meta["last_modified"].timestamp())
            old = [path for upload, paths in waiting.items() if touched[upload] < before for path in paths]
            for path in old:
                obstore.delete(self._store, path)
        return len(old)

    def sign_get(self, name: BlobHash, seconds: float) -> str | None:
        """A URL that downloads ``name`` straight from the store, or None for a store that has none."""
        if not isinstance(self._store, S3Store):
            return None
        return str(obstore.sign(self._store, "GET", _path(name), timedelta(seconds=seconds)))

    def sign_put(self, name: BlobHash, seconds: float) -> str | None:
        """A URL that uploads to the waiting room of ``name``; :meth:`admit` then checks and moves it."""
        if not isinstance(self._store, S3Store):
            return None
        return str(obstore.sign(self._store, "PUT", _incoming(name), timedelta(seconds=seconds)))

    def sign_parts(self, name: BlobHash, size: int, owner: str, seconds: float) -> list[Part] | None:
        """Where to upload the next missing parts of ``name``, an empty list if :meth:`admit_parts` may be called; None
        for a store that signs nothing, and for a blob that is better uploaded in one (:meth:`sign_put`)."""
        parts = self._parts(name, size, owner)
        if parts is None:
            return None
        with _translated(name):
            return parts.missing(seconds)

    def admit_parts(self, name: BlobHash, size: int, owner: str) -> int:
        """Put together what ``owner`` uploaded for ``name``, check it, and give it its place. Returns its size.

        Raises NotFound where parts are missing, and CorruptBlob (having removed them) if they are something else.
        """
        parts = self._parts(name, size, owner)
        if parts is None:
            raise NotFound(f"no parts of {name[:12]} are expected")
        checked = f"{_incoming(name)}.{secrets.token_hex(8)}"
        try:
            if self.keep(name):  # an answer that was lost is asked for again
                return self.size(name)
            with _translated(name):
                if parts.assemble(checked) != name:
                    parts.drop()
                    raise CorruptBlob(f"the upload for {name[:12]} has another hash")
                self._copy(checked, _path(name))
                parts.drop()
        except NotFound:
            if self.keep(name):  # another request for the same upload was faster
                return self.size(name)
            raise
        finally:
            self._forget(checked)
        return size

    def _parts(self, name: BlobHash, size: int, owner: str) -> Parts | None:
        if not isinstance(self._store, S3Store) or size <= LEAST:
            return None
        return Parts(self._store, f"{_incoming(name)}.{owner}", size)

    def _copy(self, source: str, to: str) -> None:
        """One object as another. The store does it by itself, up to a size."""
        if int(obstore.head(self._store, source)["size"]) <= _COPIED_AT_MOST:
            obstore.copy(self._store, source, to)
            return
        file = obstore.open_writer(self._store, to)
        for piece in obstore.get(self._store, source).stream(CHUNK):
            file.write(piece)
        file.close()  # only now is it there: half of it must not stand under its name

    def _forget(self, path: str) -> None:
        with suppress(NotFound), _translated(path):
            obstore.delete(self._store, path)

    def admit(self, name: BlobHash, largest: int) -> int:
        """Check what was uploaded for ``name`` and give it its place. Returns its size.

        Raises NotFound if nothing was uploaded, and CorruptBlob (having removed it) if it is something else or
        larger than ``largest`` bytes.
        """
        if self.keep(name):
            return self.size(name)
        with _translated(name):
            # Who has the signed URL may still write to it, so what is checked is a copy out of its reach.
            checked = f"{_incoming(name)}.{secrets.token_hex(8)}"
            obstore.copy(self._store, _incoming(name), checked)
            obstore.delete(self._store, _incoming(name))
            try:
                size = self._check(name, checked, largest)
                self._copy(checked, _path(name))
            finally:
                obstore.delete(self._store, checked)
        return size

    def _check(self, name: BlobHash, path: str, largest: int) -> int:
        """The size of what lies at ``path`` if its hash is ``name``. Raises CorruptBlob."""
        size = int(obstore.head(self._store, path)["size"])
        digest = hashlib.sha256()
        if size <= largest:
            for piece in obstore.get(self._store, path).stream(CHUNK):
                digest.update(piece)
        if size > largest or digest.hexdigest() != name:
            raise CorruptBlob(f"the upload for {name[:12]} has another hash or is too large")
        return size


def open_blobs(location: str) -> Blobs:
    """A folder's path, ``memory://``, or ``s3://bucket/prefix`` (credentials and endpoint from the standard
    AWS_* environment)."""
    if location == "memory://":
        return Blobs(MemoryStore())
    if location.startswith("s3://"):
        return Blobs(S3Store.from_url(location, client_options=_CLIENT, retry_config=_RETRY))
    if "://" in location:
        raise ConfigError(f"--store: cannot use '{location}'", hint="give a folder or s3://bucket/prefix")
    folder = Path(location)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ConfigError(
            f"--store: cannot write to {folder}: {error.strerror}", hint="choose a folder that you may write"
        ) from None
    return Blobs(LocalStore(folder))


def _path(name: BlobHash) -> str:
    if not is_content_hash(name):
        raise NotFound(f"'{name[:80]}' is not a content hash")
    return f"blobs/{name[:2]}/{name}"


def _incoming(name: BlobHash) -> str:
    return _path(name).replace("blobs/", "incoming/", 1)


@contextmanager
def _translated(name: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise NotFound(f"no blob {name[:12]} in the store") from None
    except (BaseError, OSError) as error:
        if any(sign in str(error) for sign in _FULL):
            raise StorageFull(
                "the blob store has no space left", hint="free some space on its disk"
            ) from None
        raise Unavailable(f"the blob store failed: {str(error).splitlines()[0][:200]}") from error
