"""What every section of bench/results.md is made of: verdicts on goals, tables, and where a measurement is from."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Found = Mapping[str, Any]
"""What a script wrote into bench/data."""

NOT_RUN = "not run yet"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """One goal and what was found. ``met`` is None where there is no goal, or nothing was measured."""

    what: str
    goal: str
    found: str
    met: bool | None

    @property
    def word(self) -> str:
        return {True: "met", False: "**missed**", None: "-"}[self.met]


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    title: str
    lines: Sequence[str]
    verdicts: Sequence[Verdict]


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A table in Markdown: the first column left, numbers right."""
    rule = ["---", *("---:" for _ in head[1:])]
    return ["", *("| " + " | ".join(row) + " |" for row in (head, rule, *rows)), ""]


def provenance(found: Found) -> list[str]:
    """On what, when, of which commit, by which command."""
    machine = found.get("machine")
    if machine is None:
        said = [f"{key} {found[key]}" for key in ("processor", "python", "numpy") if key in found]
        return [f"On: {', '.join(said)}.", ""] if said else []
    load = f"load average {found['load_before'][0]:.1f} before, {found['load_after'][0]:.1f} after"
    command = re.sub(
        r"(?<=[ =])/\S*/", "", found["command"]
    )  # as older files have it: with folders of one machine
    return [
        f"On: {machine['cores']} cores of {machine['processor']}, {machine['memory_gib']} GiB, {machine['system']}, "
        f"Python {machine['python']}, torch {machine['torch']}; {found['date']}, commit {found['commit']}, {load}, "
        f"{found['seconds']:.0f} s.",
        "",
        f"By: `{command}`",
        "",
    ]
