"""Somebody else's run, written as one of ours: the same folder, the same tables, marked as imported."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from commonweal.evals.exchange.helm import MEDIA, HelmRun, Imported
from commonweal.evals.run_folder import RUN, locked, write_json
from commonweal.evals.sample import Stat
from commonweal.evals.sample_record import record_of, sample_line
from commonweal.evals.statistics import bootstrap_means, percentiles
from commonweal.evals.tables import write_stats, write_tables

_UNSAFE = re.compile(r"[^A-Za-z0-9._=,-]+")


def write_imported(run: HelmRun, out: Path) -> Path:
    """Write a run below ``out`` and return its folder. Raises Conflict where another process writes there."""
    folder = out / _UNSAFE.sub("_", run.spec.model) / _UNSAFE.sub("_", run.spec.name)
    with locked(folder):
        samples = list(run.samples())
        write_tables(folder, _records(samples), trials=run.spec.adaptation.trials)
        stats = aggregate(samples)
        write_stats(folder, stats)
        write_json(folder / RUN, _run_json(run, samples))
    return folder


def aggregate(samples: Iterable[Imported]) -> list[Stat]:
    """The mean of each number over the samples that have it, by perturbation, with its interval."""
    groups: dict[tuple[str, str], list[Imported]] = {}
    for one in samples:
        if one.sample.failure is None:
            instance = one.sample.instance
            groups.setdefault((instance.split, instance.perturbation), []).append(one)
    stats = [stat for key, some in groups.items() for stat in _stats(*key, some)]
    return sorted(stats, key=lambda stat: (stat.name, stat.split, stat.perturbation))


def _stats(split: str, perturbation: str, samples: list[Imported]) -> Iterator[Stat]:
    """All numbers of a group; their intervals are of the same resamples, drawn once."""
    names = sorted({name for one in samples for name in one.scores})
    rows = {id_: row for row, id_ in enumerate(sorted({one.sample.instance.id for one in samples}))}
    sums, sizes = np.zeros((len(rows), len(names))), np.zeros((len(rows), len(names)))
    for one in samples:
        row = rows[one.sample.instance.id]
        for column, name in enumerate(names):
            if name in one.scores:
                sums[row, column] += one.scores[name]
                sizes[row, column] += 1
    drawn = bootstrap_means(sums, sizes) if names and len(rows) > 1 else None
    for column, name in enumerate(names):
        values = [one.scores[name] for one in samples if name in one.scores]
        interval = percentiles(drawn[:, column]) if drawn is not None else None
        yield Stat(
            name=name,
            mean=sum(values) / len(values),
            n=len(values),
            low=interval.low if interval else None,
            high=interval.high if interval else None,
            split=split,
            perturbation=perturbation,
        )


def _records(samples: Iterable[Imported]) -> Iterator[Mapping[str, Any]]:
    for one in samples:
        yield record_of(sample_line(one.sample, one.asked, one.scores))


def _run_json(run: HelmRun, samples: list[Imported]) -> dict[str, Any]:
    failed = sum(one.sample.failure is not None for one in samples)
    share = (len(samples) - failed) / len(samples) if samples else 1.0
    spec = json.loads(json.dumps(run.spec.to_json()))
    return {
        "version": 1,
        "name": run.spec.name,
        "status": "done" if samples else "not_measured",
        "reason": "" if samples else "HELM kept no instances of it",
        "note": _note(run, samples),
        "spec": spec,
        "hash": run.spec.hash(),
        "scenario": {
            "title": run.spec.name,
            "description": "",
            "source": "HELM",
            "licence": "not disclosed",
            "tags": list(run.groups),
        },
        "imported": {"from": "HELM", "name": run.name},
        "instances": {"asked": len(samples), "total": None},
        "coverage": {
            "expected": len(samples),
            "scored": len(samples) - failed,
            "failed": failed,
            "share": share,
        },
        "updated": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _note(run: HelmRun, samples: list[Imported]) -> str:
    note = run.note or "imported from HELM"
    media = sum(len(one.sample.instance.extra.get(MEDIA, ())) for one in samples)
    return f"{note}; its inputs had pictures or sounds, which HELM's output lacks: {media}" if media else note


def group_means(runs: Iterable[HelmRun], metric: str) -> dict[str, float]:
    """HELM's group table: per model the mean over its runs (in order of their names) of the metric's mean over the
    original instances of the test split."""
    columns: dict[str, list[float]] = {}
    for run in sorted(runs, key=lambda run: run.name):
        values = [
            one.scores[metric]
            for one in run.samples()
            if metric in one.scores
            and (one.sample.instance.split, one.sample.instance.perturbation) == ("test", "")
        ]
        if values:
            columns.setdefault(run.spec.model, []).append(sum(values) / len(values))
    return {model: sum(means) / len(means) for model, means in columns.items()}
