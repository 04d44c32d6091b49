"""``commonweal demo``, as a person runs it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
from e2e_pool import PATIENCE, commonweal, wait_until


def _left_behind(folder: Path) -> list[str]:
    """Commands of processes that have to do with ``folder``."""
    found = []
    for process in psutil.process_iter(["cmdline", "cwd"]):
        words = [*(process.info["cmdline"] or []), process.info["cwd"] or ""]
        if any(str(folder) in word for word in words) and process.pid != os.getpid():
            found.append(" ".join(words))
    return found


def _assert_nothing_is_left(folder: Path) -> None:
    wait_until(f"everything ends: {_left_behind(folder)}", lambda: not _left_behind(folder), 60)


@contextmanager
def _started(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A demo that is over, one way or another, when the block is."""
    command = [
        sys.executable,
        "-u",
        "-m",
        "commonweal",
        "demo",
        "--minutes",
        "0.5",
        "--folder",
        str(folder / "demo"),
    ]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=folder
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
            process.communicate(timeout=60)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_demo_shows_what_it_claims(hub_folder: Path) -> None:
    """Twice over one folder: the first run is cut off by SIGTERM while members work."""
    folder = hub_folder / "demo"
    with _started(hub_folder) as first:
        wait_until("the first member works", lambda: '"progressed"' in _text(folder / "ada.log"), PATIENCE)
        first.terminate()
        first.communicate(timeout=60)
        assert first.returncode == 130
    _assert_nothing_is_left(folder)
    done = commonweal("demo", "--minutes", "0.5", "--folder", str(folder), seconds=800)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "\x1b" not in done.stdout
    assert max(len(line) for line in done.stdout.splitlines() if str(folder) not in line) <= 80
    report: dict[str, Any] = json.loads((folder / "report.json").read_text())
    assert report["bits_after"] < report["bits_before"]
    assert report["kill_is_in_the_records"]
    assert report["books_hold"]
    parts = {part["name"]: part for part in report["members"]}
    assert parts["ben"]["rounds"][-1] < report["killed_in_round"] < len(report["rounds"]) - 1
    assert report["joined_in_round"] > report["killed_in_round"]
    assert parts["dora"]["rounds"][0] == report["joined_in_round"]
    assert parts["dora"]["microcredits"] > 0
    assert sum(part["microcredits"] for part in parts.values()) == sum(r["paid"] for r in report["rounds"])
    assert (folder / "model" / "model.safetensors").is_file()
    served = report["served"]
    assert served["answer"]
    assert served["before"] == 0 < served["after"] <= 1
    assert served["trained_tokens"] > 10_000
    assert served["microcredits"] > 0
    before, after = sorted(report["evaluated"], key=lambda score: score["mean"])
    assert (before["model"], after["model"]) == ("stdlib-1m", served["tuned"])
    assert (before["mean"], after["mean"]) == (served["before"], pytest.approx(served["after"])), (
        "an evaluation finds what the demo found by itself"
    )
    assert "/pool/index.html" in done.stdout, "it says where to watch it"
    site = folder / "site" / "index.html"
    assert done.stdout.splitlines()[-1] == site.as_uri()
    assert "arithmetic_in_words" in site.read_text()
    assert len(list((folder / "site" / "models").rglob("label.json"))) == 2
    _assert_nothing_is_left(folder)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_demo_whose_hub_dies_says_so(hub_folder: Path) -> None:
    folder = hub_folder / "demo"
    with _started(hub_folder) as demo:
        wait_until("a member has joined", lambda: '"joined"' in _text(folder / "ada.log"), PATIENCE)
        hub = next(child for child in psutil.Process(demo.pid).children() if "hub" in child.cmdline())
        hub.send_signal(signal.SIGKILL)
        said, _ = demo.communicate(timeout=PATIENCE)
    assert demo.returncode == 1, said
    assert "the hub ended unexpectedly" in said
    assert "hub.log" in said
    assert "\N{REPLACEMENT CHARACTER}" not in said
    assert "Traceback" not in said
    _assert_nothing_is_left(folder)


def test_a_folder_with_other_things_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    refused = commonweal("demo", "--folder", str(tmp_path))
    assert refused.returncode == 2
    assert "not empty" in refused.stderr
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def _text(file: Path) -> str:
    return file.read_text() if file.exists() else ""
