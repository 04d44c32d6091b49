"""A run spec: everything that determines a run, resolved, as plain data. Its hash says whether two runs are the
same question."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from commonweal.core.config import from_table
from commonweal.core.hashing import record_hash
from commonweal.evals.adaptation import Adaptation


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSpec:
    """One scenario with its arguments, asked of one model in one way. ``max_instances`` 0 is all of them;
    ``seed`` draws instances, examples, perturbations and generated data. ``rows`` is the hash of the scenario's
    instances, so that a resumed run notices changed data; "" until they were read."""

    scenario: str
    version: int = 1
    args: Mapping[str, str] = field(default_factory=dict)
    model: str
    adaptation: Adaptation
    metrics: tuple[str, ...]
    main_metric: str
    perturbations: tuple[str, ...] = ()
    max_instances: int = 0
    seed: int = 0
    rows: str = ""

    @property
    def name(self) -> str:
        """Scenario and arguments, as HELM writes them.

        >>> RunSpec(scenario="mmlu", args={"subject": "anatomy"}, model="m", adaptation=Adaptation(),
        ...         metrics=(), main_metric="exact_match").name
        'mmlu:subject=anatomy'
        """
        return self.scenario + (
            ":" + ",".join(f"{k}={v}" for k, v in sorted(self.args.items())) if self.args else ""
        )

    def to_json(self) -> dict[str, Any]:
        """Plain data. What is asked about confidence stands in it only where something is, which keeps the hashes of
        all other questions."""
        made = asdict(self)
        if not self.adaptation.confidence:
            del made["adaptation"]["confidence"], made["adaptation"]["confidence_samples"]
        return made

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> RunSpec:
        """Read :meth:`to_json` back. Raises ConfigError."""
        return from_table(dict(value), cls, where="run spec")

    def hash(self) -> str:
        return record_hash(self.to_json())
