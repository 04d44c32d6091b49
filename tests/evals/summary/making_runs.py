"""Finished runs with given numbers, without asking a model."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from commonweal.evals.adaptation import Adaptation
from commonweal.evals.instance import Instance
from commonweal.evals.sample import Sample, Stat
from commonweal.evals.sample_record import record_of, sample_line
from commonweal.evals.spec import RunSpec
from commonweal.evals.statistics import mean_interval
from commonweal.evals.tables import write_stats, write_tables

METRIC = "exact_match"


def make_run(
    root: Path,
    model: str,
    scores: Mapping[str, float] | None,
    *,
    scenario: str = "boolq",
    args: Mapping[str, str] | None = None,
    metric: str = METRIC,
    updated: str = "2026-11-01T00:00:00+00:00",
    reason: str = "",
    **more: Any,
) -> Path:
    """A run with these numbers by instance; None: it was not measured, for ``reason``."""
    adaptation = Adaptation()
    spec = RunSpec(
        scenario=scenario,
        version=more.get("version", 1),
        args=args or {},
        model=model,
        adaptation=adaptation,
        metrics=(metric,),
        main_metric=metric,
        rows=more.get("rows", "aa"),
    )
    folder = root / f"{model}-{spec.name}-{updated}".replace("/", "_").replace(":", "_")
    folder.mkdir(parents=True)
    if scores is not None:
        _tables(folder, scores, metric, adaptation)
    run = {
        "version": 1,
        "name": spec.name,
        "status": "done" if scores is not None else "failed",
        "reason": reason,
        "spec": json.loads(json.dumps(spec.to_json())),
        "hash": spec.hash(),
        "scenario": {"title": scenario, "source": "a test", "licence": "none", "tags": ["tagged"]},
        "coverage": {"failed": 0},
        "updated": updated,
        "environment": {"commonweal": "0"},
        "command": more.get("command", "commonweal eval --model m"),
    }
    (folder / "run.json").write_text(json.dumps(run))
    return folder


def _tables(folder: Path, scores: Mapping[str, float], metric: str, adaptation: Adaptation) -> None:
    samples = [
        Sample(instance=Instance(id=key, input=key), adaptation=adaptation, trial=0, answers=())
        for key in scores
    ]
    lines = (record_of(sample_line(sample, (), {metric: scores[sample.instance.id]})) for sample in samples)
    write_tables(folder, lines)
    values = list(scores.values())
    interval = mean_interval(values)
    write_stats(
        folder,
        [
            Stat(
                name=metric,
                mean=sum(values) / len(values),
                n=len(values),
                low=interval.low if interval else None,
                high=interval.high if interval else None,
            )
        ],
    )


def right(count: int, of: int, start: int = 0) -> dict[str, float]:
    """The first ``count`` of ``of`` instances right, from ``start`` on, round the end."""
    return {f"id{i}": float((i - start) % of < count) for i in range(of)}
