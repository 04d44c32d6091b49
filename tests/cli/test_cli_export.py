"""What is exported fits the published schema: every_eval_ever.schema.json is that of the package every-eval-ever 0.3.0
(MIT, EvalEval)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator
from test_cli_words import run

from commonweal.core.errors import DataError
from commonweal.evals.exchange.every_eval_ever import SCHEMA, export

PUBLISHED = json.loads(
    (Path(__file__).parents[1] / "evals" / "exchange" / "every_eval_ever.schema.json").read_text("utf-8")
)


def problems(record: dict[str, Any]) -> list[str]:
    """The schema's complaints, and numbers that are outside of their own bounds, which it cannot say."""
    found = [
        f"{list(error.path)}: {error.message}" for error in Draft7Validator(PUBLISHED).iter_errors(record)
    ]
    for result in record["evaluation_results"]:
        config, score = result["metric_config"], result["score_details"]["score"]
        if not float(config["min_score"]) <= score <= float(config["max_score"]):
            found.append(f"{config['metric_id']}: {score} is out of bounds")
    return found


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Generation with perturbations, choices with probabilities, and one that a judge was needed for."""
    out = tmp_path_factory.mktemp("exported")
    words = ("--scenario", "copying", "--scenario", "kinds", "--scenario", "arithmetic_tools")
    done = run(
        "eval",
        "--model",
        "mock",
        "--out",
        str(out),
        *words,
        "--max-instances",
        "12",
        "--perturbations",
        "robustness",
    )
    assert done.returncode == 0
    return out


def test_every_run_fits_the_published_schema(runs: Path, tmp_path: Path) -> None:
    Draft7Validator.check_schema(PUBLISHED)
    assert PUBLISHED["version"] == SCHEMA
    out = tmp_path / "eee.jsonl"
    assert run("leaderboard", str(runs), "--export", str(out)).returncode == 0
    records = [json.loads(line) for line in out.read_text("utf-8").splitlines()]
    assert len(records) == 3
    for record in records:
        assert problems(record) == []
        assert json.loads(json.dumps(record, allow_nan=False)) == record


def test_each_stat_is_a_result_and_its_perturbed_form_a_detail(runs: Path) -> None:
    [folder] = [file.parent for file in runs.rglob("run.json") if file.parent.name == "copying"]
    record = export(folder)
    by_name = {one["metric_config"]["metric_id"]: one for one in record["evaluation_results"]}
    assert record["evaluation_results"][0] is by_name["commonweal.exact_match"]
    assert {"commonweal.quasi_exact_match", "commonweal.num_prompt_tokens"} <= set(by_name)
    details = by_name["commonweal.exact_match"]["score_details"]["details"]
    assert {"exact_match (test, mild_mix)", "exact_match (test, robustness)"} <= set(details)
    assert len({one["evaluation_result_id"] for one in by_name.values()}) == len(by_name)
    tokens = by_name["commonweal.num_prompt_tokens"]["metric_config"]
    assert (tokens["max_score"], tokens["metric_unit"]) == ("Infinity", "tokens")


def test_what_the_schema_does_not_allow_is_seen(runs: Path) -> None:
    """The test above can fail."""
    record = export(next(runs.rglob("run.json")).parent)
    record["model_info"].pop("additional_details")
    assert any("additional_details" in problem for problem in problems(record))


def test_a_run_without_its_main_number_is_not_exported(tmp_path: Path) -> None:
    done = run(
        "eval",
        "--model",
        "mock:fails=1",
        "--out",
        str(tmp_path),
        "--scenario",
        "copying",
        "--max-instances",
        "3",
    )
    assert done.returncode == 1
    with pytest.raises(DataError, match="nothing to export"):
        export(next(tmp_path.rglob("run.json")).parent)
