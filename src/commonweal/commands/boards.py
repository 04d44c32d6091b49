"""``commonweal leaderboard``, ``compare``, ``release``, ``import-helm``: runs that are there, summed up.

Reads runs, asks no model. Tables fit 80 columns: what does not fit beside stands below.
"""

from __future__ import annotations

import json
import textwrap
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from commonweal import console
from commonweal.commands.eval_board import short
from commonweal.console import printable, safe
from commonweal.core.errors import UserError
from commonweal.evals.exchange.every_eval_ever import record
from commonweal.evals.exchange.helm import read_helm, read_splits
from commonweal.evals.exchange.importing import write_imported
from commonweal.evals.scenarios.registry import SUITES
from commonweal.evals.summary.board import Board, Cell, Column, make_board
from commonweal.evals.summary.comparison import Compared, compare
from commonweal.evals.summary.release import freeze
from commonweal.evals.summary.runs import SavedRun, find_runs

_WIDE = 79
_NAME = 22
_CELL = 11
_RATES = 16


def show_leaderboard(paths: Sequence[Path], group: str, out: Path | None, *, as_json: bool) -> None:
    """The board of the runs below ``paths``; with ``out``, its runs too, in the schema of Every Eval Ever."""
    runs = find_runs(paths)
    board = make_board(runs, SUITES, group)
    if out is not None:
        members = {column.scenario for column in board.columns}
        _export([run for run in runs if run.scenario in members and not run.reason], out)
    if as_json:
        console.print_json(board.to_json())
        return
    for line in board_lines(board):
        console.out.print(line)


def _export(runs: Sequence[SavedRun], out: Path) -> None:
    lines = [json.dumps(record(run), ensure_ascii=False) + "\n" for run in runs]
    out.write_text("".join(lines), encoding="utf-8")


def board_lines(board: Board) -> Iterator[str]:
    """The table as rich markup: blocks of as many scenarios as fit, the first with win rates and coverage."""
    name = min(_NAME, max(map(len, ("model", *map(printable, board.models)))) + 2)
    for number, columns in enumerate(_blocks(board.columns, _WIDE - name)):
        if number:
            yield ""
        yield from _block(board, columns, name, rates=number == 0)
    yield ""
    yield from _legend(board)
    yield from _reasons(board)


def _blocks(columns: Sequence[Column], room: int) -> list[list[Column]]:
    """Columns by what fits beside the names; win rates and coverage take their part of the first block."""
    blocks: list[list[Column]] = [[]]
    left = room - _RATES
    for column in columns:
        width = _width(column)
        if width > left and (blocks[-1] or len(blocks) == 1):
            blocks.append([])
            left = room
        blocks[-1].append(column)
        left -= width
    return blocks


def _width(column: Column) -> int:
    return max(_CELL, min(len(printable(column.scenario)), 36) + 2)


def _block(board: Board, columns: Sequence[Column], name: int, *, rates: bool) -> Iterator[str]:
    head = f"{'win rate':>8}{'cover':>8}" if rates else ""
    titles = "".join(f"{printable(c.scenario)[:36]:>{_width(c)}}" for c in columns)
    yield f"[dim]{'model':<{name}}{head}{safe(titles)}[/]"
    for model in board.models:
        told = printable(model)
        if len(told) >= name:
            yield safe(told[:_WIDE])
            told = ""
        rate = board.win_rate.get(model)
        won = f"{'-' if rate is None else f'{rate:.3f}':>8}{board.coverage[model]:>8.0%}" if rates else ""
        cells = "".join(f"{_cell(board.cells[model][c.scenario]):>{_width(c)}}" for c in columns)
        yield safe(f"{told:<{name}}{won}{cells}")


def _cell(cell: Cell) -> str:
    """
    >>> _cell(Cell(mean=0.51234, n=9, rank=1)), _cell(Cell(mean=0.5, n=9)), _cell(Cell(mean=None, n=0))
    ('0.512 #1', '0.500', '-')
    """
    if cell.mean is None:
        return "-"
    return short(cell.mean) + (f" #{cell.rank}" if cell.rank else "")


def _legend(board: Board) -> Iterator[str]:
    metrics: dict[tuple[str, bool], list[str]] = {}
    for column in board.columns:
        metrics.setdefault((column.metric, column.higher_is_better), []).append(column.scenario)
    parts = [
        f"{metric}{'' if higher else ' (lower is better)'}: {', '.join(names)}"
        for (metric, higher), names in metrics.items()
    ]
    ranks = "" if len(board.models) < 2 else " Models that noise cannot tell apart share a rank (#)."
    for line in _wrapped("; ".join(parts) + "." + ranks):
        yield f"[dim]{safe(line)}[/]"


def _reasons(board: Board) -> Iterator[str]:
    """Why cells are empty or of a part only, each reason once."""
    found: dict[str, dict[str, list[str]]] = {}
    for column in board.columns:
        for model in board.models:
            reason = board.cells[model][column.scenario].reason
            if reason:
                found.setdefault(reason, {}).setdefault(model, []).append(column.scenario)
    if found:
        yield "[dim]not measured, or in part:[/]"
    for reason, where in found.items():
        whose = "; ".join(f"{_some(models)}: {_some(names)}" for names, models in _alike(where).items())
        yield from (safe(line) for line in _wrapped(f"- {reason[:200]}: {whose}", "  "))


def _alike(where: Mapping[str, Sequence[str]]) -> dict[tuple[str, ...], list[str]]:
    """The models by the scenarios that they lack."""
    alike: dict[tuple[str, ...], list[str]] = {}
    for model, names in where.items():
        alike.setdefault(tuple(names), []).append(model)
    return alike


