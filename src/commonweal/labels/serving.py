"""The labels of the models that a hub serves, made of its records when they are asked for, and kept for a while: a long
job has many rounds to be read. Whether somebody may use a model is looked up each time."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

from commonweal.core.clock import Clock, SystemClock
from commonweal.core.database import Database
from commonweal.core.errors import NotFound
from commonweal.evals.summary.runs import SavedRun
from commonweal.labels.facts import Label
from commonweal.labels.from_hub import from_hub
from commonweal.labels.json_form import to_json
from commonweal.labels.records import records_of
from commonweal.labels.runs import with_runs
from commonweal.labels.trainings import Trainings
from commonweal.serve import catalogue

RunsOf = Callable[[str], Sequence[SavedRun]]
"""The runs of a model that the hub shows."""

SCHEMA_PATH = "/schemas/label.json"
"""Where a hub serves the schema of labels."""

KEPT_SECONDS = 30.0
_MOST_KEPT = 256

STRANGER = ""
"""An account that has nothing of its own: it sees what is public."""


@dataclass(frozen=True, slots=True)
class HubLabels:
    """``runs_of`` is None for a hub that shows no runs. Safe to be used by several threads."""

    database: Database
    runs_of: RunsOf | None = None
    clock: Clock = field(default_factory=SystemClock)
    trainings: Trainings = field(default_factory=Trainings)
    _kept: OrderedDict[tuple[str, str], tuple[float, Label]] = field(default_factory=OrderedDict)
    _lock: Lock = field(default_factory=Lock)

    def label(self, model: str) -> Label | None:
        """The label of a public model, without evaluations; None for another name."""
        try:
            return self._label(model, STRANGER)
        except NotFound:
            return None

    def label_json(self, model: str, account: str) -> Mapping[str, Any]:
        """The label of a model that this account may use, with the runs of it that the hub shows. Raises NotFound."""
        label = self._label(model, account)
        whole = label if self.runs_of is None else with_runs(label, self.runs_of(label.model))
        return to_json(whole, schema_at=SCHEMA_PATH)

    def _label(self, model: str, account: str) -> Label:
        now = self.clock.now()
        with self.database.transaction() as connection:
            key = catalogue.find(connection, model, account).name, account
            with self._lock:
                until, kept = self._kept.get(key, (0.0, None))
            if kept is not None and now < until:
                return kept
            made = from_hub(records_of(connection, key[0], account, self.trainings.of))
        with self._lock:
            self._kept[key] = now + KEPT_SECONDS, made
            self._kept.move_to_end(key)
            while len(self._kept) > _MOST_KEPT:
                self._kept.popitem(last=False)
        return made
