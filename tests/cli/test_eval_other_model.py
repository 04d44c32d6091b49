"""A server that answers as another model than the one asked for: the user is told once, and the run keeps its name."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from listening_server import listening
from rich.console import Console
from test_cli_words import run

from commonweal import console

SMALL = ("--scenario", "arithmetic", "--max-instances", "6", "--shots", "0")
SAID = "'right' was asked for, but the server says that 'wrong' answers"


def test_the_summary_tells_once_of_another_model(tmp_path: Path) -> None:
    with listening(calls_itself="wrong") as server:
        done = run("eval", "--model", f"{server.url}#right", *SMALL, "--out", str(tmp_path))
        [folder] = tmp_path.iterdir()
        again = json.loads(run("eval", "--resume", str(folder), "--json").stdout)
    assert (done.returncode, done.stderr) == (0, "")
    assert " ".join(done.stdout.split()).count(f"warning: {SAID}") == 1
    assert json.loads((folder / "arithmetic" / "run.json").read_text())["answered_by"] == ["wrong"]
    assert again["warnings"] == [SAID], "nothing was asked, and it is told still"


def test_json_tells_of_another_model(tmp_path: Path) -> None:
    with listening(calls_itself="wrong") as server:
        done = run("eval", "--model", f"{server.url}#right", *SMALL, "--out", str(tmp_path), "--json")
    told = json.loads(done.stdout)
    assert told["warnings"] == [SAID]
    assert [one["answered_by"] for one in told["runs"]] == [["wrong"]]


def test_a_server_that_says_the_truth_is_not_accused(tmp_path: Path) -> None:
    with listening() as server:
        done = run("eval", "--model", f"{server.url}#right", *SMALL, "--out", str(tmp_path), "--json")
    told = json.loads(done.stdout)
    assert told["warnings"] == []
    assert [one["answered_by"] for one in told["runs"]] == [[]]


def test_the_live_display_tells_it_above_the_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.StringIO()
    terminal = Console(file=written, force_terminal=True, width=80, soft_wrap=True, highlight=False)
    monkeypatch.setattr(console, "out", terminal)
    with listening(calls_itself="wrong") as server:
        run("eval", "--model", f"{server.url}#right", *SMALL, "--out", str(tmp_path))
    live, _, summary = written.getvalue().partition("accur.")
    assert live.count(f"warning: {SAID}") == 1
    assert "warning: 'right' was asked for" in summary


def test_a_judge_that_is_another_model_is_told_of(tmp_path: Path) -> None:
    folder = tmp_path / "data" / "mt_bench"
    folder.mkdir(parents=True)
    asked = {"question_id": 81, "category": "stem", "turns": ["One.", "Two."]}
    (folder / "mt_bench_question.jsonl").write_text(json.dumps(asked) + "\n")
    (folder / "mt_bench_reference_gpt-4.jsonl").write_text("")
    with listening(calls_itself="cheap") as judge:
        words = ("--scenario", "mt_bench", "--data-root", str(tmp_path / "data"), "--json")
        asked_of = ("--model", "mock", "--judge", f"{judge.url}#strict")
        told = json.loads(run("eval", *words, *asked_of, "--out", str(tmp_path / "runs")).stdout)
    assert told["warnings"] == [
        "'strict' was asked for, but the judge's server says that 'cheap' answers",
    ]
    assert told["runs"][0]["answered_by"] == []
