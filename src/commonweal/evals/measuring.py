"""One run, from its plan to its tables: read the scenario, go on where an earlier process stopped, ask, score, write.

Owns ``run.json`` and the order of these steps. Knows no command line; whom it asks and with what it scores is passed in
(:class:`Bench`).

Invariants: nothing is asked before it is known that what stands in the folder belongs to the same spec and the same
data; ``run.json`` says ``running`` while a process works on it, so a killed one is seen; the tables are written from
``samples.jsonl`` alone, so they hold what a resumed run would find.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from commonweal.core.completion import Abilities, Completer
from commonweal.core.errors import Conflict
from commonweal.evals.adaptation import Adaptation
from commonweal.evals.adapters.adapter import Adapter
from commonweal.evals.budget import Limits, Prices, Spent
from commonweal.evals.energy.meter import ELSEWHERE, Energy
from commonweal.evals.environment import environment
from commonweal.evals.instance import Instance
from commonweal.evals.material import Material, gather
from commonweal.evals.memory import give_back
from commonweal.evals.metrics.metric import Annotator
from commonweal.evals.pictures import Pictures
from commonweal.evals.plan import Planned, changes
from commonweal.evals.progress import Coverage, Progress
from commonweal.evals.run_folder import (
    RUN,
    SAMPLES,
    SampleLog,
    compact,
    locked,
    read_json,
    remove_samples,
    room,
    sample_records,
    write_json,
)
from commonweal.evals.runner import Item, Means, Outcome, Rules, Runner
from commonweal.evals.sample import Sample, Stat
from commonweal.evals.sample_record import Key, key_of, sample_of
from commonweal.evals.scenario import Loader
from commonweal.evals.spec import RunSpec
from commonweal.evals.tables import read_stats, write_stats, write_tables

VERSION = 1

FINAL = frozenset({"bad_request", "too_long", "unsupported", "refused"})
"""Failures that asking again would meet again; samples with another one are asked again when a run is resumed."""


class Scores(Protocol):
    """What takes the samples of a run and gives its stats (:class:`commonweal.evals.metrics.aggregate.Table`)."""

    def add(self, sample: Sample) -> Mapping[str, float]: ...

    def stats(self) -> list[Stat]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """What runs are measured with. ``perturbed`` gives the instances that are made of one, without the original;
    ``concurrency`` 0 leaves it to the model. ``clock`` counts seconds, ``wall`` gives the time of day (Unix);
    ``prepare`` is told of each run before anything of it is asked; ``energy`` is how that is measured; ``pictures``
    says whether the bytes of those in prompts are kept with a run."""

    completer: Completer
    endpoint: str
    loader: Loader
    adapter: Callable[[Adaptation, str], Adapter]
    table: Callable[[RunSpec], Scores]
    annotators: Callable[[RunSpec], Sequence[Annotator]]
    examples: Callable[[Sequence[Instance], Adaptation, int, int], Sequence[Instance]]
    perturbed: Callable[[Instance, Sequence[str], int], Sequence[Instance]]
    spent: Spent
    progress: Progress
    clock: Callable[[], float]
    wall: Callable[[], float]
    judge: str = ""
    prices: Prices | None = None
    limits: Limits = field(default_factory=Limits)
    began: float = 0.0
    failure_rate: float = 0.1
    concurrency: int = 0
    command: Callable[[str, RunSpec], str] = lambda named, spec: ""
    prepare: Callable[[RunSpec], None] = lambda spec: None
    energy: Energy = ELSEWHERE
    pictures: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What came of a run: its ``run.json`` and its stats, [] where it has none yet."""

    run: Mapping[str, Any]
    stats: Sequence[Stat] = field(default=())


async def measure(planned: Planned, folder: Path, bench: Bench) -> Measured:
    """Do what is left to do of a run. Raises Conflict (another process; a spec or data that changed), StorageFull, and
    what reading the scenario raises."""
    with locked(folder):
        before = read_json(folder / RUN) if (folder / RUN).exists() else None
        if before is not None:
            check_spec(before, planned.spec, folder)
        read = _DataRead(bench.loader)
        with closing(_material(planned, bench, folder)) as material:
            data = read.finished()
            spec = replace(planned.spec, rows=material.rows)
            if before is not None:
                check_rows(before, spec, folder)
            return await _Run(planned, spec, material, data, folder, bench, before).measure()


