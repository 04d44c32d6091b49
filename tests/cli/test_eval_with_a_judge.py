"""``--judge``: whom it asks, what comes of it, and that each server is sent its own key and no other."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from listening_server import listening
from test_cli_eval import server
from test_cli_words import assert_clear, run

from commonweal.evals.completers import resolve
from commonweal.evals.completers.providers import Provider

KEYS = {"MINE": "private-key", "OPENAI_API_KEY": "openai-key", "JUDGES": "judges-key"}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """MT-Bench with one question of two turns."""
    folder = tmp_path / "data" / "mt_bench"
    folder.mkdir(parents=True)
    asked = {"question_id": 81, "category": "writing", "turns": ["Write a line.", "Make it shorter."]}
    (folder / "mt_bench_question.jsonl").write_text(json.dumps(asked) + "\n")
    known = {"question_id": 81, "choices": [{"turns": ["A line.", "Line."]}]}
    (folder / "mt_bench_reference_gpt-4.jsonl").write_text(json.dumps(known) + "\n")
    return tmp_path / "data"


def words(data: Path, *more: str) -> tuple[str, ...]:
    return ("--scenario", "mt_bench", "--data-root", str(data), "--json", *more)


def evaluate(data: Path, out: Path, *more: str, **keys: str) -> dict[str, Any]:
    done = run("eval", *words(data, "--out", str(out), *more), environment=keys)
    assert (done.returncode, done.stderr) == (0, "")
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def test_a_judge_gives_its_score(data: Path, tmp_path: Path) -> None:
    with listening(says="Rating: [[7]]") as judge:
        told = evaluate(data, tmp_path / "runs", "--model", "mock", "--judge", f"{judge.url}#strict")
    [one] = told["runs"]
    assert (one["status"], one["aspects"]["accuracy"]["stat"]) == ("done", "judge_score")
    assert one["aspects"]["accuracy"]["mean"] == 7.0
    [run_json] = [json.loads(path.read_text()) for path in (tmp_path / "runs").rglob("run.json")]
    assert run_json["judge"] == f"{judge.url}#strict"
    assert f"--judge '{judge.url}#strict'" in run_json["command"]
    assert {came.body["model"] for came in judge.came if came.body} == {"strict"}


def test_without_a_judge_nothing_is_measured(data: Path, tmp_path: Path) -> None:
    done = run("eval", "--model", "mock", *words(data, "--out", str(tmp_path / "runs")))
    [one] = json.loads(done.stdout)["runs"]
    assert done.returncode == 1
    assert (one["status"], one["reason"]) == ("not_measured", "no judge (--judge MODEL)")


def test_a_judge_that_answers_nonsense_gives_no_score(data: Path, tmp_path: Path) -> None:
    with listening(says="seven") as judge:
        told = evaluate(data, tmp_path / "runs", "--model", "mock", "--judge", f"{judge.url}#strict")
    [one] = told["runs"]
    assert one["aspects"]["accuracy"]["mean"] is None
    assert "the judge's answer has no rating" in one["aspects"]["accuracy"]["reason"]


def test_the_models_key_never_reaches_the_judge(data: Path, tmp_path: Path) -> None:
    with listening() as model, listening() as judge:
        asked = ("--model", f"{model.url}#m", "--judge", f"{judge.url}#j")
        evaluate(data, tmp_path / "a", *asked, "--key-env", "MINE", **KEYS)
        assert (model.keys, judge.keys) == ({"Bearer private-key"}, {None})
        both = ("--key-env", "MINE", "--judge-key-env", "JUDGES")
        model.came.clear()
        judge.came.clear()
        evaluate(data, tmp_path / "b", *asked, *both, **KEYS)
        assert (model.keys, judge.keys) == ({"Bearer private-key"}, {"Bearer judges-key"})


def test_a_providers_judge_gets_its_providers_key(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with listening() as model, listening() as judge:
        openai = Provider(base_url=judge.url, key_name="OPENAI_API_KEY")
        monkeypatch.setattr(resolve, "PROVIDERS", {"openai": openai})
        asked = ("--model", f"{model.url}#m", "--key-env", "MINE", "--judge", "openai/gpt-x", "--no-cache")
        evaluate(data, tmp_path / "a", *asked, **KEYS)
        assert (model.keys, judge.keys) == ({"Bearer private-key"}, {"Bearer openai-key"})


def test_refreshing_sends_each_server_its_own_key(data: Path, tmp_path: Path) -> None:
    with listening() as first, listening() as second, listening() as judge:
        asked = ("--model", f"{first.url}#a", "--model", f"{second.url}#b", "--judge", f"{judge.url}#j")
        keys = ("--key-env", "MINE", "--key-env", "", "--judge-key-env", "JUDGES")
        done = run("refresh", str(tmp_path / "runs"), *words(data), *asked, *keys, environment=KEYS)
    assert (done.returncode, done.stderr) == (0, "")
    assert first.keys == {"Bearer private-key"}
    assert second.keys == {None}
    assert judge.keys == {"Bearer judges-key"}


def test_a_key_too_few_is_a_mistake(data: Path, tmp_path: Path) -> None:
    asked = ("--model", "mock", "--model", "mock:empty", "--key-env", "MINE")
    done = run("refresh", str(tmp_path / "runs"), *words(data), *asked, environment=KEYS)
    assert_clear(done, 2, "--key-env: 1 for 2 models", "in their order")


def test_a_judges_key_that_is_not_set_is_named(data: Path, tmp_path: Path) -> None:
    asked = ("--model", "mock", "--judge", "http://127.0.0.1:1/v1#j", "--judge-key-env", "NOPE")
    done = run("eval", *words(data, "--out", str(tmp_path / "runs")), *asked)
    assert_clear(done, 2, "--judge-key-env NOPE", "export NOPE")


def test_a_judge_that_does_not_let_us_in(data: Path, tmp_path: Path) -> None:
    with server(401, {"error": {"message": "wrong key"}}) as url:
        done = run(
            "eval",
            *words(data, "--out", str(tmp_path / "runs")),
            *("--model", "mock", "--judge", f"{url}#j"),
        )
    assert_clear(done, 3, "wrong key", "--judge-key-env")
