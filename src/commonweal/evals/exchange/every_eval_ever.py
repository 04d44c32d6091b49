"""Runs in the schema of Every Eval Ever (github.com/evaleval/every_eval_ever, ``eval.schema.json`` 0.3.0).

One record a run, with one result for each of its stats over all instances, the main metric's first. What the schema has
no place for (the same stat by subset and perturbation) stands as text in that result's ``score_details.details``. Said
nowhere: where the model was reached and who asked, which is the user's to tell.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from commonweal.core.errors import DataError
from commonweal.evals.completers.providers import PROVIDERS
from commonweal.evals.measuring import read_measured
from commonweal.evals.metrics.definitions import find
from commonweal.evals.metrics.registry import DEFINITIONS
from commonweal.evals.sample import Stat
from commonweal.evals.statistics import LEVEL, RESAMPLES
from commonweal.evals.summary.release import judge_of
from commonweal.evals.summary.runs import SavedRun

SCHEMA = "0.3.0"

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
    moment = datetime.fromisoformat(run.run["updated"])
    seconds = str(int(moment.timestamp()))
    return {
        "schema_version": SCHEMA,
        "evaluation_id": f"{run.name}/{run.model}/{seconds}",
        "evaluation_timestamp": moment.isoformat(),
        "retrieved_timestamp": seconds,
        "source_metadata": {
            "source_name": "commonweal",
            "source_type": "evaluation_run",
            "source_organization_name": _UNKNOWN,
            "evaluator_relationship": "other",
            "additional_details": {"spec_sha256": run.run["hash"]},
        },
        "eval_library": _library(run.run),
        "model_info": _model(run.model, str(run.run.get("endpoint") or "")),
        "evaluation_results": [_result(run, one) for one in _whole(run)],
    }


def _whole(run: SavedRun) -> Iterator[Stat]:
    """The stats over all instances as they are, the main metric's first."""
    names = dict.fromkeys([run.main_metric, *(stat.name for stat in run.stats)])
    for name in names:
        stat = run.stat(name)
        if stat is not None and stat.mean is not None:
            yield stat


def _library(run: Mapping[str, Any]) -> dict[str, str]:
    if "imported" in run:
        return {"name": str(run["imported"]["from"]).lower(), "version": "unknown"}
    return {"name": "commonweal", "version": run["environment"]["commonweal"]}


def _model(name: str, endpoint: str) -> dict[str, Any]:
    developer = {"developer": name.partition("/")[0]} if "/" in name else {}
    provider = endpoint.partition("/")[0]
    hosted = {"inference_platform": provider} if provider in PROVIDERS else {}
    deployment = "externally_managed" if hosted else "unknown"
    return {
        "name": name.rpartition("/")[2],
        "id": name,
        **developer,
        **hosted,
        "additional_details": {"deployment_type": deployment, "model_availability": "unknown"},
    }


def _result(run: SavedRun, stat: Stat) -> dict[str, Any]:
    others = [one for one in run.stats if one.name == stat.name and one.mean is not None and one != stat]
    return {
        "evaluation_result_id": f"{run.run['hash'][:16]}/{stat.name}",
        "evaluation_name": run.name,
        "source_data": _data(run),
        "metric_config": _metric(stat, judge_of(run.run)),
        "score_details": {
            "score": stat.mean,
            **({"details": {_label(one): repr(one.mean) for one in others}} if others else {}),
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


def _metric(stat: Stat, judge: str) -> dict[str, Any]:
    """The schema wants bounds: those of a share for a number without a unit that keeps them; of another one it is only
    known whether it is negative."""
    assert stat.mean is not None
    definition = find(stat.name, DEFINITIONS)
    ends = [end for end in (stat.low, stat.mean, stat.high) if end is not None]
    unit = definition.unit if definition else ""
    low: float | str = "-Infinity" if min(ends) < 0 else 0.0
    high: float | str = "Infinity" if unit or low or max(ends) > 1 else 1.0
    details = {"aspect": definition.aspect if definition else "general", "split": stat.split}
    told = {
        "evaluation_description": definition.description if definition else stat.name,
        "metric_id": f"commonweal.{stat.name}",
        "metric_name": definition.title if definition else stat.name,
        "metric_unit": unit,
        "lower_is_better": bool(definition and not definition.higher_is_better),
        "score_type": "continuous",
        "min_score": low,
        "max_score": high,
        "additional_details": {**details, **({"judge": judge} if judge else {})},
    }
    return {name: value for name, value in told.items() if value != ""}


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
