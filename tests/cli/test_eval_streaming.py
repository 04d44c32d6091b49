"""``--stream`` and ``--concurrency``: how a server is asked, seen from the server."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

from listening_server import Listening, listening
from test_cli_words import run

SMALL = ("--scenario", "arithmetic", "--max-instances", "6", "--shots", "0")
QUICK = ("--scenario", "synthetic_efficiency", "--max-instances", "2")
NOT_STREAMED = "answers were not streamed (--stream)"


def evaluate(server: Listening, out: Path, *words: str) -> list[dict[str, Any]]:
    """The ``run.json`` of each run, by name."""
    done = run("eval", "--model", f"{server.url}#m", "--out", str(out), *words)
    assert (done.returncode, done.stderr) == (0, "")
    return [json.loads(path.read_text()) for path in sorted(out.rglob("run.json"))]


def times(out: Path, name: str) -> dict[str, Any]:
    """Mean and reason of the times of a run."""
    import pyarrow.parquet as pq

    [path] = [path for path in out.rglob("stats.parquet") if path.parent.name == name]
    rows = pq.read_table(path).to_pylist()
    return {row["name"]: (row["mean"], row["reason"]) for row in rows if not row["perturbation"]}


def test_what_is_not_to_be_streamed_is_not(tmp_path: Path) -> None:
    with listening(says=" 7", sure=True) as server:
        [told] = evaluate(server, tmp_path, *SMALL)
    assert "--stream" not in told["command"]
    assert not any(came.body.get("stream") for came in server.came)
    assert times(tmp_path, "arithmetic")["time_to_first_token"] == (None, NOT_STREAMED)


def test_stream_measures_the_time_to_the_first_token(tmp_path: Path) -> None:
    with listening(says=" 7", sure=True) as server:
        [told] = evaluate(server, tmp_path / "a", *SMALL, "--stream")
        assert sum(bool(came.body.get("stream")) for came in server.came) >= 6
        mean, reason = times(tmp_path / "a", "arithmetic")["time_to_first_token"]
        assert (mean > 0, reason) == (True, "")
        words = shlex.split(told["command"])
        assert "--stream" in words
        server.came.clear()
        assert run(*words[1:], "--out", str(tmp_path / "b")).returncode == 0
        assert any(came.body.get("stream") for came in server.came), "the command asks so again"


def test_a_resumed_evaluation_streams_as_it_was_begun(tmp_path: Path) -> None:
    with listening(says=" 7", sure=True) as server:
        evaluate(server, tmp_path, *SMALL, "--stream", "--max-tokens", "4", "--concurrency", "1")
        [folder] = tmp_path.iterdir()
        server.came.clear()
        assert run("eval", "--resume", str(folder)).returncode == 0
    assert any(came.body.get("stream") for came in server.came)


def test_scenarios_of_efficiency_are_streamed_and_no_other(tmp_path: Path) -> None:
    with listening(says=" 7", sure=True) as server:
        evaluate(server, tmp_path, *QUICK, *SMALL)
    found = times(tmp_path, "synthetic_efficiency")["time_to_first_token"]
    assert found[0] > 0
    assert times(tmp_path, "arithmetic")["time_to_first_token"] == (None, NOT_STREAMED)
    told = [came.body for came in server.asked("/completions")]
    long = [body["prompt"] for body in told if body.get("stream")]
    assert {len(prompt.split()) for prompt in long} == {256}


def test_refreshing_streams_as_well(tmp_path: Path) -> None:
    with listening(says=" 7", sure=True) as server:
        done = run("refresh", str(tmp_path), "--model", f"{server.url}#m", *SMALL, "--stream")
    assert (done.returncode, done.stderr) == (0, "")
    assert any(came.body.get("stream") for came in server.came)
    assert times(tmp_path, "arithmetic")["time_to_first_token"][0] > 0


def test_more_than_64_requests_at_once_where_the_user_says_so(tmp_path: Path) -> None:
    many = ("--scenario", "arithmetic", "--max-instances", "80", "--shots", "0")
    with listening(says=" 7", sure=True, together=66) as server:
        evaluate(server, tmp_path / "a", *many, "--concurrency", "80")
    assert 66 <= server.most <= 80
    with listening(says=" 7", sure=True, together=66) as server:
        evaluate(server, tmp_path / "b", *many)
    assert server.most <= 64
