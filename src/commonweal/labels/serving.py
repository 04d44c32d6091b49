"""The labels of the models that a hub serves, made anew from its records each time that one is asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from commonweal.core.database import Database
from commonweal.core.errors import NotFound
from commonweal.evals.summary.runs import SavedRun
from commonweal.labels.facts import Label
from commonweal.labels.from_hub import from_hub
from commonweal.labels.json_form import to_json
from commonweal.labels.records import records_of
from commonweal.labels.runs import with_runs

RunsOf = Callable[[str], Sequence[SavedRun]]
"""The runs of a model that the hub shows."""

STRANGER = ""
"""An account that has nothing of its own: it sees what is public."""


@dataclass(frozen=True, slots=True)
class HubLabels:
    """``runs_of`` is None for a hub that shows no runs. Safe to be used by several threads."""

    database: Database
    runs_of: RunsOf | None = None

    def label(self, model: str) -> Label | None:
        """The label of a public model, without evaluations; None for another name."""
        try:
            return self._label(model, STRANGER)
        except NotFound:
            return None

    def label_json(self, model: str, account: str) -> Mapping[str, Any]:
        """The label of a model that this account may use, with the runs of it that the hub shows. Raises NotFound."""
        label = self._label(model, account)
        return to_json(label if self.runs_of is None else with_runs(label, self.runs_of(label.model)))

    def _label(self, model: str, account: str) -> Label:
        with self.database.transaction() as connection:
            return from_hub(records_of(connection, model, account))
