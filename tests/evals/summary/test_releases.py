"""Releases: frozen, with a history of what changed and why."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from making_runs import make_run, right

from commonweal.core.errors import Conflict, UserError
from commonweal.evals.summary.release import freeze, judge_of
from commonweal.evals.summary.runs import find_runs

NOW = "2026-11-24T00:00:00+00:00"


def release(tmp_path: Path, name: str, runs: str) -> dict[str, object]:
    return freeze(find_runs([tmp_path / runs]), tmp_path / "releases", name, NOW)


def told(made: dict[str, object]) -> list[tuple[str, str, str]]:
    return [(c["kind"], c["model"], c["run"]) for c in made["changes"]]  # type: ignore[attr-defined]


def test_what_changed_and_why(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    make_run(one, "same", right(50, 100))
    make_run(one, "moved", right(50, 100))
    make_run(one, "judged", right(50, 100), command="commonweal eval --judge old")
    make_run(one, "gone", right(50, 100))
    make_run(two, "same", right(51, 100))
    make_run(two, "moved", right(90, 100))
    make_run(two, "judged", right(90, 100), command="commonweal eval --judge new")
    make_run(two, "fresh", right(50, 100), scenario="quac")
    first, second = release(tmp_path, "r1", "one"), release(tmp_path, "r2", "two")
    assert (first["before"], first["changes"]) == (None, [])
    assert second["before"] == "r1"
    assert told(second) == [
        ("new model", "fresh", ""),
        ("model gone", "gone", ""),
        ("new scenario", "", "quac"),
        ("judge", "judged", "boolq"),
        ("number moved", "judged", "boolq"),
        ("number moved", "moved", "boolq"),
    ]
    texts = [change["text"] for change in second["changes"]]  # type: ignore[attr-defined]
    assert texts[3:] == [
        "old -> new",
        "exact_match 0.5 -> 0.9 (judge)",
        "exact_match 0.5 -> 0.9 (asked the same)",
    ]
    index = json.loads((tmp_path / "releases" / "index.json").read_text())["releases"]
    assert [entry["name"] for entry in index] == ["r1", "r2"]
    assert index[1]["changes"]["number moved"] == 2
    assert json.loads((tmp_path / "releases" / "r2.json").read_text()) == second


def test_the_judge_is_the_one_that_the_run_names() -> None:
    by_command = "commonweal eval --model m --judge by-command"
    assert judge_of({"judge": "named", "command": by_command}) == "named"
    assert judge_of({"judge": "", "command": by_command}) == ""
    assert judge_of({"command": by_command}) == "by-command"
    assert judge_of({"command": None}) == judge_of({}) == ""


def test_a_changed_scenario_and_changed_data(tmp_path: Path) -> None:
    make_run(tmp_path / "one", "m", right(50, 100))
    make_run(tmp_path / "two", "m", right(50, 100), version=2, rows="bb")
    release(tmp_path, "r1", "one")
    assert told(release(tmp_path, "r2", "two")) == [
        ("scenario version", "m", "boolq"),
        ("data", "m", "boolq"),
    ]


def test_the_same_runs_have_the_same_hash_and_no_changes(tmp_path: Path) -> None:
    make_run(tmp_path / "one", "m", right(5, 10))
    first, second = release(tmp_path, "r1", "one"), release(tmp_path, "r2", "one")
    assert (first["hash"], second["changes"]) == (second["hash"], [])


def test_a_release_is_frozen_and_has_a_name(tmp_path: Path) -> None:
    make_run(tmp_path / "one", "m", right(5, 10))
    release(tmp_path, "r1", "one")
    with pytest.raises(Conflict, match="stays as it is"):
        release(tmp_path, "r1", "one")
    for name in ("index", "../up", ""):
        with pytest.raises(UserError, match="no release can be called"):
            release(tmp_path, name, "one")
