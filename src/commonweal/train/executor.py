"""Carries out units of training rounds on a member's machine: one session a job, kept from unit to unit.

What arrives is data only: the specification, weights, updates and token shards, each verified by its hash.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from pathlib import Path

import torch

from commonweal.core.config import from_table
from commonweal.core.errors import ConfigError
from commonweal.core.hashing import BlobHash
from commonweal.core.ids import JobId
from commonweal.core.work import Outcome, Task, WorkIO
from commonweal.train.assignment import Assignment
from commonweal.train.config import InnerSettings
from commonweal.train.session import Session
from commonweal.train.spec import WorkerSpec


class TrainExecutor:
    """Trains. ``folder`` keeps a file a job, so that a restarted member goes on with its optimizer's state;
    ``threads`` (None: torch's choice) and ``device`` are what computing may use; ``sessions`` is how many
    jobs stay in memory.
    """

    def __init__(
        self, folder: Path | None, *, threads: int | None = None, device: str = "cpu", sessions: int = 1
    ) -> None:
        self._folder = folder
        self._threads = threads
        self._device = device
        self._limit = sessions
        self._sessions: OrderedDict[tuple[JobId, BlobHash], Session] = OrderedDict()

    def run(self, task: Task, io: WorkIO) -> Outcome:
        """Do one unit. Raises ConfigError when the job cannot be carried out here, and what ``io`` raises."""
        if self._threads is not None:
            torch.set_num_threads(self._threads)
        terms = Assignment.from_json(task.payload)
        session = self._session(task.job, terms, io)
        return session.run(
            terms,
            task.unit_key,
            task.amount,
            seconds=task.seconds,
            get=io.get,
            stopped=io.stop.is_set,
            progress=io.progress,
        )

    def close(self) -> None:
        """End what is under way; the sessions' files stay."""
        while self._sessions:
            self._sessions.popitem()[1].close()

    def _session(self, job: JobId, terms: Assignment, io: WorkIO) -> Session:
        key = (job, terms.worker)
        if key not in self._sessions:
            while len(self._sessions) >= self._limit:
                self._sessions.popitem(last=False)[1].close()
            self._sessions[key] = self._open(job, terms, io)
        self._sessions.move_to_end(key)
        return self._sessions[key]

    def _open(self, job: JobId, terms: Assignment, io: WorkIO) -> Session:
        try:
            table = json.loads(io.get(terms.worker))
        except ValueError as error:
            raise ConfigError(f"the job's specification is not JSON: {error}") from None
        spec = WorkerSpec.from_json(table)
        train = from_table(
            {key: value for key, value in spec.train.items() if value is not None},
            InnerSettings,
            where="specification: train",
        )
        # The name is made of hexadecimal digits alone, whatever the job is called.
        file = self._folder / f"{terms.worker}.safetensors" if self._folder else None
        return Session(spec, train, io.get, file=file, device=self._device)
