"""Runs in the schema of Every Eval Ever (github.com/evaleval/every_eval_ever, ``eval.schema.json`` 0.2.1).

One record a run; its one result is the main metric with its interval, and the other numbers stand in
``score_details.details``, as its converter of HELM's leaderboards has it. Said nowhere: where the model was reached and
who asked, which is the user's to tell.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from commonweal.core.errors import DataError
from commonweal.evals.measuring import read_measured
from commonweal.evals.metrics.registry import DEFINITIONS
from commonweal.evals.sample import Stat
from commonweal.evals.statistics import LEVEL, RESAMPLES
from commonweal.evals.summary.runs import SavedRun

SCHEMA = "0.2.1"

_URL = re.compile(r"https?://[^\s,;)]+")
_UNKNOWN = "not disclosed"


def export(folder: Path) -> dict[str, Any]:
    """The record of the run in ``folder``. Raises DataError where it has no number of its main metric."""
    measured = read_measured(folder)
    return record(SavedRun(folder=folder, run=measured.run, stats=measured.stats))


def record(run: SavedRun) -> dict[str, Any]:
    stat = run.stat(run.main_metric)
    if stat is None or stat.mean is None:
        raise DataError(f"{run.folder}: nothing to export: {run.reason}")
    moment = str(int(datetime.fromisoformat(run.run["updated"]).timestamp()))
    return {
        "schema_version": SCHEMA,
        "evaluation_id": f"{run.name}/{run.model}/{moment}",
        "retrieved_timestamp": moment,
        "dedupe_identity": {"run_fingerprint": run.run["hash"], "hash_algorithm": "sha256"},
        "source_metadata": {
            "source_name": "commonweal",
            "source_type": "evaluation_run",
            "source_organization_name": _UNKNOWN,
            "evaluator_relationship": "other",
        },
        "eval_library": _library(run.run),
        "model_info": _model(run.model),
        "evaluation_results": [_result(run, stat)],
    }


def _library(run: Mapping[str, Any]) -> dict[str, str]:
    if "imported" in run:
        return {"name": str(run["imported"]["from"]).lower(), "version": "unknown"}
    return {"name": "commonweal", "version": run["environment"]["commonweal"]}


def _model(name: str) -> dict[str, str]:
    developer = {"developer": name.partition("/")[0]} if "/" in name else {}
    return {"name": name.rpartition("/")[2], "id": name, **developer}


def _result(run: SavedRun, stat: Stat) -> dict[str, Any]:
    return {
        "evaluation_name": run.name,
        "source_data": _data(run),
        "metric_config": _metric(stat),
        "score_details": {
            "score": stat.mean,
            "details": {_label(one): repr(one.mean) for one in run.stats if one.mean is not None},
            "uncertainty": _uncertainty(stat),
        },
        "generation_config": _generation(run),
    }


def _data(run: SavedRun) -> dict[str, Any]:
    """Where the data are from, as the scenario says it. ``instances`` is the hash of what was asked."""
    scenario = run.run["scenario"]
    urls = _URL.findall(scenario["source"])
    details = {
        "source": scenario["source"],
        "licence": scenario["licence"],
        "instances": run.run["spec"]["rows"],
    }
    return {
        "dataset_name": scenario["title"],
        **({"source_type": "url", "url": urls} if urls else {"source_type": "other"}),
        "additional_details": {name: value for name, value in details.items() if value},
    }


def _metric(stat: Stat) -> dict[str, Any]:
    """The schema wants bounds of every number; one that has none gets those of its interval, and says so."""
    assert stat.mean is not None
    definition = DEFINITIONS.get(stat.name)
    ends = [end for end in (stat.low, stat.mean, stat.high) if end is not None]
    low, high = min(0.0, *ends), max(1.0, *ends)
    bounded = (low, high) == (0.0, 1.0) and not (definition and definition.unit)
    details = {"metric": stat.name, **({} if bounded else {"bounds": "of the interval: it has none"})}
    return {
        "evaluation_description": definition.description if definition else stat.name,
        "lower_is_better": bool(definition and not definition.higher_is_better),
        "score_type": "continuous",
        "min_score": low,
        "max_score": high,
        "additional_details": details,
    }


def _uncertainty(stat: Stat) -> dict[str, Any]:
    made: dict[str, Any] = {"num_samples": stat.n}
    if stat.low is not None and stat.high is not None:
        made["num_bootstrap_samples"] = RESAMPLES
        made["confidence_interval"] = {
            "lower": stat.low,
            "upper": stat.high,
            "confidence_level": LEVEL,
            "method": "bootstrap, clustered by instance",
        }
    return made


def _generation(run: SavedRun) -> dict[str, Any]:
    adaptation = run.run["spec"]["adaptation"]
    args = {
        "temperature": adaptation["temperature"],
        **({"max_tokens": adaptation["max_tokens"]} if adaptation["max_tokens"] >= 1 else {}),
    }
    told = ("method", "shots", "trials", "outputs")
    return {
        "generation_args": args,
        "additional_details": {name: str(adaptation[name]) for name in told},
    }


def _label(stat: Stat) -> str:
    """
    >>> _label(Stat(name="exact_match", mean=1.0, n=1, perturbation="typos"))
    'exact_match (test, typos)'
    """
    return f"{stat.name} ({', '.join(filter(None, (stat.split, stat.subset, stat.perturbation)))})"
