"""What came of an evaluation, for people at 80 columns and for programs.

A row a scenario: the seven aspects, below each its 95% interval, and how many samples were scored of how many. An
empty cell is ``-``; the reasons for all of them stand below the table, each once.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from commonweal.console import count, duration, printable, safe
from commonweal.evals.aspects import ASPECTS, Aspect, AspectCell, cells, unmeasured
from commonweal.evals.budget import Prices
from commonweal.evals.estimate import Estimate
from commonweal.evals.evaluation import Entry, Evaluation
from commonweal.evals.metrics.metric import Definition
from commonweal.evals.spec import RunSpec

Definitions = Mapping[str, Definition]
Cells = Mapping[Aspect, AspectCell]

_NAME = 22
_CELL = 8
_WIDE = _NAME + _CELL * len(ASPECTS)

SHORT: Mapping[Aspect, str] = {
    "accuracy": "accur.",
    "calibration": "calibr.",
    "robustness": "robust.",
    "fairness": "fairn.",
    "bias": "bias",
    "toxicity": "toxic.",
    "efficiency": "effic.",
}


_WORST: tuple[Aspect, ...] = ("robustness", "fairness")


def board(done: Evaluation, define: Definitions) -> Iterator[str]:
    """The lines of the table, as rich markup."""
    rows = [(entry, entry_cells(entry, define)) for entry in done.entries]
    yield f"[dim]{'scenario':<{_NAME}}{''.join(f'{SHORT[aspect]:>{_CELL}}' for aspect in ASPECTS)}[/]"
    for entry, found in rows:
        yield from _row(entry, found)
    yield ""
    yield from _legend(rows)
    yield from _reasons(rows)
    yield from _ending(done)


def entry_cells(entry: Entry, define: Definitions) -> Cells:
    """The seven cells of a run, whatever came of it."""
    if entry.measured is None or not entry.measured.stats:
        return unmeasured(entry.reason or entry.status)
    if entry.reason and not entry.measured.run["coverage"]["scored"]:
        return unmeasured(entry.reason)
    spec = RunSpec.from_json(entry.measured.run["spec"])
    return cells(spec, entry.measured.stats, define)


def _row(entry: Entry, found: Cells) -> Iterator[str]:
    name = printable(entry.name)
    if len(name) >= _NAME:
        yield safe(name[:_WIDE])
        name = ""
    yield safe(f"{name:<{_NAME}}") + "".join(f"{_number(found[aspect]):>{_CELL}}" for aspect in ASPECTS)
    intervals = "".join(f"{_interval(found[aspect]):>{_CELL}}" for aspect in ASPECTS)
    yield f"[dim]{f'{_covered(entry):<{_NAME}}{intervals}'.rstrip()}[/]"


def _covered(entry: Entry) -> str:
    """How many samples were scored, and the share of all that were to be."""
    if entry.measured is None:
        return f"  {entry.status.replace('_', ' ')}"
    coverage = entry.measured.run["coverage"]
    share = coverage["share"]
    told = "100%" if share == 1 else f"{100 * share:.1f}%"
    return f"  {coverage['scored']:,} scored, {told}"


def _number(cell: AspectCell) -> str:
    """
    >>> _number(AspectCell(stat="a", mean=0.51234)), _number(AspectCell(stat="a", mean=123.4))
    ('0.512', '123')
    """
    return "-" if cell.mean is None else short(cell.mean)


def short(value: float) -> str:
    """A number in at most seven characters, three of them figures or so.

    >>> [short(x) for x in (0.0, 1.0, 0.0004, 12.345, 1234.5, -0.25)]
    ['0.000', '1.000', '4.0e-04', '12.3', '1234', '-0.250']
    """
    size = abs(value)
    if size and size < 0.001:
        return f"{value:.1e}"
    if size < 10:
        return f"{value:.3f}"
    return f"{value:.1f}" if size < 100 else f"{value:.0f}" if size < 1e6 else f"{value:.1e}"


def _interval(cell: AspectCell) -> str:
    """Both ends in two figures where they fit seven characters: ``.48-.55``."""
    if cell.mean is None or cell.low is None or cell.high is None:
        return ""
    return f"{_end(cell.low)}-{_end(cell.high)}"


def _end(value: float) -> str:
    """
    >>> [_end(x) for x in (0.0, 0.483, 0.999, 1.0, 2.345, 12.3)]
    ['.00', '.48', '1.0', '1.0', '2.3', '12']
    """
    if abs(value) >= 10:
        return f"{value:.0f}"
    told = f"{value:.2f}"
    return told.replace("0.", ".", 1) if told.lstrip("-").startswith("0.") else f"{value:.1f}"


def _legend(rows: Sequence[tuple[Entry, Cells]]) -> Iterator[str]:
    """Which stats the numbers are. Robustness and fairness are the accuracy's, as a rule."""
    by_aspect = {aspect: _stats(rows, aspect) for aspect in ASPECTS}
    worst = [aspect for aspect in _WORST if by_aspect[aspect]]
    same = [aspect for aspect in worst if _among(by_aspect[aspect], by_aspect["accuracy"])]
    parts = []
    for aspect, stats in by_aspect.items():
        if stats and aspect not in same:
            told = list(stats)
            if len(stats) > 1:
                told = [f"{stat} of {_listed(names)}" for stat, names in stats.items()]
            ending = ", worst case over perturbations" if aspect in worst else ""
            parts.append(f"{aspect}: {'; '.join(told)}{ending}")
        if aspect == "accuracy" and same:
            parts.append(f"{' and '.join(same)}: the same, worst case over perturbations")
    for part in parts:
        yield from (f"[dim]{safe(line)}[/]" for line in _wrapped(part, "  "))
    if parts:
        yield "[dim]Below each number its 95% interval.[/]"


