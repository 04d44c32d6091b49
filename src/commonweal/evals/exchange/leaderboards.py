"""HELM's published leaderboards, recomputed: how far our mean win rate is from the one that HELM printed.

Reads tables of one row a model: a name, the published 'Mean win rate', a column a scenario (blank: not run).

Ours cannot meet the published rate to the last digit where the table has fewer columns than HELM had. In Every Eval
Ever's tables, columns whose names begin alike were merged into one: Classic lacks NaturalQuestions closed-book and MS
MARCO regular (11 of its columns are left), Lite lacks NaturalQuestions open-book. Over the models, the deviation is
0.037 at most and 0.009 on average for Classic, 0.073 and 0.020 for Lite. Instruct (0.250 and 0.136) has 4 models only:
one place in one of its 6 columns moves a rate by 1/18.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from commonweal.core.errors import DataError
from commonweal.evals.statistics import mean_win_rates

PUBLISHED = "Mean win rate"
_NAMES = ("model_id", "model_name")


@dataclass(frozen=True, slots=True, kw_only=True)
class Recomputed:
    """``published`` and ``ours`` by model; deviations are in win rate (0 to 1)."""

    published: Mapping[str, float]
    ours: Mapping[str, float]

    @property
    def largest(self) -> float:
        return max(
            abs(self.ours[model] - rate) for model, rate in self.published.items() if model in self.ours
        )

    @property
    def mean(self) -> float:
        gaps = [abs(self.ours[model] - rate) for model, rate in self.published.items() if model in self.ours]
        return sum(gaps) / len(gaps)


def recompute(path: Path) -> Recomputed:
    """Raises DataError naming file, line and column."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    if not rows or PUBLISHED not in rows[0]:
        raise DataError(f"{path}: no column '{PUBLISHED}'", hint="give a leaderboard with one row a model")
    published: dict[str, float] = {}
    columns: dict[str, dict[str, float | None]] = {}
    for line, row in enumerate(rows, 2):
        model = row["model_id"]
        for name, text in row.items():
            if name in _NAMES or name is None:
                continue
            value = _number(text, f"{path}:{line}: {name}")
            if name == PUBLISHED:
                if value is not None:
                    published[model] = value
            else:
                columns.setdefault(name, {})[model] = value
    return Recomputed(published=published, ours=mean_win_rates(columns, {}))


def _number(text: str, where: str) -> float | None:
    if not text.strip():
        return None
    try:
        return float(text)
    except ValueError:
        raise DataError(f"{where}: expected a number, got {text!r}") from None
