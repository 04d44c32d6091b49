"""HELM's published leaderboards as records of Every Eval Ever, from the numbers that lie beside the tests.

Where ``helm_*.jsonl`` itself is there it is given as it is; else its records are put together again from the table
that was made of it (``helm_*_long.csv``): the same models, scenarios, metrics, tabs and scores, in the form of schema
0.2. Of MMLU only the wide table is there, which has no tabs and no metrics: they are called Accuracy and EM here.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

BOARDS = ("classic", "lite", "capabilities", "instruct", "mmlu")
PLACES = {
    "classic": "benchmark_output/releases/v0.4.0/groups/core_scenarios.json",
    "lite": "lite/benchmark_output/releases/v1.13.0/groups/core_scenarios.json",
    "capabilities": "capabilities/benchmark_output/releases/v1.12.0/groups/core_scenarios.json",
    "instruct": "instruct/benchmark_output/releases/v1.0.0/groups/instruction_following.json",
    "mmlu": "mmlu/benchmark_output/releases/v1.13.0/groups/mmlu_subjects.json",
}


def rows(folder: Path, board: str) -> list[dict[str, str]]:
    """What the table says: model_id, model_name, evaluation, metric, tab, score ("" for none)."""
    if board == "mmlu":
        return list(_wide(folder))
    with (folder / f"helm_{board}_long.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _wide(folder: Path) -> Iterator[dict[str, str]]:
    with (folder / "helm_mmlu.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            model, name = row.pop("model_id"), row.pop("model_name")
            for evaluation, score in row.items():
                told = {"evaluation": evaluation, "metric": f"EM on {evaluation}", "tab": "Accuracy"}
                yield {"model_id": model, "model_name": name, **told, "score": score}


def records(folder: Path, board: str, out: Path) -> Path:
    """A file of records of this board, a line each."""
    given = folder / f"helm_{board}.jsonl"
    if given.exists():
        return given
    made = out / given.name
    made.write_text("".join(json.dumps(one) + "\n" for one in _records(folder, board)), encoding="utf-8")
    return made


def _records(folder: Path, board: str) -> Iterator[dict[str, Any]]:
    models: dict[str, list[dict[str, str]]] = {}
    for row in rows(folder, board):
        models.setdefault(row["model_id"], []).append(row)
    for model, told in models.items():
        results: dict[str, dict[str, Any]] = {}
        for row in told:
            score = float(row["score"]) if row["score"] else None
            if row["evaluation"] not in results:
                results[row["evaluation"]] = _result(board, row, -1.0 if score is None else score)
                continue
            details = results[row["evaluation"]]["score_details"]["details"]
            details[row["metric"]] = {"description": None, "tab": row["tab"], "score": score}
        yield {
            "schema_version": "0.2.0",
            "evaluation_id": f"helm_{board}/{model}/1770834891.1472661",
            "retrieved_timestamp": "1770834891.1472661",
            "source_metadata": {
                "source_name": f"helm_{board}",
                "source_type": "documentation",
                "source_organization_name": "crfm",
                "evaluator_relationship": "third_party",
            },
            "eval_library": {"name": "helm", "version": "unknown"},
            "model_info": {"name": told[0]["model_name"], "id": model, "developer": "unknown"},
            "evaluation_results": list(results.values()),
        }


def _result(board: str, row: dict[str, str], score: float) -> dict[str, Any]:
    return {
        "evaluation_name": row["evaluation"],
        "source_data": {
            "dataset_name": row["evaluation"],
            "source_type": "url",
            "url": [f"https://storage.googleapis.com/crfm-helm-public/{PLACES[board]}"],
        },
        "metric_config": {
            "evaluation_description": row["metric"],
            "lower_is_better": False,
            "score_type": "continuous",
            "min_score": 0.0,
            "max_score": 5.0 if board == "instruct" else 1.0,
        },
        "score_details": {"score": score, "details": {"tab": row["tab"]}},
    }
