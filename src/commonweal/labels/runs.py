"""What runs say of a model: the seven aspects of each by the functions that the board uses, and what is missing.

An aspect is told where some run has a number for it; no mean is taken over runs, whose metrics differ: the label shows
each. What was not run is told by name, and why a number is missing by its reason. Pure over runs that were read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from commonweal.core.hashing import record_hash
from commonweal.evals.aspects import ASPECTS, Aspect, AspectCell, cells, unmeasured
from commonweal.evals.metrics.registry import DEFINITIONS
from commonweal.evals.placeless import placeless, placeless_command
from commonweal.evals.scenarios.registry import SCENARIOS
from commonweal.evals.spec import RunSpec
from commonweal.evals.summary.runs import SavedRun
from commonweal.labels.facts import Evaluation, Fact, Gap, Label, Record, told
from commonweal.labels.wording import JOULES_IN_KWH, counted, energy

_MISUSE_TAG = "disinformation"
_MISUSE = ("jailbreak", "harm", "injection")
"""In the names of scenarios that ask a model for help in what does harm."""


def with_runs(label: Label, runs: Sequence[SavedRun]) -> Label:
    """The label with what these runs of its model say; runs of other models are left out."""
    mine = [run for run in runs if run.model == label.model]
    found = tuple(evaluation(run) for run in mine)
    facts = {fact.key: fact for fact in _facts(found)}
    there = {run.scenario for run in found}
    return replace(
        label.with_facts(facts),
        evaluated=True,
        evaluations=found,
        not_run=tuple(name for name in sorted(SCENARIOS) if name not in there),
        not_measured=tuple(
            Gap(run=one.run, aspect=aspect, reason=cell.reason)
            for one in found
            for aspect, cell in one.cells.items()
            if cell.mean is None
        ),
    )


def evaluation(run: SavedRun) -> Evaluation:
    """One run, as a label has it."""
    told_of, coverage = run.run, run.run.get("coverage") or {}
    return Evaluation(
        run=run.name,
        scenario=run.scenario,
        title=str((told_of.get("scenario") or {}).get("title") or run.scenario),
        metric=run.main_metric,
        status=str(told_of.get("status", "unfinished")),
        scored=int(coverage.get("scored", 0)),
        expected=int(coverage.get("expected", 0)),
        updated=str(told_of.get("updated") or "")[:10],
        command=placeless_command(str(told_of.get("command") or "")),
        misuse=_about_misuse(run),
        joules=_joules(told_of),
        energy=str((told_of.get("environment") or {}).get("energy") or "no method was saved"),
        main=_main(run),
        cells=aspect_cells(run),
        record=Record(kind="run", id=run.name, hash=run_hash(run), address=str(told_of.get("hash") or "")),
    )


def aspect_cells(run: SavedRun) -> Mapping[Aspect, AspectCell]:
    """The seven cells of a run, whatever came of it."""
    if not run.stats:
        return unmeasured(placeless(run.reason))
    try:
        spec = RunSpec.from_json(dict(run.run["spec"]))
    except (KeyError, TypeError, ValueError) as error:
        return unmeasured(f"its spec cannot be read: {error}")
    return cells(spec, run.stats, DEFINITIONS)


def run_hash(run: SavedRun) -> str:
    """A hash over what was asked and over all numbers that came of it."""
    names = ("name", "perturbation", "split", "subset", "mean", "low", "high", "n")
    numbers = sorted([repr(getattr(stat, name)) for name in names] for stat in run.stats)
    return record_hash([dict(run.run["spec"]), numbers])


def _joules(told_of: Mapping[str, Any]) -> float | None:
    joules = (told_of.get("cost") or {}).get("joules")
    return float(joules) if isinstance(joules, int | float) else None


def _about_misuse(run: SavedRun) -> bool:
    tags = (run.run.get("scenario") or {}).get("tags") or ()
    return _MISUSE_TAG in tags or any(word in run.scenario for word in _MISUSE)


def _main(run: SavedRun) -> AspectCell:
    """The run's main metric, whatever it is about."""
    stat = run.stat(run.main_metric)
    if stat is None:
        return AspectCell(stat=run.main_metric, reason=run.reason)
    return AspectCell(
        stat=stat.name, mean=stat.mean, low=stat.low, high=stat.high, n=stat.n, reason=stat.reason
    )


def _facts(found: Sequence[Evaluation]) -> Iterator[Fact]:
    for aspect in ASPECTS:
        measured = [(one, one.cells[aspect]) for one in found if one.cells[aspect].mean is not None]
        if measured:
            yield _measured(f"evaluation.{aspect}", measured)
    if found:
        yield _energy(found)
    misuse = [one for one in found if one.misuse and one.main.mean is not None]
    if misuse:
        yield _measured("evaluation.misuse", [(one, one.main) for one in misuse])
    again = [one for one in found if one.command and one.main.mean is not None]
    if again:
        yield told(
            "evaluation.again",
            f"{counted(len(again), 'run')} with the exact prompts and the command that makes them again",
            *(one.record for one in again),
            value=[one.command for one in again],
        )


def _energy(found: Sequence[Evaluation]) -> Fact:
    """What the answers took where that was measured; else why it was not."""
    measured = [one for one in found if one.joules is not None]
    if not measured:
        return Fact(key="evaluation.energy", missing=found[0].energy.removeprefix("not measured: "))
    whole = sum(one.joules or 0.0 for one in measured)
    return told(
        "evaluation.energy",
        f"{energy(whole / JOULES_IN_KWH)} in {counted(len(measured), 'run')} of {len(found):,}",
        *(one.record for one in measured),
        value={one.run: one.joules for one in measured},
        method="; ".join(dict.fromkeys(one.energy for one in measured)),
    )


def _measured(key: str, found: Sequence[tuple[Evaluation, AspectCell]]) -> Fact:
    scenarios = counted(len({one.scenario for one, _ in found}), "scenario")
    return told(
        key,
        f"measured in {counted(len(found), 'run')} of {scenarios}",
        *(one.record for one, _ in found),
        value={one.run: _number(cell) for one, cell in found},
    )


def _number(cell: AspectCell) -> dict[str, object]:
    return {"stat": cell.stat, "mean": cell.mean, "low": cell.low, "high": cell.high, "n": cell.n}
