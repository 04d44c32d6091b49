"""Two models or two runs, paired: who is better at what by how much, and which instances flipped.

Runs are paired by their names (scenario with arguments), instances by their ids; only what both have is compared, and
how much that is is said.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from commonweal.core.errors import NotFound
from commonweal.evals.statistics import Difference, mcnemar, paired_difference
from commonweal.evals.summary.runs import SavedRun

_SET_ONLY_HINT = "compare two evaluations of the same scenarios and data"


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """One scenario. ``a`` and ``b`` are the means over the shared instances (of all of a run where the metric has no
    number of one instance, and then there is no difference); ``difference`` is b minus a; ``flips`` (0/1 metrics) are
    the ids that only one got right: (those that a had, those that b had). ``p_flips`` is McNemar's exact test of
    them. ``reason`` says why there is no difference."""

    name: str
    metric: str
    a: float | None
    b: float | None
    shared: int
    only_a: int
    only_b: int
    difference: Difference | None
    flips: tuple[tuple[str, ...], tuple[str, ...]] | None = None
    p_flips: float | None = None
    reason: str = ""

    def to_json(self) -> dict[str, Any]:
        """Plain JSON, which has no infinity: an interval without an end has None there."""
        made = asdict(self)
        if made["difference"] is not None:
            for end in ("low", "high"):
                if math.isinf(made["difference"][end]):
                    made["difference"][end] = None
        return made


def compare(a: Sequence[SavedRun], b: Sequence[SavedRun]) -> list[Compared]:
    """Every run that both sides have, in order of names. Raises NotFound where they share none."""
    left, right = {run.name: run for run in a}, {run.name: run for run in b}
    names = sorted(left.keys() & right.keys())
    if not names:
        raise NotFound(
            "the two have no scenario in common"
            f" (the first has {_some(left)}; the second has {_some(right)})",
            hint=_SET_ONLY_HINT,
        )
    return [_compared(left[name], right[name]) for name in names]


def _compared(a: SavedRun, b: SavedRun) -> Compared:
    metric = a.main_metric
    unmeasured = a.reason or b.reason
    left, right = ({}, {}) if unmeasured else (a.scores(metric), b.scores(metric))
    shared = sorted(left.keys() & right.keys())
    flips = None
    if shared and all(scores[key] in (0.0, 1.0) for scores in (left, right) for key in shared):
        flips = (
            tuple(key for key in shared if left[key] > right[key]),
            tuple(key for key in shared if left[key] < right[key]),
        )
    return Compared(
        name=a.name,
        metric=metric,
        a=_mean(a, left, shared),
        b=_mean(b, right, shared),
        shared=len(shared),
        only_a=len(left) - len(shared),
        only_b=len(right) - len(shared),
        difference=paired_difference(left, right),
        flips=flips,
        p_flips=mcnemar(len(flips[0]), len(flips[1])) if flips is not None else None,
        reason="" if shared else unmeasured or _unpaired(left, right),
    )


def _mean(run: SavedRun, scores: Mapping[str, float], shared: Sequence[str]) -> float | None:
    if shared:
        return math.fsum(scores[key] for key in shared) / len(shared)
    stat = run.stat(run.main_metric)
    return stat.mean if stat else None


def _unpaired(a: Mapping[str, float], b: Mapping[str, float]) -> str:
    return "they share no instance" if a and b else "the metric has no number of a single instance"


def _some(runs: Mapping[str, SavedRun]) -> str:
    names = sorted(runs)
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
