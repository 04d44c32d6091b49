"""Uploads in parts, for a store that takes bytes at signed URLs: what broke off costs one part, not the whole.

Each part is an object of its own in the waiting room, so what is there is what the store lists: no hub process
remembers anything. Parts belong to one uploader, so nobody can spoil another's. S3's own multipart uploads would do
as well, but their URLs cannot be signed through obstore, and what is left of a broken one is hidden from listings.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

import obstore
from obstore.store import S3Store

from commonweal.core.errors import NotFound

LEAST = 4 << 20
"""Bytes of a part, and the largest upload that is not worth cutting."""

MOST_PARTS = 1000
"""As many as one listing shows: larger uploads have larger parts."""

AT_ONCE = 8
"""How many parts are signed at a time: what a slow link sends before their URLs are too old."""

SUFFIX = ".parts"


@dataclass(frozen=True, slots=True)
class Part:
    """Bytes ``start`` to ``start + size`` of an upload go to ``url``."""

    start: int
    size: int
    url: str


def part_size(size: int) -> int:
    """Bytes of every part of an upload of ``size`` but the last one.

    >>> part_size(5 << 20) == LEAST, part_size(8 << 30)
    (True, 8589935)
    """
    return max(LEAST, -(-size // MOST_PARTS))


class Parts:
    """The parts of one uploader's upload of ``size`` bytes; they wait in the folder ``prefix``."""

    def __init__(self, store: S3Store, prefix: str, size: int) -> None:
        self._store, self._folder, self._size = store, f"{prefix}-{size}{SUFFIX}", size

    def missing(self, seconds: float) -> list[Part]:
        """The first parts that are not there (or have another size), to be uploaded within ``seconds``; none if all
        are there."""
        there = self._there()
        wanted = [(start, size) for start, size in self._cut() if there.get(self._path(start)) != size]
        paths = [self._path(start) for start, _ in wanted[:AT_ONCE]]
        urls = obstore.sign(self._store, "PUT", paths, timedelta(seconds=seconds)) if paths else []
        return [Part(start, size, str(url)) for (start, size), url in zip(wanted, urls, strict=False)]

    def assemble(self, path: str) -> str:
        """Put all parts together as the object ``path``, and return its SHA-256. Each is read once, so what was hashed
        is what was written, even if its uploader writes to it meanwhile. Raises NotFound where one is missing."""
        if self.missing(0.0):
            raise NotFound("parts of the upload are missing", hint="ask where to upload them")
        digest = hashlib.sha256()
        with obstore.open_writer(self._store, path) as file:
            for start, size in self._cut():
                piece = bytes(obstore.get_range(self._store, self._path(start), start=0, end=size))
                digest.update(piece)
                file.write(piece)
        return digest.hexdigest()

    def drop(self) -> None:
        """Forget the parts."""
        paths = list(self._there())
        if paths:
            obstore.delete(self._store, paths)

    def _there(self) -> dict[str, int]:
        listing = obstore.list(self._store, prefix=self._folder)
        return {meta["path"]: meta["size"] for batch in listing for meta in batch}

    def _cut(self) -> Iterator[tuple[int, int]]:
        step = part_size(self._size)
        return ((start, min(step, self._size - start)) for start in range(0, self._size, step))

    def _path(self, start: int) -> str:
        return f"{self._folder}/{start:015}"
