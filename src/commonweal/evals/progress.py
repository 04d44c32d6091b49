"""How far an evaluation has come: plain counters that the runner moves and a display reads. Knows neither."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from commonweal.evals.budget import Spent


@dataclass(slots=True, kw_only=True)
class Coverage:
    """Of the ``expected`` samples of a run, how many were scored and how many failed, by kind of failure.

    A sample is one instance, perturbation and trial; how many there are is known when all perturbed instances were
    made, until then ``expected`` is a lower bound.
    """

    expected: int = 0
    scored: int = 0
    failed: int = 0
    failures: Counter[str] = field(default_factory=Counter)

    @property
    def finished(self) -> int:
        return self.scored + self.failed

    @property
    def share(self) -> float:
        """The share of samples that have a score, from 0 to 1."""
        return self.scored / self.expected if self.expected else 0.0

    def to_json(self) -> dict[str, object]:
        return {
            "expected": self.expected,
            "scored": self.scored,
            "failed": self.failed,
            "share": self.share,
            "failures": dict(sorted(self.failures.items())),
        }


@dataclass(slots=True, kw_only=True)
class Progress:
    """What a display shows: the runs of an evaluation, the present one, and all that was used. ``warnings`` are what a
    user must know of whoever is asked; each is added once."""

    spent: Spent
    runs: int = 1
    run: int = 0
    name: str = ""
    phase: str = ""
    coverage: Coverage = field(default_factory=Coverage)
    asked: int = 0
    failed: int = 0
    warnings: list[str] = field(default_factory=list)
