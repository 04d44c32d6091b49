"""``commonweal refresh``: says what a matrix of models and scenarios lacks among saved runs, and evaluates that."""

from __future__ import annotations

import textwrap
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from commonweal import console
from commonweal.commands.eval_board import evaluation_json
from commonweal.commands.evaluating import EvalOptions, data_now, evaluated, exit_code, planned, show_board
from commonweal.console import printable, safe
from commonweal.core.errors import CommonwealError, UserError
from commonweal.evals.budget import Spent, used_up
from commonweal.evals.evaluation import Evaluation
from commonweal.evals.metrics.registry import DEFINITIONS
from commonweal.evals.plan import DEFAULT, Wishes
from commonweal.evals.summary.refresh import Place, Rows, abilities_of, places, runs_of
from commonweal.evals.summary.runs import SavedRun, all_runs

_WIDE = 79


def run_refresh(
    models: Sequence[str], paths: Sequence[Path], wishes: Wishes, options: EvalOptions, *, dry: bool
) -> int:
    """Tell what is due, evaluate it unless ``dry``, and give the exit code: the first that is not 0. A model that
    cannot be asked stops no other; a limit that is reached stops all. ``wishes.model`` is not looked at."""
    began, saved = time.monotonic(), _saved(paths)
    rows = data_now(wishes, options)
    with console.live_line("reading the data", shown=not options.json):
        matrix = [_places(replace(wishes, model=model), saved, rows) for model in dict.fromkeys(models)]
    if not options.json:
        for found in matrix:
            for line in lines_of(found):
                console.out.print(line)
    told, codes, spent = [], [0], Spent()
    for due in () if dry else [[place for place in found if place.state == "due"] for found in matrix]:
        if not due or used_up(options.limits, spent, 0, time.monotonic() - began):
            continue
        done, code = _evaluate(_wishes_of(wishes, due), options, spent, began)
        codes.append(code)
        if done is not None:
            told.append(evaluation_json(done, DEFINITIONS))
    if options.json:
        _print_json(matrix, told)
    elif reason := used_up(options.limits, spent, 0, time.monotonic() - began):
        console.out.print(safe(f"stopped: {reason}; the same command goes on with what is left"))
    return next(filter(None, codes), 0)


def _saved(paths: Sequence[Path]) -> list[SavedRun]:
    """All runs below the paths; the first, into which is evaluated, need not be there yet."""
    first, *others = paths
    if first.exists() and not first.is_dir():
        raise UserError(f"{first}: not a folder", hint="give the folder of runs first, such as runs/")
    return list(all_runs([*([first] if first.is_dir() else []), *others]))


def _places(wishes: Wishes, saved: Sequence[SavedRun], rows: Rows) -> list[Place]:
    runs = runs_of(wishes.model, saved)
    plans = [planned(wishes, wishes.model, abilities) for abilities in abilities_of(runs)]
    return places(wishes.model, plans, runs, wishes.judge, rows)


def _wishes_of(wishes: Wishes, due: Sequence[Place]) -> Wishes:
    """The wishes for these runs alone, each asked as the whole suite would be."""
    return replace(
        wishes,
        model=due[0].model,
        suite="",
        scenarios=tuple(place.named for place in due),
        perturbations=DEFAULT if wishes.suite and wishes.perturbations is None else wishes.perturbations,
    )


def _evaluate(
    wishes: Wishes, options: EvalOptions, spent: Spent, began: float
) -> tuple[Evaluation | None, int]:
    try:
        done = evaluated(wishes, options, spent, began)
    except CommonwealError as error:
        console.print_error(error)
        return None, error.exit_code
    if not options.json:
        console.out.print("")
        console.out.print(safe(wishes.model))
        show_board(done)
    return done, exit_code(done)


def _print_json(matrix: Sequence[Sequence[Place]], evaluations: Sequence[dict[str, Any]]) -> None:
    cells = [asdict(place) for found in matrix for place in found]
    console.print_json({"runs": cells, "evaluations": evaluations})


def lines_of(found: Sequence[Place]) -> Iterator[str]:
    """One model: what will be run and why, what cannot be, and how many runs are kept."""
    model = found[0].model
    count = {state: sum(place.state == state for place in found) for state in ("kept", "due", "impossible")}
    told = f"{model}: {count['due']} to run, {count['kept']} kept"
    if count["impossible"]:
        told += f", {count['impossible']} cannot be measured"
    yield from (safe(line) for line in _wrapped(told))
    for place in found:
        if place.state == "kept":
            continue
        why = place.why or "cannot be measured"
        text = f"- {place.name}: {why}" + (f": {place.text[:300]}" if place.text else "")
        yield from (safe(line) for line in _wrapped(text, "  "))


def _wrapped(text: str, indent: str = "") -> list[str]:
    return textwrap.wrap(printable(text), _WIDE, subsequent_indent=indent, break_on_hyphens=False)
