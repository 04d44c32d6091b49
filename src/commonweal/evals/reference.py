"""The reference pages of evaluation, written from the registries: what there is cannot differ from what is told.

    python -m commonweal.evals.reference docs/

writes ``scenarios.md`` and ``metrics.md`` there (``make docs``); a test holds the files to these functions.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import get_args

from commonweal.evals.metrics.metric import Aspect, Definition
from commonweal.evals.metrics.registry import DEFINITIONS, FAMILIES
from commonweal.evals.perturbations.registry import PERTURBATIONS
from commonweal.evals.scenario import Scenario
from commonweal.evals.scenarios.registry import SCENARIOS, SUITES


def scenarios_page() -> str:
    """Every scenario, its arguments, its main metric, where its data are from, and the suites."""
    lines = [
        "# Scenarios",
        "",
        "Written by `make docs` from the registry. How to ask them, and how to add one, is in",
        "[evaluation.md](evaluation.md); what the metrics mean, in [metrics.md](metrics.md).",
        "",
        "## Suites",
        "",
        *_table(("suite", "runs", "first of them"), (_suite(name) for name in SUITES)),
        "## All scenarios",
        "",
    ]
    for name in sorted(SCENARIOS):
        lines += _scenario(SCENARIOS[name])
    return "\n".join(lines).rstrip() + "\n"


def metrics_page() -> str:
    """Every stat by aspect, which families give it, and every perturbation."""
    lines = [
        "# Metrics and perturbations",
        "",
        "Written by `make docs` from the registries. Each stat comes with the number of",
        "samples it is of and a 95% bootstrap interval, clustered by instance; one that could",
        "not be measured comes with the reason.",
        "",
    ]
    for aspect in get_args(Aspect):
        some = [d for d in DEFINITIONS.values() if d.aspect == aspect]
        if some:
            lines += [f"## {str(aspect).capitalize()}", ""]
            lines += _table(("stat", "better", "unit", "meaning"), map(_definition, some))
    lines += ["## Families", "", "What a scenario's `metrics` name, and the stats that come of it.", ""]
    rows = ((f"`{f.name}`", ", ".join(f"`{d.name}`" for d in f.definitions)) for f in FAMILIES.values())
    lines += _table(("family", "stats"), rows)
    lines += ["## Perturbations", ""]
    lines += _table(
        ("perturbation", "for", "version", "source"),
        ((f"`{name}`", p.kind, p.version, _cell(p.source)) for name, p in sorted(PERTURBATIONS.items())),
    )
    return "\n".join(lines).rstrip() + "\n"


def _suite(name: str) -> tuple[str, str, str]:
    runs = SUITES[name]
    shown = ", ".join(f"`{run}`" for run in runs[:3])
    return (f"`{name}`", str(len(runs)), shown + (", ..." if len(runs) > 3 else ""))


def _scenario(scenario: Scenario) -> list[str]:
    facts = [
        ("main metric", f"`{scenario.main_metric}`"),
        ("metrics", ", ".join(f"`{name}`" for name in scenario.metrics)),
        ("asked as", f"{scenario.adaptation.method}, {scenario.adaptation.shots} shots at most"),
        ("source", _cell(scenario.source)),
        ("licence", _cell(scenario.licence)),
    ]
    facts += [(f"`{key}`", _choices(values)) for key, values in scenario.args.items()]
    if scenario.perturbed:
        own = scenario.perturbed({})
        facts.append(("perturbations of its own", ", ".join(f"`{name}`" for name in own)))
    if scenario.needs:
        facts.append(("needs", ", ".join(scenario.needs)))
    about = " ".join(scenario.description.split())
    return [f"### `{scenario.name}`", "", f"{scenario.title}. {about}", "", *_table(("", ""), facts)]


def _choices(values: Sequence[str]) -> str:
    if not values:
        return "any text"
    shown = ", ".join(f"`{value}`" for value in values[:8] if value)
    return shown + (f", ... ({len(values)})" if len(values) > 8 else "")


def _definition(stat: Definition) -> tuple[str, str, str, str]:
    meaning = _cell(stat.description) + (f" ({_cell(stat.source)})" if stat.source else "")
    return (f"`{stat.name}`", "higher" if stat.higher_is_better else "lower", stat.unit or "-", meaning)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    return [*lines, *(f"| {' | '.join(row)} |" for row in rows), ""]


if __name__ == "__main__":
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "docs")
    (folder / "scenarios.md").write_text(scenarios_page(), encoding="utf-8")
    (folder / "metrics.md").write_text(metrics_page(), encoding="utf-8")
