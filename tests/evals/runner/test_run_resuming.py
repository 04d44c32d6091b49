"""What a killed, stopped or crowded run leaves behind, and going on from there."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import bench_of_one as b
import pytest

from commonweal.core.completion import Completion, CompletionFailed, Request
from commonweal.core.errors import Conflict, DataError, StorageFull
from commonweal.evals import run_folder
from commonweal.evals.completers.mock import MockCompleter
from commonweal.evals.run_folder import locked, sample_records
from commonweal.evals.tables import read_rows

SLOW = Path(__file__).with_name("slow_run.py")


def start(folder: Path, count: int, *more: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(SLOW), str(folder), str(count), *more],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def read_lines(process: subprocess.Popen[str], count: int) -> list[str]:
    assert process.stdout is not None
    return [process.stdout.readline().rstrip("\n") for _ in range(count)]


@pytest.fixture
def killed(tmp_path: Path) -> Path:
    """A run of 60 sums, killed when 20 were answered and 4 more had been asked."""
    process = start(tmp_path, 60, "hang")
    read_lines(process, 20)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    return tmp_path


def test_kill_9_loses_at_most_what_was_in_flight(killed: Path) -> None:
    kept = [record["id"] for record in sample_records(killed)]
    assert len(kept) >= 20 - 4
    assert json.loads((killed / "run.json").read_text())["status"] == "running"
    assert not (killed / "stats.parquet").exists()

    model = b.Counting(b.adds)
    done = b.run(b.planned(b.scenario(b.sums(60))), killed, b.bench(model))
    assert len(model.prompts) == 60 - len(kept), "only what is missing is asked"
    assert not {f"{i[2:]} + {i[2:]} = " for i in kept} & set(model.prompts)
    assert done.run["coverage"]["scored"] == 60
    assert len(list(read_rows(killed, "requests"))) == 60
    [stat] = [s for s in done.stats if s.name == "exact_match"]
    assert (stat.mean, stat.n) == (1.0, 60)


def test_a_resumed_run_gives_the_numbers_of_one_that_was_never_stopped(killed: Path, tmp_path: Path) -> None:
    resumed = b.run(b.planned(b.scenario(b.sums(60))), killed, b.bench())
    whole = b.run(b.planned(b.scenario(b.sums(60))), tmp_path / "whole", b.bench())
    assert resumed.stats == whole.stats
    assert resumed.run["cost"] == whole.run["cost"]


def test_a_torn_last_line_is_asked_again(killed: Path) -> None:
    kept = len(list(sample_records(killed)))
    file = killed / "samples.jsonl"
    file.write_bytes(file.read_bytes()[:-40])
    assert len(list(sample_records(killed))) == kept - 1
    model = b.Counting(b.adds)
    done = b.run(b.planned(b.scenario(b.sums(60))), killed, b.bench(model))
    assert len(model.prompts) == 60 - kept + 1
    assert done.run["coverage"]["scored"] == 60


def test_a_damaged_line_is_named(killed: Path) -> None:
    file = killed / "samples.jsonl"
    lines = file.read_bytes().splitlines(keepends=True)
    lines[2] = b"garbage\n"
    file.write_bytes(b"".join(lines))
    with pytest.raises(DataError, match=r"samples\.jsonl:3: not a sample"):
        b.run(b.planned(b.scenario(b.sums(60))), killed, b.bench())
    assert file.read_bytes() == b"".join(lines), "nothing is lost"


def test_two_processes_on_one_folder(tmp_path: Path) -> None:
    first = start(tmp_path, 60, "hang")
    read_lines(first, 20)
    second = start(tmp_path, 60)
    _, said = second.communicate()
    first.kill()
    first.communicate()
    assert second.returncode == 1
    assert f"another process works on it (process {first.pid})" in said
    assert "wait until it is done" in said
    with locked(tmp_path):
        pass


def test_changed_data_are_refused(killed: Path) -> None:
    before = (killed / "samples.jsonl").read_bytes()
    model = b.Counting(b.adds)
    with pytest.raises(Conflict, match="the data of 'sums' have changed"):
        b.run(b.planned(b.scenario(b.sums(60, wrong=50))), killed, b.bench(model))
    assert model.prompts == []
    assert (killed / "samples.jsonl").read_bytes() == before


def test_a_changed_scenario_is_refused_and_what_changed_is_told(killed: Path) -> None:
    with pytest.raises(Conflict, match=r"version: 1 -> 2"):
        b.run(b.planned(b.scenario(b.sums(60), version=2)), killed, b.bench())
    with pytest.raises(Conflict, match=r"main_metric: 'exact_match' -> 'f1_score'"):
        b.run(b.planned(b.scenario(b.sums(60), main_metric="f1_score")), killed, b.bench())


def test_what_failed_for_a_while_is_asked_again_and_what_was_wrong_is_not(tmp_path: Path) -> None:
    failures = {"3 + 3 = ": "timeout", "5 + 5 = ": "bad_request"}

    class Failing(MockCompleter):
        async def complete(self, request: Request) -> Completion:
            kind = failures.get(request.prompt or "")
            if kind:
                raise CompletionFailed(kind, "no")  # type: ignore[arg-type]
            return await super().complete(request)

    first = b.run(b.planned(b.scenario(b.sums(40))), tmp_path, b.bench(Failing(b.adds)))
    assert first.run["status"] == "done"
    assert first.run["coverage"]["failures"] == {"timeout": 1, "bad_request": 1}
    model = b.Counting(b.adds)
    second = b.run(b.planned(b.scenario(b.sums(40))), tmp_path, b.bench(model))
    assert model.prompts == ["3 + 3 = "]
    assert second.run["coverage"]["failures"] == {"bad_request": 1}
    assert second.run["coverage"]["scored"] == 39
    assert not (tmp_path / "samples.jsonl").exists()


def test_a_full_disk_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write, written = os.write, []

    def full(file: int, data: bytes) -> int:
        if b'"id":"id' in data[:20]:
            written.append(data)
            if len(written) > 30:
                write(file, data[:25])
                raise OSError(errno.ENOSPC, "No space left on device")
        return write(file, data)

    monkeypatch.setattr(run_folder.os, "write", full)
    with pytest.raises(StorageFull, match="no space left on the disk") as told:
        b.run(b.planned(b.scenario(b.sums(60))), tmp_path, b.bench())
    assert f"--resume {tmp_path}" in str(told.value)
    monkeypatch.undo()
    assert len(list(sample_records(tmp_path))) == 30
    model = b.Counting(b.adds)
    done = b.run(b.planned(b.scenario(b.sums(60))), tmp_path, b.bench(model))
    assert (len(model.prompts), done.run["coverage"]["scored"]) == (30, 60)


def test_ctrl_c_leaves_a_folder_to_go_on_with(tmp_path: Path) -> None:
    process = start(tmp_path, 60, "hang")
    read_lines(process, 20)
    process.send_signal(signal.SIGINT)
    process.communicate()
    told = json.loads((tmp_path / "run.json").read_text())
    assert told["status"] == "interrupted"
    assert told["coverage"]["scored"] == len(list(sample_records(tmp_path))) == 20
    assert b.run(b.planned(b.scenario(b.sums(60))), tmp_path, b.bench()).run["status"] == "done"