def _stats(rows: Sequence[tuple[Entry, Cells]], aspect: Aspect) -> dict[str, list[str]]:
    """The stats that stand in a column, each with its scenarios."""
    told: dict[str, list[str]] = {}
    for entry, found in rows:
        if found[aspect].mean is not None:
            told.setdefault(found[aspect].stat, []).append(entry.name)
    return told


def _among(some: Mapping[str, Sequence[str]], all_: Mapping[str, Sequence[str]]) -> bool:
    return all(set(names) <= set(all_.get(stat, ())) for stat, names in some.items())


def _reasons(rows: Sequence[tuple[Entry, Cells]]) -> Iterator[str]:
    """Why cells are empty: each reason once, with the aspects and the scenarios that it is about."""
    empty: dict[str, dict[str, list[Aspect]]] = {}
    for entry, found in rows:
        for aspect in ASPECTS:
            if found[aspect].mean is None:
                reason = _cut(found[aspect].reason or "not measured")
                empty.setdefault(reason, {}).setdefault(entry.name, []).append(aspect)
    if empty:
        yield "[dim]not measured:[/]"
    for reason, where in empty.items():
        yield from (safe(line) for line in _wrapped(f"- {_whose(where, len(rows))}: {reason}", "  "))


def _whose(where: Mapping[str, Sequence[Aspect]], rows: int) -> str:
    """``bias of a, b; all of c``."""
    by_aspects: dict[tuple[Aspect, ...], list[str]] = {}
    for name, aspects in where.items():
        by_aspects.setdefault(tuple(aspects), []).append(name)
    told = []
    for aspects, names in by_aspects.items():
        whose = "every scenario" if len(names) == rows > 1 else _listed(names)
        told.append(f"{whose}: {', '.join(aspects)}" if len(aspects) < len(ASPECTS) else whose)
    return "; ".join(told)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) if len(names) <= 8 else ", ".join(names[:8]) + f" and {len(names) - 8} more"


def _ending(done: Evaluation) -> Iterator[str]:
    """What was done otherwise, which runs did not end well, what it all took, and what to do next."""
    for warning in done.warnings:
        for line in _wrapped(f"warning: {warning}", "  "):
            yield f"[yellow]{safe(line)}[/]"
    yield from _notes(done)
    for entry in done.entries:
        if entry.status in ("failed", "budget") and entry.measured:
            for line in _wrapped(f"{entry.name}: {entry.status}: {entry.reason}", "  "):
                yield f"[yellow]{safe(line)}[/]"
    runs = [entry.measured.run for entry in done.entries if entry.measured]
    joules = sum(run["cost"]["joules"] or 0.0 for run in runs)
    dollars = [run["cost"]["dollars"] for run in runs if run["cost"]["dollars"] is not None]
    parts = [
        f"{sum(run['cost']['requests'] for run in runs):,} requests",
        f"{count(sum(run['cost']['prompt_tokens'] for run in runs))} tokens read",
        f"{count(sum(run['cost']['completion_tokens'] for run in runs))} written",
        *([f"${sum(dollars):.2f}"] if dollars else []),
        *([f"{short(joules)} J"] if joules else []),
        duration(sum(run["seconds"] for run in runs)),
    ]
    yield safe(", ".join(parts))
    yield safe(str(done.folder))
    if done.status not in ("done", "not_measured"):
        yield safe(f"to go on: commonweal eval --resume {done.folder}")


