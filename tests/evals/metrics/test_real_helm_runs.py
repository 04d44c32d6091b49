"""Real HELM runs scored again: every instance's numbers and the run's, to the last digit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from made_samples import chosen

from commonweal.evals.metrics.aggregate import Table
from commonweal.evals.metrics.registry import FAMILIES

NAMES = ("exact_match", "quasi_exact_match", "prefix_exact_match", "quasi_prefix_exact_match")


def test_runs_of_mmlu(data_root: Path) -> None:
    folders = sorted((data_root / "helm_raw_mmlu" / "runs_full").iterdir())
    compared = sum(_compare(folder) for folder in folders)
    assert compared == 4 * len(folders)


def _compare(folder: Path) -> int:
    instances = {one["id"]: one for one in _read(folder, "instances")}
    table = Table([FAMILIES["exact_match"]])
    for found in _read(folder, "display_predictions"):
        instance = instances[found["instance_id"]]
        if instance["split"] != "test" or instance.get("perturbation"):
            continue
        options = [one["output"]["text"] for one in instance["references"]]
        right = [one["output"]["text"] for one in instance["references"] if "correct" in one["tags"]]
        mapped = found.get("mapped_output")
        index = options.index(mapped) if mapped in options else None
        numbers = table.add(chosen(options, right, index, id=instance["id"], output=found["predicted_text"]))
        theirs = found["stats"]
        assert {name: numbers[name] for name in NAMES if name in theirs} == {
            name: theirs[name] for name in NAMES if name in theirs
        }
    ours = {stat.name: stat.mean for stat in table.stats()}
    known: dict[str, Any] = {
        one["name"]["name"]: one["mean"]
        for one in _read(folder, "stats")
        if one["name"].get("split") == "test" and not one["name"].get("perturbation") and one["count"]
    }
    for name in NAMES:
        assert ours[name] == known[name], (folder.name, name)
    return len(NAMES)


def _read(folder: Path, name: str) -> Any:
    path = folder / f"{name}.json"
    if not path.exists():
        pytest.fail(f"{path} is missing")
    return json.loads(path.read_text("utf-8"))
