"""The pictures that a run's prompts have: their bytes, kept once beside its tables by their hash.

Owns the folder ``images`` of a run. ``images/SHA256.png`` (``.jpg``, ``.gif``, ``.webp``) is a picture as it was sent;
``images/SHA256.txt`` says in words why one was not kept. Knows no model, no table and no page.

Invariants: a picture lies there before the request that has it is sent, so a resumed run lacks none; a file appears
whole or not at all, and its ending is what its bytes are, whatever the scenario called them. Runs made before pictures
were kept have no such folder.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from commonweal.core.completion import Image
from commonweal.core.hashing import content_hash
from commonweal.evals.raster import LARGEST, MEDIA_TYPES, Raster, raster_of
from commonweal.evals.run_folder import room

FOLDER = "images"
MOST = 2 * 2**30
"""Bytes of all pictures of a run."""

_HASH = re.compile(r"[0-9a-f]{64}")
_REASON = 200


class Pictures:
    """Keeps the pictures of one run. ``wanted`` False keeps none, but counts them."""

    def __init__(self, folder: Path, *, wanted: bool = True, most: int = MOST) -> None:
        self._folder, self._wanted, self._most = folder / FOLDER, wanted, most
        self._seen: set[str] = set()
        self._last: Image | None = None
        self._kept = self._bytes = 0

    def keep(self, images: Iterable[Image]) -> None:
        """Have ``images`` in the folder, unless they are there. Raises StorageFull."""
        for image in images:
            if image is self._last:  # the questions about one picture stand together
                continue
            self._last = image
            name = content_hash(image.data)
            if name not in self._seen:
                self._seen.add(name)
                if self._wanted:
                    self._one(name, image.data)

    def to_json(self) -> dict[str, Any] | None:
        """How many there were, for ``run.json``; None for a run without pictures."""
        if not self._seen:
            return None
        left_out = len(self._seen) - self._kept
        return {"wanted": self._wanted, "kept": self._kept, "left_out": left_out, "bytes": self._bytes}

    def _one(self, name: str, data: bytes) -> None:
        found = raster_of(data)
        if isinstance(found, Raster) and self._bytes + len(data) > self._most:
            found = f"the pictures of this run have more than {self._most:,} bytes together"
        if isinstance(found, Raster):
            self._kept += 1
            self._bytes += len(data)
            self._write(self._folder / f"{name}.{found.ending}", data)
        else:
            self._write(self._folder / f"{name}.txt", f"{found}\n".encode())

    def _write(self, path: Path, data: bytes) -> None:
        if path.is_file() and path.stat().st_size == len(data):
            return
        new = path.with_name(f".{path.name}.new")
        with room(path.parent.parent):
            path.parent.mkdir(exist_ok=True)
            try:
                new.write_bytes(data)
                new.replace(path)
            finally:
                new.unlink(missing_ok=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A picture that lies in a run's folder, and is the one that was sent."""

    data: bytes
    raster: Raster


def read_picture(folder: Path, name: str) -> Kept | str:
    """The picture of the run in ``folder`` with the hash ``name``, or in words why there is none. No byte is given out
    whose hash is another one, or that is no raster picture."""
    path = found_picture(folder, name)
    if isinstance(path, str):
        return path
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST + 1)
    except OSError as error:
        return f"its file cannot be read: {error.strerror}"
    if len(data) <= LARGEST and content_hash(data) != name:
        return "its file is damaged: it has another hash than what was sent"
    raster = raster_of(data)
    if isinstance(raster, str):
        return f"its file is not shown: {raster}"
    return Kept(data=data, raster=raster)


def found_picture(folder: Path, name: str) -> Path | str:
    """Where a picture lies, or why it does not; "" where that is not known."""
    if not _HASH.fullmatch(name):
        return ""
    for ending in MEDIA_TYPES:
        path = folder / FOLDER / f"{name}.{ending}"
        if path.is_file():
            return path
    try:
        with (folder / FOLDER / f"{name}.txt").open(encoding="utf-8", errors="replace") as file:
            return f"it was not kept: {file.read(_REASON).strip()}"
    except OSError:
        return ""
