"""The pictures of prompts, as a page of instances shows them: each with its size and its place, or why it is not there.

Owns what is said of a picture, and the files of those that are shown. Their bytes are those that lie with the run and
have the hash that the run's tables name, whatever else lies there; how large a picture is, is read from itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from commonweal.evals.pictures import Kept, found_picture, read_picture
from commonweal.evals.raster import Raster
from commonweal.evals.summary.runs import SavedRun
from commonweal.web.site import addresses
from commonweal.web.site.page import File

_WIDEST, _HIGHEST = 480, 360
"""Pixels of a picture on a page; a click shows all of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """``name`` is media type and hash, as the tables have it. Where it is shown it has a ``path``, and else a
    ``reason`` why not. ``width`` and ``height`` are those on the page, ``about`` its format and its own size."""

    name: str
    path: str = ""
    width: int = 0
    height: int = 0
    about: str = ""
    reason: str = ""


class Pictures:
    """Of one page. What is shown on it is there as a file too."""

    def __init__(self, run: SavedRun) -> None:
        self._run = run
        self._made: dict[str, Picture] = {}

    def shown(self, name: str) -> Picture:
        if name not in self._made:
            self._made[name] = self._picture(name)
        return self._made[name]

    def files(self, but: set[str]) -> Iterator[File]:
        """Those of the page's pictures whose paths are not in ``but``, which they are added to."""
        for name, picture in self._made.items():
            if picture.path and picture.path not in but:
                but.add(picture.path)
                kept = read_picture(self._run.folder, _hash(name))
                if isinstance(kept, Kept):
                    yield _file(picture.path, kept)

    def _picture(self, name: str) -> Picture:
        found = _looked_at(self._run.folder, _hash(name))
        if isinstance(found, str):
            return Picture(name=name, reason=found or _unknown(self._run))
        by = min(1.0, _WIDEST / found.width, _HIGHEST / found.height)
        return Picture(
            name=name,
            path=addresses.picture(self._run.model, self._run.name, _hash(name), found.ending),
            width=max(1, round(found.width * by)),
            height=max(1, round(found.height * by)),
            about=f"{found.media_type}, {found.width} × {found.height} pixels",
        )


def file(run: SavedRun, name: str, ending: str) -> File | None:
    """The picture of a run with the hash ``name``; None where there is none that may be shown."""
    kept = read_picture(run.folder, name)
    if isinstance(kept, str) or kept.raster.ending != ending:
        return None
    return _file(addresses.picture(run.model, run.name, name, ending), kept)


def _file(path: str, kept: Kept) -> File:
    return File(path=path, data=kept.data, media_type=kept.raster.media_type)


def _hash(name: str) -> str:
    return name.rpartition(" ")[2]


def _looked_at(folder: Path, name: str) -> Raster | str:
    path = found_picture(folder, name)
    if isinstance(path, str):
        return path
    told = path.stat()
    return _read(folder, name, (told.st_mtime_ns, told.st_size))


@lru_cache(maxsize=8192)
def _read(folder: Path, name: str, stamp: tuple[int, int]) -> Raster | str:
    """A picture is hashed anew where its file has changed: that is what ``stamp`` is for."""
    kept = read_picture(folder, name)
    return kept if isinstance(kept, str) else kept.raster


def _unknown(run: SavedRun) -> str:
    """Why a picture is not there of which the folder of pictures tells nothing."""
    told = run.run.get("pictures")
    if not isinstance(told, dict):
        return "its bytes are not kept with the run"
    if told.get("wanted") is False:
        return "its bytes were left out of the run on purpose (--no-pictures)"
    return "its file is missing from the run's folder"
