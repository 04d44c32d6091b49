"""What one sees while an evaluation runs: one line, drawn anew a few times a second. Nothing where nobody looks."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

from commonweal import console
from commonweal.evals.progress import Progress

EVERY = 0.25

_BAR = 10


@asynccontextmanager
async def display(progress: Progress, *, shown: bool) -> AsyncIterator[None]:
    """Show ``progress`` on the terminal while the body runs. This event loop draws, between samples."""
    if not shown or not console.out.is_terminal:
        yield
        return
    with console.live_line("reading the data") as say:
        drawing = asyncio.create_task(_draw(progress, say))
        try:
            yield
        finally:
            drawing.cancel()
            with suppress(asyncio.CancelledError):
                await drawing


async def _draw(progress: Progress, say: Callable[[str], None]) -> None:
    name, began, before, told = "", time.monotonic(), 0, 0
    while True:
        for warning in progress.warnings[told:]:
            console.out.print(f"[yellow]{console.safe(f'warning: {warning}')}[/]")
            told += 1
        finished = progress.coverage.finished
        if progress.name != name or finished < before:
            name, began, before = progress.name, time.monotonic(), finished
        say(progress_line(progress, finished - before, time.monotonic() - began))
        await asyncio.sleep(EVERY)


def progress_line(progress: Progress, fresh: int, seconds: float) -> str:
    """How far it is: the run, its samples, the rate, what failed, the cost, and the time left of this run.

    ``fresh`` samples were finished in the last ``seconds``.
    """
    coverage = progress.coverage
    place = f"{progress.run}/{progress.runs} " if progress.runs > 1 else ""
    head = f"{place}{progress.name[:26]}"
    if progress.phase != "asking" or not coverage.expected:
        return f"{head}: {progress.phase}"
    share = min(1.0, coverage.finished / coverage.expected)
    filled = round(share * _BAR)
    parts = [f"{head} [{'#' * filled}{'.' * (_BAR - filled)}] {coverage.finished}/{coverage.expected}"]
    rate = fresh / seconds if seconds > 0 else 0.0
    if rate:
        parts.append(f"{rate:.1f}/s" if rate < 10 else f"{rate:.0f}/s")
    if coverage.failed:
        parts.append(f"{coverage.failed} failed")
    if progress.spent.prices:
        parts.append(f"${progress.spent.cost:.2f}")
    if rate:
        left = max(0, coverage.expected - coverage.finished)  # what is expected may be too few
        parts.append(f"{console.duration(left / rate)} left")
    return ", ".join(parts)
