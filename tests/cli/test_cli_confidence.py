"""``commonweal eval --confidence``: a chat that tells no log-probabilities has a calibration all the same."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from listening_server import Listening, listening
from test_cli_words import assert_clear, run

ASKED = ("--scenario", "arithmetic", "--max-instances", "12")


def evaluate(told: Listening, out: Path, *more: str) -> tuple[dict[str, object], Path]:
    done = run("eval", "--model", f"{told.url}#x", "--out", str(out), *ASKED, *more, "--json")
    assert done.returncode == 0, done.stderr
    [run_] = json.loads(done.stdout)["runs"]
    [folder] = out.iterdir()
    return run_, folder / run_["folder"]


@pytest.mark.parametrize(
    ("words", "roles", "says", "stat", "mean"),
    [
        ((), 5, "-7", "ece_10_bin_sampled", 1.0),  # always the same, never right
        (("--confidence", "verbalized"), 1, "80", "ece_10_bin_verbalized", 0.8),
    ],
)
def test_a_chat_without_logprobs_is_calibrated(
    words: tuple[str, ...], roles: int, says: str, stat: str, mean: float, tmp_path: Path
) -> None:
    with listening(says=says, lacks=("/v1/completions",)) as told:
        run_, folder = evaluate(told, tmp_path / "runs", *words)
    cell = run_["aspects"]["calibration"]  # type: ignore[index]
    assert (cell["stat"], cell["mean"], cell["n"]) == (stat, pytest.approx(mean), 12)
    assert run_["cost"]["requests"] == 12 * (1 + roles)  # type: ignore[index]
    asked = pq.read_table(folder / "requests.parquet").to_pylist()
    assert sum(row["role"].startswith("confidence") for row in asked) == 12 * roles
    found = pq.read_table(folder / "samples.parquet").to_pylist()
    source = stat.rpartition("_")[2]
    assert {json.loads(row["annotations"])["confidence"]["source"] for row in found} == {source}
    told_of = json.loads((folder / "run.json").read_text())
    assert told_of["spec"]["adaptation"]["confidence"] == source
    assert "confidence is" in told_of["note"]


@pytest.mark.parametrize(
    ("wish", "reason"),
    [("logprobs", "no log-probabilities"), ("none", "its metrics do not measure calibration")],
)
def test_nothing_more_is_asked_where_that_is_wished(wish: str, reason: str, tmp_path: Path) -> None:
    with listening(says="-7", lacks=("/v1/completions",)) as told:
        run_, folder = evaluate(told, tmp_path / "runs", "--confidence", wish)
    assert run_["aspects"]["calibration"]["reason"] == reason  # type: ignore[index]
    assert run_["cost"]["requests"] == 12  # type: ignore[index]
    assert f"--confidence {wish}" in json.loads((folder / "run.json").read_text())["command"]


def test_samples_that_do_not_fit_the_limit_are_not_asked_for(tmp_path: Path) -> None:
    with listening(says="-7", lacks=("/v1/completions",)) as told:
        run_, folder = evaluate(told, tmp_path / "runs", "--max-tokens", "3000")
    assert run_["status"] == "done"
    assert run_["cost"]["requests"] == 12  # type: ignore[index]
    wishes = json.loads((folder.parent / "eval.json").read_text())["wishes"]
    assert wishes["confidence"] == "logprobs", "and resuming asks for none either"


def test_an_estimate_tells_of_samples() -> None:
    told = run("eval", "--model", "http://127.0.0.1:1/v1#x", *ASKED, "--estimate")
    assert "confidence is sampled: 60 requests and" in told.stdout.replace("\n  ", " ")
    told = run(
        *("eval", "--model", "http://127.0.0.1:1/v1#x", *ASKED, "--confidence", "sampled"),
        *("--estimate", "--json"),
    )
    [one] = json.loads(told.stdout)["runs"]
    assert one["requests"] == 12 * 6


def test_a_source_that_is_not_known() -> None:
    assert_clear(run("eval", "--model", "mock", *ASKED, "--confidence", "guess"), 2, "guess", "verbalized")
