"""A site as plain files, for any web host at any sub-path.

The folder is made beside its place and moved there when it is whole, so what stands there can be served. Refuses to
replace a folder that is none of ours.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from commonweal.core.errors import Conflict
from commonweal.web.site.book import pages
from commonweal.web.site.render import render
from commonweal.web.site.state import Site

MARKER = ".commonweal-site"


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """How many files of how many bytes; ``largest`` is the path of the largest page of HTML."""

    files: int
    size: int
    largest: str
    largest_size: int


def export(site: Site, folder: Path, progress: Callable[[int], None] = lambda files: None) -> Exported:
    """Write all pages below ``folder``, in place of what an earlier export left there. Raises Conflict for a folder
    with anything else in it."""
    if folder.exists() and not _ours(folder):
        raise Conflict(
            f"{folder}: there is something else in it", hint="give a new folder, or an empty one (--out)"
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    new = folder.with_name(f".{folder.name}.{os.getpid()}.new")
    try:
        new.mkdir()
        (new / MARKER).write_text(
            "Made by commonweal site; replaced as a whole by the next.\n", encoding="utf-8"
        )
        done = _write(site, new, progress)
        if folder.exists():
            shutil.rmtree(folder)
        new.rename(folder)
    finally:
        shutil.rmtree(new, ignore_errors=True)
    return done


def _ours(folder: Path) -> bool:
    return folder.is_dir() and ((folder / MARKER).exists() or not any(folder.iterdir()))


def _write(site: Site, folder: Path, progress: Callable[[int], None]) -> Exported:
    made: set[Path] = set()
    files = size = largest_size = 0
    largest = ""
    for page in pages(site):
        path, data = folder / page.path, render(page)
        if path.parent not in made:
            path.parent.mkdir(parents=True, exist_ok=True)
            made.add(path.parent)
        path.write_bytes(data)
        files, size = files + 1, size + len(data)
        if path.suffix == ".html" and len(data) > largest_size:
            largest, largest_size = page.path, len(data)
        progress(files)
    return Exported(files=files, size=size, largest=largest, largest_size=largest_size)
