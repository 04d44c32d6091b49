"""A site in shares that are written apart from each other: a scenario with its ranks, and all runs of one name.

What a share finds out that other pages need (ranks of a scenario, what came of comparisons) it gives back. Invariant: a
share's pages are the same bytes as those that the whole site has at their paths.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field, replace
from pathlib import Path

from commonweal.core.errors import DataError
from commonweal.evals.summary.board import Board
from commonweal.evals.summary.comparison import Compared
from commonweal.web.site import comparison, disputed, scenario
from commonweal.web.site.book import Made, run_pages
from commonweal.web.site.finding import Found
from commonweal.web.site.render import render
from commonweal.web.site.samples import RunSamples
from commonweal.web.site.scored import KnownRun, ScoredRun, damaged_run
from commonweal.web.site.state import Site

_GARBAGE = (200_000, 20, 100)
"""Contexts hold no cycles, so there is little to look for, and looking through a million of them takes long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """``name`` is whose runs' pages are in it, "" for none; ``whole`` says that the scenario's page is in it, and then
    all of its runs are there. ``pairs`` are the models that are compared."""

    scenario: str
    name: str
    whole: bool
    runs: Sequence[ScoredRun]
    pairs: Sequence[tuple[str, str]]
    earlier: Mapping[tuple[str, str], Sequence[ScoredRun]] = field(default_factory=dict)

    @property
    def weight(self) -> int:
        """About how long it takes."""
        return sum(int((run.run.get("coverage") or {}).get("expected", 0)) for run in self.runs)


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """How many files of how many bytes; ``largest`` is the path of the largest page of HTML."""

    files: int = 0
    size: int = 0
    largest: str = ""
    largest_size: int = 0

    def plus(self, other: Written) -> Written:
        larger = max(self, other, key=lambda one: (one.largest_size, one.largest))
        return Written(
            files=self.files + other.files,
            size=self.size + other.size,
            largest=larger.largest,
            largest_size=larger.largest_size,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What came of a share."""

    written: Written
    columns: Mapping[str, Board] = field(default_factory=dict)
    compared: Mapping[tuple[str, str], Compared] = field(default_factory=dict)


def shares(site: Site) -> list[Share]:
    """All shares of a site, the heaviest first."""
    made = []
    for one in site.scenario_slugs.values():
        runs = site.runs_of(scenario=one)
        names = sorted({run.name for run in runs})
        if len(names) > 1:
            made.append(Share(scenario=one, name="", whole=True, runs=runs, pairs=()))
        for name in names:
            some = [run for run in runs if run.name == name]
            made.append(
                Share(
                    scenario=one,
                    name=name,
                    whole=len(names) == 1,
                    runs=some,
                    pairs=site.pairs,
                    earlier={(run.model, run.name): site.earlier(run) for run in some if site.earlier(run)},
                )
            )
    return sorted(made, key=lambda share: (-share.weight, share.name))


def part_of(share: Share, folder: Path, *, skip_damaged: bool = False) -> Part:
    """Write a share's pages below ``folder``. Raises DataError where a run cannot be read; with ``skip_damaged`` such a
    run has a page that says so instead, and no others."""
    try:
        return _part_of(share, folder)
    except DataError:
        if not skip_damaged:
            raise
        return _part_of(replace(share, runs=[_or_damaged(run) for run in share.runs]), folder)


def _part_of(share: Share, folder: Path) -> Part:
    site = Site(
        [KnownRun.of(run) for run in share.runs], found=Found(earlier=share.earlier), pairs=share.pairs
    )
    compared: dict[tuple[str, str], Compared] = {}
    written = write(_pages(site, share, compared), folder)
    columns = {share.scenario: site.column(share.scenario)} if share.whole else {}
    return Part(written=written, columns=columns, compared=compared)


def _or_damaged(run: ScoredRun) -> ScoredRun:
    """The run; or, where something in its tables cannot be read, the same marked as damaged."""
    try:
        for _ in RunSamples(run).shards():
            continue
        run.scores(run.main_metric)
    except DataError as error:
        path, _, why = error.message.partition(": ")
        return damaged_run(run, Path(path).name, why)
    return run


def _pages(site: Site, share: Share, compared: dict[tuple[str, str], Compared]) -> Iterator[Made]:
    if share.whole:
        yield scenario.page(site, share.scenario)
    if share.name:
        for run in site.runs_of(name=share.name):
            yield from run_pages(site, run)
        yield from disputed.pages(site, share.name)
        for a, b in share.pairs:
            one = comparison.compared_on(site, a, b, share.name)
            if one is not None:
                compared[a, b] = one
                yield from comparison.flips(site, a, b, one)


def write(pages: Iterable[Made], folder: Path) -> Written:
    """Write pages below ``folder``."""
    made: set[str] = set()
    files = size = largest_size = 0
    largest = ""
    for page in pages:
        data, path = render(page), page.path
        parent = path.rpartition("/")[0]
        if parent not in made:
            (folder / parent).mkdir(parents=True, exist_ok=True)
            made.add(parent)
        with open(os.path.join(folder, path), "wb", buffering=0) as file:
            file.write(data)
        files, size = files + 1, size + len(data)
        if len(data) > largest_size and path.endswith(".html"):
            largest, largest_size = path, len(data)
    return Written(files=files, size=size, largest=largest, largest_size=largest_size)


def written_by_processes(
    todo: Sequence[Share], folder: Path, processes: int, *, skip_damaged: bool
) -> Iterator[Part]:
    """The parts of all shares, as they are done. Raises what a share raises, when no share is being written."""
    context = multiprocessing.get_context(
        "spawn"
    )  # a fork would inherit the locks of other threads as they stand
    with ProcessPoolExecutor(processes, mp_context=context, initializer=_begin) as pool:
        asked = [pool.submit(part_of, share, folder, skip_damaged=skip_damaged) for share in todo]
        try:
            for done in as_completed(asked):
                yield done.result()
        finally:
            for one in asked:
                one.cancel()


def _begin() -> None:
    gc.freeze()
    gc.set_threshold(*_GARBAGE)