def _some(names: Sequence[str]) -> str:
    return ", ".join(names) if len(names) <= 8 else ", ".join(names[:8]) + f" and {len(names) - 8} more"


def show_comparison(a: Path, b: Path, *, as_json: bool) -> None:
    """The runs below ``a`` beside those below ``b``."""
    sides = _side(a), _side(b)
    found = compare(*sides)
    models = [side[0].model for side in sides]
    if as_json:
        console.print_json(
            {"a": models[0], "b": models[1], "scenarios": [one.to_json() for one in found]},
        )
        return
    for line in comparison_lines(found, *models):
        console.out.print(line)


def _side(path: Path) -> list[SavedRun]:
    runs = find_runs([path])
    models = sorted({run.model for run in runs})
    if len(models) > 1:
        raise UserError(
            f"{path}: runs of {len(models)} models are there ({', '.join(models)[:200]})",
            hint="give a folder with the runs of one model",
        )
    return runs


def comparison_lines(found: Sequence[Compared], a: str, b: str) -> Iterator[str]:
    yield f"a: {safe(a)}"
    yield f"b: {safe(b)}"
    yield f"[dim]{_row('scenario', 'n', 'a', 'b', 'b - a', '95% interval', 'p', 'flips')}[/]"
    for one in found:
        name = printable(one.name)
        if len(name) >= _NAME:
            yield safe(name[:_WIDE])
            name = ""
        yield safe(_compared(one, name))
    yield ""
    note = (
        "n instances that both have; flips: right for a alone / for b alone; p by sign flips (0/1: McNemar)."
    )
    yield from (f"[dim]{line}[/]" for line in _wrapped(note))
    for one in found:
        if one.reason:
            yield from (safe(line) for line in _wrapped(f"- {one.name}: not compared: {one.reason}", "  "))
        elif one.only_a or one.only_b:
            only = [f"{n:,} that only {side} has" for side, n in (("a", one.only_a), ("b", one.only_b)) if n]
            text = f"- {one.name}: left out: {', '.join(only)}"
            yield from (f"[dim]{safe(line)}[/]" for line in _wrapped(text, "  "))


def _compared(one: Compared, name: str) -> str:
    gap, flips = one.difference, one.flips
    return _row(
        name,
        str(one.shared),
        "-" if one.a is None else short(one.a),
        "-" if one.b is None else short(one.b),
        "-" if gap is None else f"{gap.mean:+.3f}",
        "-" if gap is None or gap.n < 2 else f"{gap.low:+.3f}..{gap.high:+.3f}",
        "-" if gap is None else f"{gap.p:.2g}" if gap.p >= 0.001 else "<.001",
        "-" if flips is None else f"{len(flips[0])}/{len(flips[1])}",
    )


def _row(name: str, *columns: str) -> str:
    widths = (6, 7, 7, 8, 16, 6, 7)
    return f"{name:<{_NAME}}" + "".join(
        f"{text:>{width}}" for text, width in zip(columns, widths, strict=True)
    )


def make_release(name: str, paths: Sequence[Path], out: Path, *, as_json: bool) -> None:
    """Freeze the runs below ``paths`` as the release ``name`` in ``out``, and say what changed."""
    now = datetime.fromtimestamp(time.time(), UTC).isoformat(timespec="seconds")
    release = freeze(find_runs(paths), out, name, now)
    if as_json:
        console.print_json(release)
        return
    for line in release_lines(release):
        console.out.print(line)
    console.out.print(safe(str(out / f"{name}.json")))


def release_lines(release: Mapping[str, Any]) -> Iterator[str]:
    models = {run["model"] for run in release["runs"]}
    told = f"{release['name']}: {len(release['runs'])} runs of {len(models)} models, {release['hash'][:12]}"
    yield safe(told)
    if release["before"] is None:
        yield "[dim]the first release here[/]"
        return
    yield f"[dim]since {safe(release['before'])}:[/]" + ("" if release["changes"] else " nothing changed")
    for change in release["changes"]:
        where = ", ".join(filter(None, (change["model"], change["run"])))
        yield from (
            safe(line)
            for line in _wrapped(f"- {change['kind']}: {where}: {change['text']}".rstrip(": "), "  ")
        )


def import_helm(path: Path, out: Path, splits: Path | None, *, as_json: bool) -> None:
    """HELM's runs below ``path`` become runs below ``out``."""
    runs = read_helm(path, read_splits(splits) if splits else None)
    folders = []
    with console.live_line("importing", shown=not as_json) as tell:
        for number, run in enumerate(runs, 1):
            tell(f"importing {number} of {len(runs)}: {run.name}")
            folders.append(write_imported(run, out))
    if as_json:
        console.print_json(
            [{"name": run.name, "folder": str(folder)} for run, folder in zip(runs, folders, strict=True)]
        )
        return
    models = {run.spec.model for run in runs}
    console.out.print(safe(f"{len(runs)} runs of {len(models)} models, below {out}"))
    for note in dict.fromkeys(filter(None, (run.note for run in runs))):
        count = sum(run.note == note for run in runs)
        for line in _wrapped(f"note: {count} runs: {note}", "  "):
            console.out.print(f"[dim]{safe(line)}[/]")
    console.out.print(safe(f"to see them: commonweal leaderboard {out}"))


def _wrapped(text: str, indent: str = "") -> list[str]:
    return textwrap.wrap(printable(text), _WIDE, subsequent_indent=indent, break_on_hyphens=False)
