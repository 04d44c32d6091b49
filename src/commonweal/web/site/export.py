"""A site as plain files, for any web host at any sub-path.

The folder is made beside its place and moved there when it is whole, so what stands there can be served. Refuses to
replace a folder that is none of ours. A large site is written by several processes (:mod:`shares`), each a scenario or
the runs of one name at a time; what comes out is the same.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from commonweal.core.errors import Conflict, DataError
from commonweal.evals.summary.board import Board
from commonweal.evals.summary.comparison import Compared
from commonweal.web.site import comparison
from commonweal.web.site.book import first_pages
from commonweal.web.site.finding import Damaged
from commonweal.web.site.shares import Part, Share, Written, part_of, shares, write, written_by_processes
from commonweal.web.site.state import Site

MARKER = ".commonweal-site"
_WORTH_A_PROCESS = 2_000
"""Samples from which on several processes are sooner done than one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """How many files of how many bytes; ``largest`` is the path of the largest page of HTML."""

    files: int
    size: int
    largest: str
    largest_size: int


def export(
    site: Site,
    folder: Path,
    progress: Callable[[int], None] = lambda files: None,
    *,
    processes: int | None = None,
    skip_damaged: bool = False,
) -> Exported:
    """Write all pages below ``folder``, in place of what an earlier export left there. ``processes`` is how many write;
    None: one a core, and one alone for a small site.

    Raises Conflict for a folder with anything else in it, and DataError where a run cannot be read; with
    ``skip_damaged`` such a run has a page that says so.
    """
    if site.found.damaged and not skip_damaged:
        raise _damaged(site.found.damaged)
    if site.reported_damaged and not skip_damaged:
        raise site.reported_damaged[0]
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
        done = _write(
            site, new, progress, processes if processes is not None else _processes(site), skip_damaged
        )
        if folder.exists():
            shutil.rmtree(folder)
        new.rename(folder)
    finally:
        shutil.rmtree(new, ignore_errors=True)
    return Exported(files=done.files, size=done.size, largest=done.largest, largest_size=done.largest_size)


def _ours(folder: Path) -> bool:
    return folder.is_dir() and ((folder / MARKER).exists() or not any(folder.iterdir()))


def _processes(site: Site) -> int:
    samples = sum(int((run.run.get("coverage") or {}).get("expected", 0)) for run in site.runs)
    return len(os.sched_getaffinity(0)) if samples >= _WORTH_A_PROCESS else 1


def _write(site: Site, folder: Path, progress: Callable[[int], None], processes: int, skip: bool) -> Written:
    """The shares first: what they find out is what the boards and comparisons are made of."""
    todo = shares(site)
    done = Written()
    columns: dict[str, Board] = {}
    compared: dict[tuple[str, str], list[Compared]] = {}
    for part in _parts(todo, folder, processes, skip):
        done = done.plus(part.written)
        columns.update(part.columns)
        for pair, one in part.compared.items():
            compared.setdefault(pair, []).append(one)
        progress(done.files)
    site.know(columns, {pair: sorted(found, key=lambda one: one.name) for pair, found in compared.items()})
    return done.plus(write(first_pages(site), folder)).plus(
        write((comparison.page(site, a, b) for a, b in site.pairs), folder)
    )


def _parts(todo: Sequence[Share], folder: Path, processes: int, skip: bool) -> Iterator[Part]:
    if processes > 1:
        return written_by_processes(todo, folder, processes, skip_damaged=skip)
    return (part_of(share, folder, skip_damaged=skip) for share in todo)


def _damaged(runs: Sequence[Damaged]) -> DataError:
    first, more = runs[0], f" (and {len(runs) - 1} more runs like it)" if len(runs) > 1 else ""
    return DataError(
        f"{first.folder / first.file}: {first.why}{more}",
        hint="move that run's folder away and evaluate again, or go on without it: --skip-damaged",
    )
