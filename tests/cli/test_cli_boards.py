"""``commonweal leaderboard``, ``compare``, ``release`` and ``import-helm`` from the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from test_cli_words import assert_clear, run

SMALL = ("--scenario", "copying", "--scenario", "arithmetic", "--max-instances", "8")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two evaluations of the mock: one asked with other examples."""
    root = tmp_path_factory.mktemp("boards")
    for name, more in (("a", ()), ("b", ("--shots", "1"))):
        done = run("eval", "--model", "mock", "--out", str(root / name), *SMALL, *more)
        assert done.returncode == 0, done.stderr
    return root


def test_leaderboard_and_its_export(runs: Path, tmp_path: Path) -> None:
    out = tmp_path / "eee.jsonl"
    done = run("leaderboard", str(runs), "--export", str(out))
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[0].split() == ["model", "win", "rate", "cover", "arithmetic", "copying"]
    records = [json.loads(line) for line in out.read_text().splitlines()]
    assert [one["evaluation_results"][0]["evaluation_name"] for one in records] == ["arithmetic", "copying"]
    told = json.loads(run("leaderboard", str(runs), "--json").stdout)
    assert [one["model"] for one in told["models"]] == ["mock"]
    assert_clear(run("leaderboard", str(runs), "--group", "nothing"), 2, "no run is in the group 'nothing'")
    assert_clear(run("leaderboard", str(tmp_path / "none")), 3, "no such folder")


def test_compare(runs: Path) -> None:
    done = run("compare", str(runs / "a"), str(runs / "b"))
    assert (done.returncode, done.stderr) == (0, "")
    assert max(map(len, done.stdout.splitlines())) <= 80
    told = json.loads(run("compare", str(runs / "a"), str(runs / "b"), "--json").stdout)
    assert [one["name"] for one in told["scenarios"]] == ["arithmetic", "copying"]
    assert {one["shared"] for one in told["scenarios"]} == {8}
    assert {len(one["flips"]) for one in told["scenarios"] if one["flips"] is not None} <= {2}


def test_release(runs: Path, tmp_path: Path) -> None:
    words = ("--out", str(tmp_path / "releases"))
    first = run("release", "r1", str(runs / "a"), *words)
    assert (first.returncode, first.stderr) == (0, "")
    assert "the first release here" in first.stdout
    second = run("release", "r2", str(runs / "b"), *words)
    assert "asked otherwise: mock, arithmetic: adaptation.shots" in " ".join(second.stdout.split())
    assert_clear(run("release", "r2", str(runs / "b"), *words), 3, "choose another name")


def test_import_helm_says_what_is_missing(tmp_path: Path) -> None:
    assert_clear(run("import-helm", str(tmp_path)), 3, "nothing of HELM there", "run_spec.json")


def test_results_of_others_are_imported_and_shown(runs: Path, tmp_path: Path) -> None:
    """Our own export stands for somebody else's records: it is in the same schema."""
    records = tmp_path / "eee.jsonl"
    assert run("leaderboard", str(runs / "a"), "--export", str(records)).returncode == 0
    words = ("--out", str(tmp_path / "reported"), "--licence", "CC BY 4.0")
    done = run("import-results", str(records), *words)
    assert (done.returncode, done.stderr) == (0, "")
    assert "commonweal: 1 models" in done.stdout
    [told] = json.loads(run("import-results", str(records), *words, "--json").stdout)
    assert told["scores"] > 0
    assert (tmp_path / "reported" / "commonweal.json").is_file()
    site = run("site", "--reported", str(tmp_path / "reported"), "--out", str(tmp_path / "web"), "--json")
    assert json.loads(site.stdout)["boards_of_others"] == 1
    assert "not measured here" in (tmp_path / "web" / "reported" / "commonweal" / "index.html").read_text()
    records.write_text('{"schema_version": "0.3.0"}\n', encoding="utf-8")
    assert_clear(run("import-results", str(records), *words), 2, "eee.jsonl:1: source_metadata: missing")
    assert_clear(run("import-results", str(tmp_path / "none")), 3, "cannot be read")
    assert_clear(run("site", "--reported", str(tmp_path / "none")), 3, "import-results FILE")