def is_finished(run: Mapping[str, Any], folder: Path) -> bool:
    """Whether nothing is left to ask."""
    return run.get("status") == "done" and not (folder / SAMPLES).exists()


def check_spec(before: Mapping[str, Any], spec: RunSpec, folder: Path) -> None:
    """Raises Conflict where a run was begun by another spec, and says what differs; data are not looked at."""
    found = changes({**before["spec"], "rows": ""}, {**_plain(spec), "rows": ""})
    if found:
        raise Conflict(
            f"{folder}: this run was begun otherwise: " + "; ".join(found),
            hint="start a new evaluation: what was asked so would not compare with what is asked now",
        )


def check_rows(before: Mapping[str, Any], spec: RunSpec, folder: Path) -> None:
    """Raises Conflict where the scenario's data are not those that the run was begun with."""
    rows = before["spec"]["rows"]
    if rows and rows != spec.rows:
        raise Conflict(
            f"{folder}: the data of '{spec.name}' have changed since this run was begun"
            f" (instances {rows[:12]}, now {spec.rows[:12]})",
            hint="give the same data (--data-root), or start a new evaluation",
        )


def _material(planned: Planned, bench: Bench, folder: Path) -> Material:
    spec = planned.spec
    read = partial(planned.scenario.read, bench.loader, spec.args)
    return gather(read, max_instances=spec.max_instances, seed=spec.seed, folder=folder)


class _DataRead:
    """What a loader opened, and what it could not find, since this was made (a loader may not tell)."""

    def __init__(self, loader: Loader) -> None:
        self._loader = loader
        self._before = len(self._told("sources")), len(self._told("missed"))

    def finished(self) -> dict[str, Any]:
        sources, missed = self._told("sources")[self._before[0] :], self._told("missed")[self._before[1] :]
        return {
            "sources": [
                {"path": _below(source.path), "revision": source.revision, "sha256": source.sha256}
                for source in dict.fromkeys(sources)
            ],
            "missed": list(dict.fromkeys(missed)),
        }

    def _told(self, name: str) -> Sequence[Any]:
        found: Sequence[Any] = getattr(self._loader, name, ())
        return found


def _below(path: str) -> str:
    """The end of an absolute path: where the user keeps data is nobody's business."""
    return "/".join(Path(path).parts[-3:]) if Path(path).is_absolute() else path


