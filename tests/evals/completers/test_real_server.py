"""``commonweal eval`` against a server that is not ours: transformers' own, started here."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tiny_models import save_talking_llama

ASPECTS = {"accuracy", "calibration", "robustness", "fairness", "bias", "toxicity", "efficiency"}
PATIENCE = 120.0


@contextmanager
def serving(model: Path, log: Path) -> Iterator[str]:
    """The address of ``transformers serve`` with ``model``."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [str(Path(sys.executable).with_name("transformers")), "serve", str(model)]
    with log.open("wb") as out:
        server = subprocess.Popen(
            [*command, "--host", "127.0.0.1", "--port", str(port)],
            stdout=out,
            stderr=subprocess.STDOUT,
            env={**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"},
        )
    try:
        _wait_for(f"http://127.0.0.1:{port}/health", server, log)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        server.kill()
        server.wait()


def _wait_for(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        assert server.poll() is None, log.read_text(errors="replace")[-2000:]
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except OSError:
            time.sleep(0.2)
    raise AssertionError(f"{url} did not come up: {log.read_text(errors='replace')[-2000:]}")


REASONS = {
    "accuracy": ("its main metric, ",),
    "robustness": ("its main metric, ", "no robustness perturbation changed"),
    "fairness": ("its main metric, ", "no fairness perturbation changed"),
    "calibration": ("no log-probabilities", "fewer than 10 samples"),
    "bias": ("no text mentions any group", "the model writes no text of its own here"),
    "toxicity": ("the model writes no text of its own here",),
    "efficiency": (),
}
"""Why a cell may be empty here; anything else would be a defect."""


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What ``commonweal eval --suite offline --json`` says of a tiny Llama behind that server."""
    folder = tmp_path_factory.mktemp("real")
    model = save_talking_llama(folder / "model")
    with serving(model, folder / "serve.log") as url:
        few = ("--suite", "offline", "--max-instances", "12", "--out", str(folder / "runs"), "--json")
        done = subprocess.run(
            [sys.executable, "-m", "commonweal", "eval", "--model", f"{url}#{model}", *few],
            capture_output=True,
            text=True,
            timeout=540,
        )
    assert done.returncode == 0, done.stdout + done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    return told


@pytest.mark.slow
@pytest.mark.timeout(660)
def test_every_scenario_is_measured_with_all_its_samples(asked: dict[str, Any]) -> None:
    assert asked["status"] == "done"
    assert len(asked["runs"]) >= 10
    for run in asked["runs"]:
        assert (run["status"], run["coverage"]["share"]) == ("done", 1), run["name"]
        assert run["coverage"]["scored"] >= 12, run["name"]


@pytest.mark.slow
@pytest.mark.timeout(660)
def test_all_seven_aspects_have_a_number_with_an_interval_or_a_true_reason(asked: dict[str, Any]) -> None:
    measured = set()
    for run in asked["runs"]:
        assert set(run["aspects"]) == ASPECTS
        for aspect, cell in run["aspects"].items():
            if cell["mean"] is None:
                assert cell["reason"].startswith(REASONS[aspect]), (
                    f"{run['name']}: {aspect}: {cell['reason']}"
                )
            else:
                measured.add(aspect)
                assert cell["low"] <= cell["mean"] <= cell["high"], f"{run['name']}: {aspect}"
    assert measured == ASPECTS


@pytest.mark.slow
@pytest.mark.timeout(660)
def test_a_server_without_logprobs_has_a_calibration_of_enough_samples(asked: dict[str, Any]) -> None:
    cells = {run["name"]: run["aspects"]["calibration"] for run in asked["runs"]}
    for name in ("kinds", "arithmetic"):
        assert cells[name]["stat"] == "ece_10_bin_sampled", name
        assert cells[name]["n"] >= 10, name
