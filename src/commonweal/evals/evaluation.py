"""A whole evaluation: the runs of a plan, one after the other, in one folder with ``eval.json``.

Owns ``eval.json`` (the wishes, and the status of each run with its reason), the order of runs, and when to leave the
rest alone. A scenario that cannot be measured (no data, no sandbox, no judge) is written down with its reason and stops
no other; a model that is away stops all, and they can be resumed.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from commonweal.core.errors import CommonwealError, Conflict, DataError, NotFound, StorageFull, Unavailable
from commonweal.evals.measuring import (
    Bench,
    Measured,
    check_spec,
    is_finished,
    measure,
    read_measured,
)
from commonweal.evals.plan import Planned, Wishes
from commonweal.evals.progress import Coverage
from commonweal.evals.run_folder import RUN, locked, read_json, write_json

log = logging.getLogger(__name__)

EVAL = "eval.json"
VERSION = 1

AWAY = frozenset({"unreachable", "not_authorized"})
"""Failures that the next scenario would meet as well."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One run of an evaluation, as ``eval.json`` lists it and the board shows it. ``status`` is that of ``run.json``,
    or "planned", "not_measured", "failed" for a run that has no folder."""

    planned: Planned
    status: str = "planned"
    reason: str = ""
    measured: Measured | None = None

    @property
    def name(self) -> str:
        return self.planned.spec.name

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "folder": self.planned.folder,
            "status": self.status,
            "reason": self.reason,
            "hash": self.measured.run["hash"] if self.measured else None,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """All that came of it. ``heard`` are warnings from when it was asked."""

    folder: Path
    wishes: Wishes
    model: str
    entries: Sequence[Entry]
    heard: Sequence[str] = ()

    @property
    def warnings(self) -> list[str]:
        """What a user must know before believing the numbers, each once: of whom they are, if not of the model."""
        answered = [
            other_model(self.model, name)
            for entry in self.entries
            if entry.measured
            for name in entry.measured.run.get("answered_by", ())
        ]
        return list(dict.fromkeys([*self.heard, *answered]))

    @property
    def status(self) -> str:
        """The status of the worst run: running (something is left), failed, budget, done."""
        found = {entry.status for entry in self.entries}
        for status in ("running", "planned", "interrupted", "budget", "failed"):
            if status in found:
                return "interrupted" if status in ("running", "planned") else status
        return "done" if "done" in found else "not_measured"


def other_model(asked: str, answered: str, *, whose: str = "the server") -> str:
    """The warning that not the model answers that was asked for, or not under its name."""
    return f"'{asked}' was asked for, but {whose} says that '{answered}' answers"


def begun(folder: Path) -> tuple[Path, Wishes]:
    """The folder of an evaluation that is to be resumed, which may be told by one of its runs, and its wishes. Raises
    NotFound, DataError, ConfigError."""
    if (folder / RUN).exists() and (folder.parent / EVAL).exists():
        folder = folder.parent
    if not (folder / EVAL).exists():
        raise NotFound(f"{folder}: no evaluation to resume", hint=f"give a folder that holds {EVAL}")
    told = read_json(folder / EVAL)
    if told.get("version") != VERSION or "wishes" not in told:
        raise DataError(f"{folder / EVAL}: not written by this version of commonweal")
    return folder, Wishes.from_json(told["wishes"], where=str(folder / EVAL))


async def evaluate(
    runs: Sequence[Planned], folder: Path, wishes: Wishes, model: str, bench: Bench, *, command: str
) -> Evaluation:
    """Do what is left to do. Raises Conflict where another process works on ``folder`` or where what was asked or its
    data have changed, and StorageFull."""
    with locked(folder):
        work = _Work(runs, folder, wishes, model, bench, command)
        return await work.all()


class _Work:
    def __init__(
        self,
        runs: Sequence[Planned],
        folder: Path,
        wishes: Wishes,
        model: str,
        bench: Bench,
        command: str,
    ) -> None:
        self._folder, self._wishes, self._model = folder, wishes, model
        self._bench, self._command = bench, command
        self._entries = [self._found(run) for run in runs]

    def _found(self, planned: Planned) -> Entry:
        """What stands in the folder of a run already."""
        folder = self._folder / planned.folder
        if not (folder / RUN).exists():
            return Entry(planned=planned)
        measured = read_measured(folder)
        if not is_finished(measured.run, folder):
            check_spec(measured.run, planned.spec, folder)
        return Entry(
            planned=planned, status=measured.run["status"], reason=measured.run["reason"], measured=measured
        )

    async def all(self) -> Evaluation:
        progress = self._bench.progress
        progress.runs = len(self._entries)
        self._write()
        try:
            for place, entry in enumerate(self._entries):
                progress.run, progress.name, progress.phase = place + 1, entry.name, "reading"
                progress.coverage = Coverage()
                self._entries[place] = done = await self._one(entry)
                self._write()
                if done.status == "budget" or _is_away(done):
                    break
        finally:
            self._write()
        return Evaluation(
            folder=self._folder,
            wishes=self._wishes,
            model=self._model,
            entries=tuple(self._entries),
            heard=tuple(progress.warnings),
        )

    async def _one(self, entry: Entry) -> Entry:
        planned = entry.planned
        folder = self._folder / planned.folder
        if entry.measured and is_finished(entry.measured.run, folder):
            return entry
        if planned.reason:
            return Entry(planned=planned, status="not_measured", reason=planned.reason)
        try:
            measured = await measure(planned, folder, self._bench)
        except (Conflict, StorageFull, Unavailable):
            raise
        except NotFound as error:
            return Entry(planned=planned, status="not_measured", reason=error.message)
        except CommonwealError as error:
            log.info("run.failed name=%s error=%s", planned.spec.name, error.message)
            return Entry(planned=planned, status="failed", reason=error.message)
        return Entry(
            planned=planned, status=measured.run["status"], reason=measured.run["reason"], measured=measured
        )

    def _write(self) -> None:
        write_json(
            self._folder / EVAL,
            {
                "version": VERSION,
                "model": self._model,
                "endpoint": self._bench.endpoint,
                "wishes": self._wishes.to_json(),
                "command": self._command,
                "runs": [entry.to_json() for entry in self._entries],
            },
        )


def _is_away(entry: Entry) -> bool:
    """Whether the model did not answer at all, so that asking it about something else is of no use."""
    if entry.status != "failed" or entry.measured is None:
        return False
    coverage = entry.measured.run["coverage"]
    kinds = set(coverage["failures"])
    return not coverage["scored"] and bool(kinds) and kinds <= AWAY