class _Run:
    def __init__(
        self,
        planned: Planned,
        spec: RunSpec,
        material: Material,
        data: Mapping[str, Any],
        folder: Path,
        bench: Bench,
        before: Mapping[str, Any] | None,
    ) -> None:
        self._planned, self._spec, self._material, self._data = planned, spec, material, data
        self._folder, self._bench, self._before = folder, bench, before or {}
        self._table = bench.table(spec)
        self._coverage = Coverage(expected=material.size * spec.adaptation.trials)
        self._spent = Spent(prices=bench.prices)
        self._pictures = Pictures(folder, wanted=bench.pictures)
        self._done: set[Key] = set()
        self._began = bench.clock()

    async def measure(self) -> Measured:
        self._go_on()
        self._write("running")
        bench, outcome = self._bench, Outcome(status="done")
        bench.progress.coverage, bench.progress.phase = self._coverage, "asking"
        bench.prepare(self._spec)
        samples = SampleLog(self._folder)
        try:
            rules = Rules(
                limits=bench.limits,
                failure_rate=bench.failure_rate,
                spent=bench.spent,
                began=bench.began,
                now=bench.clock,
            )
            asking = Runner(self._means(samples.append), rules, self._coverage, self._spent).run(
                self._items()
            )
            outcome = await asking
        except (asyncio.CancelledError, KeyboardInterrupt):
            self._write("interrupted", "stopped by the user")
            raise
        except BaseException as error:
            self._write_if_possible("failed", str(error).splitlines()[0] if str(error) else repr(error))
            raise
        finally:
            samples.close()
        return self._finish(outcome)

    def _go_on(self) -> None:
        """Take up what an earlier process has finished; what failed for a reason that may have passed is forgotten."""
        compact(self._folder, lambda record: not record["failure"] or record["failure"]["kind"] in FINAL)
        for record in sample_records(self._folder):
            sample = sample_of(record, self._spec.adaptation)
            self._done.add(key_of(record))
            self._table.add(sample)
            for answer in (*sample.answers, *sample.beside):
                self._spent.add(answer.completion)
            if sample.failure is None:
                self._coverage.scored += 1
            else:
                self._coverage.failed += 1
                self._coverage.failures[sample.failure.kind] += 1

    def _means(self, keep: Callable[[bytes], None]) -> Means:
        bench, spec = self._bench, self._spec
        train = self._material.train
        self._material = replace(self._material, train=())
        return Means(
            adaptation=spec.adaptation,
            adapter=bench.adapter(spec.adaptation, spec.model),
            completer=bench.completer,
            examples=[
                bench.examples(train, spec.adaptation, trial, spec.seed)
                for trial in range(spec.adaptation.trials)
            ],
            annotators=bench.annotators(spec),
            table=self._table,
            keep=keep,
            concurrency=bench.concurrency or bench.completer.abilities.concurrency,
        )

    def _items(self) -> Iterator[Item]:
        """What is left to ask. The number of samples is known exactly when the last instance was perturbed."""
        spec, size = self._spec, self._material.size
        made = 0
        for place, instance in enumerate(self._material.instances(), 1):
            forms = [instance]
            if spec.perturbations:
                forms.extend(self._bench.perturbed(instance, spec.perturbations, spec.seed))
            made += len(forms) * spec.adaptation.trials
            self._coverage.expected = made + round((size - place) * made / place)
            for form in forms:
                if form.images:
                    self._pictures.keep(form.images)
                for trial in range(spec.adaptation.trials):
                    if not self._done or (form.id, form.perturbation, trial) not in self._done:
                        yield Item(instance=form, trial=trial)

    def _finish(self, outcome: Outcome) -> Measured:
        self._bench.progress.phase = "scoring"
        stats = self._table.stats()
        del self._table  # it has a number for each sample and metric; tables are written without it
        give_back()
        with room(self._folder):
            write_tables(self._folder, sample_records(self._folder), trials=self._spec.adaptation.trials)
            write_stats(self._folder, stats)
        run = self._write(outcome.status, outcome.reason)
        if outcome.status == "done" and FINAL.issuperset(self._coverage.failures):
            remove_samples(self._folder)
        return Measured(run=run, stats=stats)

    def _write_if_possible(self, status: str, reason: str) -> None:
        """On a full disk the samples are safe, and what ``run.json`` said before still stands."""
        try:
            self._write(status, reason)
        except Exception:
            return

    def _write(self, status: str, reason: str = "") -> Mapping[str, Any]:
        bench, spec, scenario = self._bench, self._spec, self._planned.scenario
        now = bench.wall()
        run = {
            "version": VERSION,
            "name": spec.name,
            "status": status,
            "reason": reason,
            "note": self._planned.note,
            "spec": _plain(spec),
            "hash": spec.hash(),
            "scenario": {
                "title": scenario.title,
                "description": scenario.description,
                "source": scenario.source,
                "licence": scenario.licence,
                "tags": list(scenario.tags),
            },
            "data": self._data,
            "endpoint": bench.endpoint,
            "judge": bench.judge if "judge" in scenario.needs else "",
            "abilities": _abilities(bench.completer.abilities),
            "answered_by": sorted(self._spent.models - {spec.model}),
            "instances": {"asked": self._material.size, "total": self._material.total},
            "coverage": self._coverage.to_json(),
            "pictures": self._pictures.to_json(),
            "cost": self._spent.to_json(),
            "prices": None if bench.prices is None else [bench.prices.prompt, bench.prices.completion],
            "started": self._before.get("started", _moment(now)),
            "updated": _moment(now),
            "seconds": round(self._before.get("seconds", 0.0) + bench.clock() - self._began, 3),
            "environment": environment(bench.energy),
            "command": bench.command(self._planned.named, spec),
        }
        write_json(self._folder / RUN, run)
        return run


def read_measured(folder: Path) -> Measured:
    """A run as it stands in its folder. Raises DataError."""
    run = read_json(folder / RUN)
    return Measured(run=run, stats=read_stats(folder) if (folder / "stats.parquet").exists() else ())


def _plain(spec: RunSpec) -> dict[str, Any]:
    """The spec as JSON gives it back: lists for tuples."""
    plain: dict[str, Any] = _listed(spec.to_json())
    return plain


def _listed(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _listed(one) for name, one in value.items()}
    return [_listed(one) for one in value] if isinstance(value, list | tuple) else value


def _abilities(abilities: Abilities) -> dict[str, Any]:
    return {name: getattr(abilities, name) for name in Abilities.__slots__}


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
