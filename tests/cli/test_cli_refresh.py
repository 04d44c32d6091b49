"""``commonweal refresh`` from the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from test_cli_words import assert_clear, run

MATRIX = ("--scenario", "copying", "--scenario", "arithmetic", "--max-instances", "6")


def saved(out: Path) -> list[str]:
    return sorted(json.loads(file.read_text())["name"] for file in out.rglob("run.json"))


def test_only_what_is_missing_is_run(tmp_path: Path) -> None:
    out = tmp_path / "runs"
    dry = run("refresh", str(out), "--model", "mock", *MATRIX, "--dry-run")
    assert (dry.returncode, dry.stderr) == (0, "")
    assert dry.stdout.splitlines() == [
        "mock: 2 to run, 0 kept",
        "- copying: missing",
        "- arithmetic: missing",
    ]
    assert not out.exists()

    done = run("eval", "--model", "mock", "--out", str(out), *MATRIX[:2], *MATRIX[-2:])
    assert done.returncode == 0
    done = run("refresh", str(out), "--model", "mock", "--model", "mock:empty", *MATRIX)
    assert (done.returncode, done.stderr) == (0, "")
    assert max(len(line) for line in done.stdout.splitlines() if not line.startswith(str(out))) <= 80
    assert done.stdout.startswith(
        "mock: 1 to run, 1 kept\n- arithmetic: missing\nmock:empty: 2 to run, 0 kept\n"
    )
    assert saved(out) == ["arithmetic", "arithmetic", "copying", "copying"]

    again = json.loads(run("refresh", str(out), "--model", "mock", *MATRIX, "--json").stdout)
    assert [(one["name"], one["state"]) for one in again["runs"]] == [
        ("copying", "kept"),
        ("arithmetic", "kept"),
    ]
    assert again["evaluations"] == []
    assert len(saved(out)) == 4


def test_what_was_asked_otherwise_or_failed_is_run_again(tmp_path: Path) -> None:
    assert run("eval", "--model", "mock", "--out", str(tmp_path), *MATRIX).returncode == 0
    changed = run("refresh", str(tmp_path), "--model", "mock", *MATRIX[:-1], "7", "--dry-run")
    assert "- copying: asked otherwise: max_instances: 6 -> 7" in changed.stdout.splitlines()
    [file] = [file for file in tmp_path.rglob("run.json") if "copying" in str(file)]
    told = json.loads(file.read_text())
    file.write_text(json.dumps({**told, "status": "failed", "reason": "away"}))
    done = run("refresh", str(tmp_path), "--model", "mock", *MATRIX, "--json")
    assert done.returncode == 0
    found = json.loads(done.stdout)
    assert [(one["name"], one["why"], one["text"]) for one in found["runs"]] == [
        ("copying", "failed", "away"),
        ("arithmetic", "", ""),
    ]
    assert [[one["name"] for one in each["runs"]] for each in found["evaluations"]] == [["copying"]]
    kept = run("refresh", str(tmp_path), "--model", "mock", *MATRIX, "--dry-run")
    assert kept.stdout == "mock: 0 to run, 2 kept\n"


OWN = """name = "own"
shape = "question_answering"
file = "own.jsonl"
"""


def own(folder: Path, *answers: str) -> str:
    (folder / "own.toml").write_text(OWN)
    rows = [{"id": str(n), "question": f"What is {n}?", "answer": one} for n, one in enumerate(answers)]
    (folder / "own.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(folder / "own.toml")


def test_data_that_changed_are_noticed(tmp_path: Path) -> None:
    out, words = str(tmp_path / "runs"), ("--model", "mock", "--scenario", own(tmp_path, "a", "b"))
    assert run("refresh", out, *words).returncode == 0
    assert run("refresh", out, *words, "--dry-run").stdout == "mock: 0 to run, 1 kept\n"
    own(tmp_path, "a", "c")
    dry = run("refresh", out, *words, "--dry-run").stdout.splitlines()
    assert dry[1].startswith("- own: data: instances ")
    assert dry[-1].endswith("changed")
    (tmp_path / "own.jsonl").unlink()
    assert run("refresh", out, *words, "--dry-run").stdout == "mock: 0 to run, 1 kept\n"


def test_what_is_asked_can_be_said_as_for_eval(tmp_path: Path) -> None:
    asked = ("--scenario", "arithmetic", "--max-instances", "4", "--shots", "2", "--seed", "3")
    asked += ("--perturbations", "typos", "--trials", "2", "--confidence", "verbalized", "--model", "mock")
    assert run("refresh", str(tmp_path / "a"), *asked).returncode == 0
    assert run("eval", "--out", str(tmp_path / "b"), *asked).returncode == 0
    found = [json.loads(next((tmp_path / side).rglob("run.json")).read_text())["spec"] for side in ("a", "b")]
    assert found[0] == found[1]
    assert (found[0]["adaptation"]["shots"], found[0]["seed"], found[0]["perturbations"]) == (2, 3, ["typos"])
    assert found[0]["adaptation"]["confidence"] == "verbalized"
    again = run("refresh", str(tmp_path / "a"), *asked[:-4], *asked[-2:], "--dry-run").stdout
    assert "asked otherwise: adaptation.confidence: 'verbalized' -> " in " ".join(again.split())


def test_a_limit_holds_over_all_models(tmp_path: Path) -> None:
    words = ("--model", "mock", "--model", "mock:empty", "--scenario", "copying", "--max-instances", "6")
    done = run("refresh", str(tmp_path), *words, "--max-tokens", "1")
    assert done.returncode == 0
    assert "stopped: --max-tokens: the limit of 1 tokens" in done.stdout
    assert saved(tmp_path) == ["copying"]
    kept = run("refresh", str(tmp_path), *words, "--dry-run").stdout.splitlines()
    assert kept[0] == "mock: 1 to run, 0 kept"
    assert "unfinished" in kept[1]
    away = run("refresh", str(tmp_path / "b"), *words, "--max-cost", "1")
    assert "what this model costs is not known" in away.stderr


def test_a_suite_is_asked_with_its_perturbations_as_eval_asks_it(tmp_path: Path) -> None:
    suite = ("--model", "mock", "--suite", "offline", "--max-instances", "1")
    assert run("refresh", str(tmp_path / "a"), *suite).returncode == 0
    assert run("eval", "--out", str(tmp_path / "b"), *suite).returncode == 0
    for folder in ("a", "b"):
        found = json.loads(run("refresh", str(tmp_path / folder), *suite, "--json", "--dry-run").stdout)
        assert {one["state"] for one in found["runs"]} == {"kept"}, folder


def test_a_model_that_is_away_stops_no_other(tmp_path: Path) -> None:
    words = ("--model", "http://127.0.0.1:1/v1#gone", "--model", "mock", *MATRIX)
    done = run("refresh", str(tmp_path), *words)
    assert done.returncode != 0
    assert "mock" in done.stdout
    assert {file.parent.name for file in tmp_path.rglob("stats.parquet")} == {"copying", "arithmetic"}
    models = [
        json.loads(file.with_name("run.json").read_text())["spec"]["model"]
        for file in tmp_path.rglob("stats.parquet")
    ]
    assert set(models) - {"gone"} == {"mock"}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--scenario", "copying"), "no model"),
        (("--model", "mock"), "nothing to evaluate"),
        (("--model", "mock", "--scenario", "copyng"), "did you mean 'copying'?"),
    ],
)
def test_a_mistake_has_one_clear_message(words: tuple[str, ...], said: str, tmp_path: Path) -> None:
    assert_clear(run("refresh", str(tmp_path), *words), 2, said)


def test_folders_after_the_first_must_be_there(tmp_path: Path) -> None:
    words = ("--model", "mock", "--scenario", "copying")
    assert_clear(run("refresh", str(tmp_path), str(tmp_path / "none"), *words), 3, "no such folder")
    (tmp_path / "file").touch()
    assert_clear(run("refresh", str(tmp_path / "file"), *words), 2, "not a folder")
