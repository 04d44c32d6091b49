"""What one sees while an evaluation runs."""

from __future__ import annotations

import asyncio
import io

import pytest
from rich.console import Console

from commonweal import console
from commonweal.commands import eval_display
from commonweal.commands.eval_display import display, progress_line
from commonweal.evals.budget import Prices, Spent
from commonweal.evals.progress import Coverage, Progress


def progress(*, scored: int = 0, failed: int = 0, expected: int = 200, **other: object) -> Progress:
    told = {"spent": Spent(), "name": "gsm", "phase": "asking", "run": 1, "runs": 1} | other
    return Progress(**told, coverage=Coverage(expected=expected, scored=scored, failed=failed))  # type: ignore[arg-type]


def test_a_line_tells_samples_rate_and_time_left() -> None:
    line = progress_line(progress(scored=50), 40, 20.0)
    assert line == "gsm [##........] 50/200, 2.0/s, 1 min 15 s left"


def test_failures_cost_and_the_place_among_runs_are_told() -> None:
    spent = Spent(prices=Prices(prompt=1.0, completion=1.0), cost=1.234)
    line = progress_line(progress(scored=90, failed=10, spent=spent, run=3, runs=16), 100, 5.0)
    assert line.startswith("3/16 gsm [#####.....] 100/200, 20/s, 10 failed, $1.23, ")
    assert "$" not in progress_line(progress(scored=90), 90, 5.0), "no price is known"
    assert "failed" not in progress_line(progress(scored=90), 90, 5.0)


@pytest.mark.parametrize(("fresh", "seconds"), [(0, 0.0), (0, 5.0), (3, 0.0)])
def test_before_anything_is_finished_there_is_no_rate(fresh: int, seconds: float) -> None:
    assert progress_line(progress(), fresh, seconds) == "gsm [..........] 0/200"


@pytest.mark.parametrize("phase", ["reading", "scoring"])
def test_other_phases_are_named(phase: str) -> None:
    assert progress_line(progress(phase=phase, run=2, runs=3), 0, 1.0) == f"2/3 gsm: {phase}"
    assert progress_line(progress(expected=0), 0, 1.0) == "gsm: asking", "how many there are is not known yet"


def test_more_samples_than_were_expected_leave_no_time() -> None:
    line = progress_line(progress(scored=210), 210, 10.0)
    assert line == f"gsm [##########] 210/200, 21/s, {console.duration(0)} left"


def test_a_long_name_leaves_room_for_the_numbers() -> None:
    line = progress_line(progress(scored=199, name="mmlu:subject=" + "a" * 90, run=10, runs=16), 199, 2.0)
    assert len(line) <= console.LINE
    assert "199/200" in line


def shown(monkeypatch: pytest.MonkeyPatch, now: Progress, *, terminal: bool, wanted: bool = True) -> str:
    written = io.StringIO()
    monkeypatch.setattr(eval_display, "EVERY", 0.0)
    made = Console(file=written, force_terminal=terminal, width=80, soft_wrap=True, highlight=False)
    monkeypatch.setattr(console, "out", made)

    async def run() -> None:
        async with display(now, shown=wanted):
            await asyncio.sleep(0.01)
            now.coverage.scored += 50
            now.warnings.append("[red]'a' was asked for[/]")
            await asyncio.sleep(0.3)  # rich draws twelve times a second

    asyncio.run(run())
    return written.getvalue()


def test_a_terminal_sees_the_line_move_and_each_warning_once(monkeypatch: pytest.MonkeyPatch) -> None:
    said = shown(monkeypatch, progress(), terminal=True)
    assert "50/200" in said
    assert said.count("warning: [red]'a' was asked for[/]") == 1


def test_nobody_looks_at_a_file_or_at_json(monkeypatch: pytest.MonkeyPatch) -> None:
    assert shown(monkeypatch, progress(), terminal=False) == ""
    assert shown(monkeypatch, progress(), terminal=True, wanted=False) == ""
