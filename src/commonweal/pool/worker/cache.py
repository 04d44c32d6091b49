"""Blobs on the member's disk: named by their hash, verified whenever they are read, the least recently used
dropped first.

A download grows in a ``.part`` file, which survives the process and is continued; only bytes that have the right
hash get the blob's name. The folder is the only index, so there is nothing that a crash could leave untrue. One
process uses it (``store`` holds the lock), and within it one thread.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from commonweal.core.hashing import BlobHash, content_hash, is_content_hash
from commonweal.pool.worker.disk import free_bytes, room_checked

log = logging.getLogger(__name__)

_PART = ".part"
_RESERVE = 64 * 1024 * 1024
"""Bytes of the disk that the cache leaves to everybody else."""


@dataclass(frozen=True, slots=True)
class _Entry:
    used: float
    size: int
    path: Path


class Cache:
    """At most ``limit`` bytes of blobs in ``folder``; a larger one is kept while it is the newest."""

    def __init__(self, folder: Path, limit: int) -> None:
        self.folder, self._limit = folder, limit
        folder.mkdir(parents=True, exist_ok=True)

    def read(self, name: BlobHash) -> bytes | None:
        """The blob's bytes, or None if it is not here. A damaged file is removed, to be fetched again."""
        path = self._path(name)
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            log.warning("unreadable blob=%s because=%s", name, error)
            data = b""
        if content_hash(data) != name:
            log.warning("damaged blob=%s size=%d; removed", name, len(data))
            path.unlink(missing_ok=True)
            return None
        os.utime(path)
        return data

    def part_size(self, name: BlobHash) -> int:
        """How much of a download is here."""
        try:
            return self._part(name).stat().st_size
        except FileNotFoundError:
            return 0

    @contextmanager
    def continuing(self, name: BlobHash, offset: int) -> Iterator[BinaryIO]:
        """The download's file, cut to ``offset`` bytes and open at its end. Raises StorageFull."""
        part = self._part(name)
        with room_checked(self.folder):
            part.parent.mkdir(exist_ok=True)
            with open(part, "ab") as file:
                file.truncate(offset)
                yield file

    def admit(self, name: BlobHash) -> bytes | None:
        """Give a finished download its name and return it; remove it and return None if it is something else."""
        part = self._part(name)
        try:
            data = part.read_bytes()
        except FileNotFoundError:
            return None
        if content_hash(data) != name:
            part.unlink()
            return None
        os.replace(part, self._path(name))
        return data

    def make_room(self, size: int, *, keep: BlobHash) -> None:
        """Drop what was used longest ago, but not the download of ``keep``, until ``size`` more bytes are within
        the limit and fit on the disk."""
        entries = sorted(self._entries(), key=lambda entry: entry.used)
        excess = sum(entry.size for entry in entries) + size - self._limit
        missing = size + _RESERVE - free_bytes(self.folder)
        for entry in entries:
            if excess <= 0 and missing <= 0:
                return
            if entry.path != self._part(keep):
                entry.path.unlink(missing_ok=True)
                excess, missing = excess - entry.size, missing - entry.size

    def clear(self) -> None:
        """Drop everything, begun downloads too: the disk is full."""
        for path in self._files():
            path.unlink(missing_ok=True)

    def size(self) -> int:
        """Bytes of blobs and of begun downloads."""
        return sum(entry.size for entry in self._entries())

    def _entries(self) -> Iterator[_Entry]:
        for path in self._files():
            status = path.stat()
            yield _Entry(status.st_mtime, status.st_size, path)

    def _files(self) -> list[Path]:
        """Only what this cache itself wrote: it may be pointed at somebody's home by mistake."""
        files = self.folder.glob("??/*")
        return [path for path in files if is_content_hash(path.name.removesuffix(_PART)) and path.is_file()]

    def _path(self, name: BlobHash) -> Path:
        if not is_content_hash(name):
            raise ValueError(f"{name[:80]!r} is not a content hash")
        return self.folder / name[:2] / name

    def _part(self, name: BlobHash) -> Path:
        path = self._path(name)
        return path.with_name(path.name + _PART)
