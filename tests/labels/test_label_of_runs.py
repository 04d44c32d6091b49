"""What runs say of a model: the numbers of the board with their intervals, the gaps, and that they can be checked."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest
from label_world import assert_clear, run

from commonweal.evals.aspects import ASPECTS
from commonweal.evals.scenarios.registry import SCENARIOS
from commonweal.evals.summary.runs import SavedRun, find_runs
from commonweal.labels.card import card
from commonweal.labels.facts import Label
from commonweal.labels.from_toml import named
from commonweal.labels.json_form import dumps, from_json, schema, to_json
from commonweal.labels.runs import with_runs
from commonweal.web.site.run import aspects


def made(runs: Path) -> Label:
    return with_runs(named("mock"), find_runs([runs]))


def test_the_numbers_are_those_of_the_board(runs: Path) -> None:
    label, saved = made(runs), {run.name: run for run in find_runs([runs])}
    assert {one.run for one in label.evaluations} == set(saved) == {"people", "kinds"}
    for one in label.evaluations:
        assert dict(one.cells) == dict(aspects(saved[one.run]))
        stat = saved[one.run].stat(one.metric)
        assert stat is not None
        assert (one.main.mean, one.main.low, one.main.high, one.main.n) == (
            stat.mean,
            stat.low,
            stat.high,
            stat.n,
        )
    accuracy = label.fact("evaluation.accuracy")
    assert set(accuracy.value) == set(saved)
    assert (
        accuracy.value["people"]["low"]
        <= accuracy.value["people"]["mean"]
        <= accuracy.value["people"]["high"]
    )
    jsonschema.validate(to_json(label), schema())
    assert from_json(json.loads(dumps(label)), where="x") == label


def test_the_gaps_are_told(runs: Path) -> None:
    label = made(runs)
    assert set(label.not_run) == set(SCENARIOS) - {"people", "kinds"}
    for one in label.evaluations:
        missing = {gap.aspect for gap in label.not_measured if gap.run == one.run}
        assert missing == {aspect for aspect in ASPECTS if one.cells[aspect].mean is None}
    assert all(gap.reason for gap in label.not_measured)
    assert label.fact("evaluation.efficiency").status == "not_disclosed"
    energy = label.fact("evaluation.energy")
    assert (energy.status, "mock computes nothing" in energy.missing) == ("not_disclosed", True)
    assert not named("mock").evaluated, "a label without runs says that none were looked for"


def test_energy_that_was_measured_is_told_with_its_method(runs: Path) -> None:
    saved = find_runs([runs])
    told = {**saved[0].run, "cost": {"joules": 7200.0}, "environment": {"energy": "RAPL: package-0"}}
    label = with_runs(named("mock"), [replace(saved[0], run=told), saved[1]])
    energy = label.fact("evaluation.energy")
    assert (energy.text, energy.method) == ("2 Wh in 1 run of 2", "RAPL: package-0")
    assert from_json(json.loads(dumps(label)), where="x") == label


def test_runs_of_other_models_are_no_part_of_it(runs: Path) -> None:
    assert with_runs(named("other"), find_runs([runs])).evaluations == ()


def test_a_run_without_numbers_is_told_with_its_reason(runs: Path) -> None:
    run = find_runs([runs])[0]
    broken = SavedRun(
        folder=run.folder, run={**run.run, "status": "failed", "reason": "the disk is full"}, stats=()
    )
    label = with_runs(named("mock"), [broken])
    assert label.fact("evaluation.accuracy").status == "not_disclosed"
    assert {gap.reason for gap in label.not_measured} == {"the disk is full"}


def test_misuse_is_measured_by_scenarios_about_it(runs: Path) -> None:
    run = find_runs([runs])[0]
    spec = {**run.run["spec"], "scenario": "harmful_behaviours"}
    label = with_runs(named("mock"), [replace(run, run={**run.run, "spec": spec})])
    assert label.fact("evaluation.misuse").status == "disclosed"
    assert made(runs).fact("evaluation.misuse").status == "not_disclosed"


def test_the_card_has_the_results(runs: Path) -> None:
    hub = pytest.importorskip("huggingface_hub")
    results = hub.ModelCard(card(made(runs))).data.eval_results
    found = {one.dataset_name: one for one in results}
    people = next(one for one in made(runs).evaluations if one.run == "people")
    assert found["people"].metric_value == people.main.mean
    assert found["people"].metric_type == people.metric
    assert "n = 12" in found["people"].metric_name


def test_the_command_knows_models_of_runs(runs: Path, tmp_path: Path) -> None:
    done = run("label", "mock", "--runs", str(runs), "--check", "--json")
    assert done.returncode == 0, done.stderr
    assert {one["outcome"] for one in json.loads(done.stdout)["facts"]} == {"holds"}
    assert_clear(run("label", "mokc", "--runs", str(runs)), 3, "mokc", "did you mean mock")
    assert_clear(run("label", "nobody"), 3, "no such file or folder", "--hub")


def test_a_run_that_is_another_now_is_found_out(runs: Path, tmp_path: Path) -> None:
    """A label says what a run came to; the run was made again since, and came to something else."""
    kept = tmp_path / "label.json"
    assert run("label", "mock", "--runs", str(runs), "--format", "json", "--out", str(kept)).returncode == 0
    assert run("label", str(kept), "--runs", str(runs), "--check").returncode == 0
    other = tmp_path / "runs"
    shutil.copytree(runs, other)
    (people,) = (
        file.parent for file in other.rglob("run.json") if json.loads(file.read_text())["name"] == "people"
    )
    (kinds,) = (
        file.parent for file in other.rglob("run.json") if json.loads(file.read_text())["name"] == "kinds"
    )
    shutil.copy(kinds / "stats.parquet", people / "stats.parquet")
    done = run("label", str(kept), "--runs", str(other), "--check", "--json")
    assert done.returncode == 1
    wrong = {one["key"] for one in json.loads(done.stdout)["facts"] if one["outcome"] == "wrong"}
    assert {"run:people", "evaluation.accuracy"} <= wrong
    assert "run:kinds" not in wrong
    nowhere = json.loads(run("label", str(kept), "--check", "--json").stdout)
    assert {one["outcome"] for one in nowhere["facts"]} == {"unknown"}
