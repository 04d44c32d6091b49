"""A run as pages need it: its scores read by columns, and what is known of damage to its files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from commonweal.evals.placeless import placeless
from commonweal.evals.summary.runs import SavedRun
from commonweal.web.site.tables import of_text, read_table, values


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredRun(SavedRun):
    """A run whose scores are read by columns: many times as quick as by rows, and the same. ``damage`` says why
    ``damaged_file`` cannot be read; the run has no stats then."""

    damage: str = ""
    damaged_file: str = ""

    @property
    def reason(self) -> str:
        if self.damage:
            return f"damaged: {self.damaged_file} is {self.damage}"
        found: str = SavedRun.reason.__get__(self)  # super() knows no class that was made anew for its slots
        return placeless(found)

    def scores(self, metric: str) -> dict[str, float]:
        if self.damage:
            return {}
        stat = self.stat(metric)
        names = ["id", "perturbation", "split", "value"]
        table = of_text(read_table(self.folder, "scores", [*names, "name"]), "name", metric)
        sums: dict[str, tuple[float, int]] = {}
        for key, perturbation, split, value in zip(*(values(table[name]) for name in names), strict=True):
            if not perturbation and (stat is None or split == stat.split):
                total, count = sums.get(key, (0.0, 0))
                sums[key] = (total + value, count + 1)
        return {key: total / count for key, (total, count) in sums.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownRun(ScoredRun):
    """A run whose scores by the main metric were read: ranks and comparisons need them again and again."""

    known: Mapping[str, float]

    @classmethod
    def of(cls, run: SavedRun) -> KnownRun:
        """Raises DataError where the scores cannot be read."""
        scored = scored_run(run)
        known = {} if scored.reason else scored.scores(run.main_metric)
        return cls(
            folder=run.folder,
            run=run.run,
            stats=run.stats,
            damage=scored.damage,
            damaged_file=scored.damaged_file,
            known=known,
        )

    def scores(self, metric: str) -> dict[str, float]:
        return dict(self.known) if metric == self.main_metric else ScoredRun.scores(self, metric)


def scored_run(run: SavedRun) -> ScoredRun:
    return run if isinstance(run, ScoredRun) else ScoredRun(folder=run.folder, run=run.run, stats=run.stats)


def damaged_run(run: SavedRun, file: str, why: str) -> ScoredRun:
    """The same run, of which a file turned out to be damaged."""
    return ScoredRun(folder=run.folder, run=run.run, stats=(), damage=why, damaged_file=file)


def when(run: SavedRun) -> str:
    """When a run was last worked on."""
    return str(run.run.get("updated") or "no date").replace("T", " ").removesuffix("+00:00")
