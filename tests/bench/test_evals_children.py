"""What bench/evals.py counts with: children, their time, the slow server, and the cost of one instance."""

from __future__ import annotations

import importlib
import sys
import time
from pathlib import Path
from types import ModuleType
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

BENCH = Path(__file__).parents[2] / "bench"


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCH))
    return importlib.import_module("evals_runs")


@pytest.fixture
def bench(runs: ModuleType) -> ModuleType:
    return importlib.import_module("evals")


def test_a_childs_processor_time_and_memory_are_its_own(runs: ModuleType, tmp_path: Path) -> None:
    busy = "import time\nheld = bytearray(300_000_000)\nwhile time.process_time() < 0.5: pass\nprint('done')"
    child = runs.run([sys.executable, "-c", busy], tmp_path)
    assert child.said == "done\n"
    assert 0.5 <= child.cpu <= child.wall + 0.1
    assert child.memory > 300_000_000


def test_a_child_that_fails_says_why(runs: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(runs.Failed, match="exit code 3: no luck"):
        runs.run(
            [sys.executable, "-c", "import sys; print('no luck', file=sys.stderr); sys.exit(3)"], tmp_path
        )


def test_a_child_that_takes_too_long_is_ended(runs: ModuleType, tmp_path: Path) -> None:
    began = time.monotonic()
    with pytest.raises(runs.Failed, match="took longer than"):
        runs.run([sys.executable, "-c", "import threading; threading.Event().wait()"], tmp_path, seconds=0.2)
    assert time.monotonic() - began < 30


def test_a_sum_has_one_right_answer_at_every_place(runs: ModuleType) -> None:
    rows = [runs.sum_row(number) for number in range(8)]
    assert [row["answer"] for row in rows] == [0, 1, 2, 3, 0, 1, 2, 3]
    assert all(row["choices"][row["answer"]] == str(n + n * 7 % 1000) for n, row in enumerate(rows))
    assert all(len(set(row["choices"])) == 4 for row in rows)


def test_the_slow_server_is_slow_and_refuses_what_it_is_told_to(runs: ModuleType) -> None:
    with runs.endpoint(50.0, "never") as url:
        began = time.monotonic()
        with urlopen(Request(f"{url}/completions", data=b'{"prompt": "ever"}')) as answer:
            assert b'" A"' in answer.read()
        assert time.monotonic() - began >= 0.05
        with pytest.raises(HTTPError, match="400"):
            urlopen(Request(f"{url}/completions", data=b'{"prompt": "never"}'))


def test_the_slow_server_tells_when_it_answered(runs: ModuleType) -> None:
    with runs.endpoint(1.0) as url:
        for _ in range(3):
            with urlopen(Request(f"{url}/completions", data=b'{"prompt": "x", "logprobs": 1}')) as answer:
                assert b"token_logprobs" in answer.read()
        moments = runs.answered(url)
        assert len(moments) == 3
        assert runs.answered(url) == []
    assert runs.steady_rate([0.0, *(5.0 + n / 100 for n in range(20))]) == pytest.approx(100.0)


def test_the_cost_of_an_instance_is_what_many_take_more(bench: ModuleType) -> None:
    row = bench._cost_row("x", {1: [0.5, 0.6, 9.0], 1000: [1.0], 3000: [1.6]}, 1000, 3000)
    assert row["fixed_seconds"] == 0.6
    assert row["ms_per_instance"] == pytest.approx(0.3)


def test_a_measure_that_fails_is_recorded_with_its_reason(
    bench: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fails(place: object) -> dict[str, object]:
        raise bench.Failed("no luck")

    monkeypatch.setitem(bench.MEASURES, "cost", fails)
    place = bench.Place(folder=tmp_path, settings=bench.QUICK, peers=[])
    found = bench.measured("cost", place)
    assert found["skipped"] == "no luck"
    assert set(found["measured"]) == {"date", "commit", "load_before"}


def test_without_data_what_needs_it_is_skipped(
    bench: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(bench, "DATA", tmp_path)
    place = bench.Place(folder=tmp_path, settings=bench.QUICK, peers=[])
    assert bench.helm(place) == bench.win_rates(place) == {"skipped": "no data"}