def _notes(done: Evaluation) -> Iterator[str]:
    """Each note once, with the scenarios that it is about."""
    told: dict[str, list[str]] = {}
    for entry in done.entries:
        run = entry.measured.run if entry.measured else {}
        for note in filter(None, (run.get("note"), *run.get("data", {}).get("missed", ()))):
            told.setdefault(_cut(note), []).append(entry.name)
    for note, names in told.items():
        yield from (f"[dim]{safe(line)}[/]" for line in _wrapped(f"note: {_listed(names)}: {note}", "  "))


def _cut(text: str) -> str:
    """The beginning of a long reason; all of it is in ``run.json`` and in the JSON."""
    return text if len(text) <= 200 else text[:197] + "..."


def _wrapped(text: str, indent: str = "") -> list[str]:
    return textwrap.wrap(printable(text), 79, subsequent_indent=indent, break_on_hyphens=False)


def evaluation_json(done: Evaluation, define: Definitions) -> dict[str, Any]:
    """All of it for programs: a run's cells by aspect, its coverage, cost and status."""
    return {
        "folder": str(done.folder),
        "model": done.model,
        "suite": done.wishes.suite,
        "status": done.status,
        "warnings": done.warnings,
        "runs": [_entry_json(entry, define) for entry in done.entries],
    }


def _entry_json(entry: Entry, define: Definitions) -> dict[str, Any]:
    run = entry.measured.run if entry.measured else {}
    return {
        "name": entry.name,
        "folder": entry.planned.folder,
        "status": entry.status,
        "reason": entry.reason,
        "answered_by": run.get("answered_by", []),
        "coverage": run.get("coverage"),
        "cost": run.get("cost"),
        "seconds": run.get("seconds"),
        "aspects": {
            aspect: {
                "stat": cell.stat or None,
                "mean": cell.mean,
                "low": cell.low,
                "high": cell.high,
                "n": cell.n,
                "reason": cell.reason or None,
            }
            for aspect, cell in entry_cells(entry, define).items()
        },
    }


def estimates_table(found: Sequence[Estimate], prices: Prices | None) -> Iterator[str]:
    """What each scenario would take, and all of them."""
    yield f"[dim]{_estimate_line('scenario', 'requests', 'tokens in', 'at most out', 'cost', 'time')}[/]"
    able = [one for one in found if not one.reason]
    for one in able:
        yield safe(_estimate_row(one, one.name))
    if len(able) > 1:
        yield safe(_estimate_row(_total(able), "together"))
    for one in found:
        if one.reason:
            yield from (
                safe(line) for line in _wrapped(f"{one.name}: not measured: {_cut(one.reason)}", "  ")
            )
    yield "[dim]Counted at the longest answers that are allowed; nothing was asked.[/]"
    if prices is None:
        yield "[dim]The cost is not known: give --price-in and --price-out.[/]"


def sampled_lines(found: Sequence[Estimate], sampled: Sequence[Estimate]) -> Iterator[str]:
    """What of that would be more, were confidence ``sampled`` for want of log-probabilities."""
    if sampled:
        with_samples = {one.name for one in sampled}
        before = _total([one for one in found if one.name in with_samples and not one.reason])
        after = _total([one for one in sampled if not one.reason])
        tokens = count(_tokens(after) - _tokens(before))
        told = (
            "Of a model that tells no log-probabilities, confidence is sampled:"
            f" {after.requests - before.requests:,} requests and at most {tokens} tokens more"
            " (none by --confidence logprobs)."
        )
        yield from (f"[dim]{safe(line)}[/]" for line in _wrapped(told, "  "))


def _tokens(one: Estimate) -> int:
    return one.prompt_tokens + one.completion_tokens


def _total(found: Sequence[Estimate]) -> Estimate:
    dollars = [one.dollars for one in found if one.dollars is not None]
    return Estimate(
        name="together",
        samples=sum(one.samples for one in found),
        requests=sum(one.requests for one in found),
        prompt_tokens=sum(one.prompt_tokens for one in found),
        completion_tokens=sum(one.completion_tokens for one in found),
        dollars=sum(dollars) if dollars else None,
        seconds=sum(one.seconds for one in found),
    )


def _estimate_row(one: Estimate, name: str) -> str:
    cost = "-" if one.dollars is None else f"${one.dollars:.2f}"
    return _estimate_line(
        name,
        str(one.requests),
        count(one.prompt_tokens),
        count(one.completion_tokens),
        cost,
        duration(one.seconds),
    )


def _estimate_line(name: str, *columns: str) -> str:
    widths = (9, 10, 12, 9, 13)
    return f"{name[:25]:<26}" + "".join(
        f"{text:>{width}}" for text, width in zip(columns, widths, strict=True)
    )
