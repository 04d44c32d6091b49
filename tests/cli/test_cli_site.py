"""``commonweal site`` from the command line."""

from __future__ import annotations

import json
from pathlib import Path

from test_cli_words import assert_clear, run


def test_site(tmp_path: Path) -> None:
    runs, public = tmp_path / "runs", tmp_path / "public"
    assert_clear(run("site", "--runs", str(runs)), 3, "no such folder")
    runs.mkdir()
    assert_clear(run("site", "--runs", str(runs)), 3, "no runs there", "commonweal eval --model mock")
    asked = ("--scenario", "copying", "--max-instances", "4", "--out", str(runs))
    assert run("eval", "--model", "mock", *asked).returncode == 0
    words = ("site", "--runs", str(runs), "--out", str(public))
    done = run(*words)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("1 run of 1 model: ")
    told = json.loads(run(*words, "--json").stdout)
    there = [file for file in public.rglob("*") if file.is_file()]
    assert told["files"] == len(there) - 1, "and the mark that it is ours"
    assert (public / "runs" / "mock" / "copying" / "instances-1.html").exists()
    (public / "index.html").unlink()
    assert run(*words).returncode == 0
    assert (public / "index.html").exists(), "made anew"
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("all of it")
    assert_clear(run("site", "--runs", str(runs), "--out", str(mine)), 3, "something else in it")
    assert (mine / "thesis.txt").read_text() == "all of it"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine", "public", "runs"]
    assert_clear(run(*words, "--releases", str(mine)), 3, "no releases there")


def test_a_damaged_run_is_named_and_left_out_where_asked_to(tmp_path: Path) -> None:
    runs, words = (
        tmp_path / "runs",
        ("site", "--runs", str(tmp_path / "runs"), "--out", str(tmp_path / "public")),
    )
    for scenario in ("copying", "kinds"):
        asked = ("--scenario", scenario, "--max-instances", "4", "--out", str(runs))
        assert run("eval", "--model", "mock", *asked).returncode == 0
    [table] = runs.rglob("copying/requests.parquet")
    table.write_bytes(table.read_bytes()[:-20])
    assert_clear(run(*words), 2, "copying/requests.parquet: not whole", "--skip-damaged")
    assert not (tmp_path / "public").exists()
    told = json.loads(run(*words, "--skip-damaged", "--json").stdout)
    assert (told["runs"], told["damaged"]) == (2, 1)
    assert (tmp_path / "public" / "runs" / "mock" / "kinds" / "instances-1.html").exists()
    assert not (tmp_path / "public" / "runs" / "mock" / "copying" / "instances-1.html").exists()
