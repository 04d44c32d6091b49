"""HELM's output becomes runs: its numbers to the last digit, its prompts to the last byte."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from commonweal.core.errors import DataError, NotFound
from commonweal.evals.exchange.every_eval_ever import export
from commonweal.evals.exchange.helm import read_helm, read_splits
from commonweal.evals.exchange.importing import group_means, write_imported
from commonweal.evals.exchange.leaderboards import recompute
from commonweal.evals.summary.runs import find_runs
from commonweal.evals.tables import read_rows

MODELS = {
    "Together AI Llama 3 (8B)": "together/Llama-3-8b-chat-hf",
    "Together AI Llama 3 (70B)": "together/Llama-3-70b-chat-hf",
    "Groq LLaMA 3 (8B)": "groq/llama3-8b-8192",
    "Groq LLaMA 3 (70B)": "groq/llama3-70b-8192",
    "Hugging face LLaMA 3 (8B)(original)": "huggingface/Meta-Llama-3-8B",
}
ANATOMY = "mmlu:subject=anatomy,method=multiple_choice_joint,model=groq_llama3-8b-8192"


def test_the_group_table_is_helms_to_the_last_digit(data_root: Path) -> None:
    helm = data_root / "helm_raw_mmlu"
    splits = read_splits(data_root / "mmlu_57_sample" / "mmlu_57_sample.jsonl")
    table = json.loads((helm / "groups" / "json" / "mmlu_mmlu.json").read_text())
    place = [cell["value"] for cell in table["header"]].index("EM")
    theirs = {MODELS[row[0]["value"]]: repr(row[place]["value"]) for row in table["rows"]}
    ours = group_means(read_helm(helm, splits), "exact_match")
    assert {model: repr(mean) for model, mean in ours.items()} == theirs
    assert len(theirs) == 5
    without = group_means(read_helm(helm), "exact_match")
    assert without != ours, "validation instances count where the splits are not told"


def test_a_complete_run_keeps_every_prompt(data_root: Path, tmp_path: Path) -> None:
    source = data_root / "helm_raw_mmlu" / "runs_full" / ANATOMY
    [run] = read_helm(source)
    assert run.spec.name == "mmlu:subject=anatomy", "as our own run of it is called"
    folder = write_imported(run, tmp_path)
    states = json.loads((source / "scenario_state.json").read_text())["request_states"]
    rows = list(read_rows(folder, "requests"))
    assert len(states) == len(rows) > 0
    assert [row["prompt"] for row in rows] == [state["request"]["prompt"] for state in states]
    assert [row["completion"] for row in rows] == [s["result"]["completions"][0]["text"] for s in states]
    [found] = find_runs([tmp_path])
    theirs = {
        entry["instance_id"]: stat["sum"] / stat["count"]
        for entry in json.loads((source / "per_instance_stats.json").read_text())
        for stat in entry["stats"]
        if stat["name"]["name"] == "exact_match" and stat["name"]["split"] == "test"
    }
    assert found.scores("exact_match") == theirs
    stat = found.stat("exact_match")
    assert stat is not None
    assert stat.low is not None
    assert stat.high is not None
    assert stat.mean == sum(theirs.values()) / len(theirs)
    assert stat.low <= stat.mean <= stat.high
    assert found.run["imported"]["name"] == ANATOMY


def test_pictures_that_helm_only_names_are_told_to_be_missing(data_root: Path, tmp_path: Path) -> None:
    source = next((data_root / "helm_raw_mmlu").rglob("scenario_state.json")).parent
    shutil.copytree(source, tmp_path / "helm")
    state = json.loads((source / "scenario_state.json").read_text())
    first = state["request_states"][0]["instance"]
    objects = [
        {"content_type": "text/plain", "text": "What is it?"},
        {"content_type": "image/png", "location": "prod_env/scenarios/vqa/1.png"},
    ]
    for one in state["request_states"]:
        if one["instance"]["id"] == first["id"]:
            one["instance"]["input"]["multimedia_content"] = {"media_objects": objects}
    (tmp_path / "helm" / "scenario_state.json").write_text(json.dumps(state))
    [run] = read_helm(tmp_path / "helm")
    folder = write_imported(run, tmp_path / "runs")
    note = json.loads((folder / "run.json").read_text())["note"]
    assert note.endswith("; its inputs had pictures or sounds, which HELM's output lacks: 1")
    assert not any(row["images"] for row in read_rows(folder, "instances"))
    [plain] = read_helm(source)
    folder = write_imported(plain, tmp_path / "plain")
    assert json.loads((folder / "run.json").read_text())["note"] == "imported from HELM"


def test_an_imported_run_exports_as_every_eval_ever(data_root: Path, tmp_path: Path) -> None:
    [run] = read_helm(data_root / "helm_raw_mmlu" / "runs_full" / ANATOMY)
    made = export(write_imported(run, tmp_path))
    assert made["model_info"]["id"] == "groq/llama3-8b-8192"
    assert made["model_info"]["developer"] == "groq"
    assert made["eval_library"] == {"name": "helm", "version": "unknown"}
    result = made["evaluation_results"][0]
    assert result["metric_config"]["metric_id"] == "commonweal.exact_match"
    assert (
        result["score_details"]["uncertainty"]["confidence_interval"]["lower"]
        <= result["score_details"]["score"]
    )
    assert "exact_match (valid)" in result["score_details"]["details"]


def test_the_answer_is_the_reference_that_the_letter_stands_for(data_root: Path) -> None:
    source = data_root / "helm_raw_mmlu" / "runs_full" / ANATOMY
    [run] = read_helm(source)
    states = json.loads((source / "scenario_state.json").read_text())["request_states"]
    chosen = 0
    for one, state in zip(run.samples(), states, strict=True):
        [asked] = one.asked
        assert asked.ask.request.max_tokens == state["request"]["max_tokens"]
        letter = state["result"]["completions"][0]["text"].strip()
        assert one.sample.output == state["output_mapping"].get(letter, letter)
        if one.sample.chosen is not None:
            chosen += 1
            reference = one.sample.instance.references[one.sample.chosen]
            assert float(reference.correct) == one.scores["exact_match"]
    assert chosen > 0


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no such folder"):
        read_helm(tmp_path / "none")
    with pytest.raises(NotFound, match="nothing of HELM there") as caught:
        read_helm(tmp_path)
    assert "run_spec.json" in (caught.value.hint or "")
    (tmp_path / "run_spec.json").write_text("{")
    with pytest.raises(DataError, match="not JSON"):
        read_helm(tmp_path)
    rows = tmp_path / "splits.jsonl"
    rows.write_text('{"id": "id1", "split": "test"}\n{"id": "id2"}\n')
    with pytest.raises(DataError, match=r"splits.jsonl:2: no 'split'"):
        read_splits(rows)


@pytest.mark.parametrize(
    ("board", "models", "largest", "mean"),
    [("classic", 67, 0.0371, 0.0087), ("lite", 91, 0.0731, 0.0198), ("instruct", 4, 0.2499, 0.1362)],
)
def test_published_win_rates_are_met_as_far_as_the_columns_allow(
    data_root: Path, board: str, models: int, largest: float, mean: float
) -> None:
    found = recompute(data_root / "helm_leaderboards" / f"helm_{board}.csv")
    assert len(found.published) == models
    assert found.largest <= largest
    assert found.mean <= mean


def test_a_cell_that_is_no_number_is_named(tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    table.write_text("model_id,Mean win rate,A\nm,0.5,x\n")
    with pytest.raises(DataError, match=r"t\.csv:2: A: expected a number, got 'x'"):
        recompute(table)
    table.write_text("model_id,A\nm,1\n")
    with pytest.raises(DataError, match="Mean win rate"):
        recompute(table)
