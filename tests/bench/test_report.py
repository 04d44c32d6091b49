"""The page of measurements: rendered from what is there, honest about what is not."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

BENCH = Path(__file__).parents[2] / "bench"


@pytest.fixture
def report(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCH))
    return importlib.import_module("report")


def run(
    name: str, seed: int, loss: float, reduction: float, steps: int = 1200, optimizer: str = "adamw"
) -> dict[str, Any]:
    way = {"name": name, "steps": steps, "optimizer": optimizer}
    return {"way": way, "parameters": 800_000, "seed": seed, "loss": loss, "reduction": reduction}


def codec_rows(int4_ms: float) -> dict[str, Any]:
    row = {"bytes_per_parameter": 0.5, "encode_ms_per_million": 1.0, "decode_ms_per_million": 1.0}
    rows = [
        {**row, "codec": name, "total_ms_per_million": ms, "relative_squared_error": 0.1}
        for name, ms in (("int4", int4_ms), ("the peer", 50.0))
    ]
    return {"what": "milliseconds", "parameters": 1000, "rows": rows}


def test_without_data_everything_is_said_to_be_missing(report: ModuleType) -> None:
    page = report.render({})
    assert page.count("Not run yet: `make bench-") == len(report.SECTIONS)
    assert "| met |" not in page
    assert "missed" not in page


@pytest.mark.parametrize(("ms", "word"), [(9.9, "| met |"), (10.0, "| **missed** |")])
def test_a_goal_is_met_or_missed_by_the_number(report: ModuleType, ms: float, word: str) -> None:
    page = report.render({"codecs": codec_rows(ms)})
    assert word in page
    assert f"{ms:.1f} ms (the peer: 50.0 ms)" in page


def test_quality_is_judged_against_the_best_all_reduce(report: ModuleType) -> None:
    runs = [
        *(run("all-reduce", seed, 2.0, 1.0) for seed in (0, 1)),
        *(run("all-reduce, worse", seed, 3.0, 1.0) for seed in (0, 1)),
        *(run("few bytes", seed, 2.1, 400.0) for seed in (0, 1)),
        *(run("too many bytes", seed, 2.0, 200.0) for seed in (0, 1)),
    ]
    usual, strict, later = report.quality({"runs": runs}).verdicts
    assert usual.met is strict.met is False
    assert (
        usual.found == strict.found == "few bytes: 400x fewer bytes, loss +5.00% (0.8M parameters, 2 seeds)"
    )
    assert later.met is None  # ten times as long: not run


def test_a_better_optimizer_does_not_hide_what_few_bytes_cost(report: ModuleType) -> None:
    runs = [
        one
        for seed in (0, 1, 2)
        for one in (
            run("all-reduce", seed, 2.0, 1.0),
            run("all-reduce, Muon", seed, 1.8, 1.0, optimizer="muon"),
            run("few bytes", seed, 2.1, 400.0),
            run("few bytes, Muon", seed, 1.98, 400.0, optimizer="muon"),
        )
    ]
    usual, strict, _ = report.quality({"runs": runs}).verdicts
    assert (usual.met, usual.found) == (
        True,
        "few bytes, Muon: 400x fewer bytes, loss -1.00% (0.8M parameters, 3 seeds)",
    )
    assert (strict.met, strict.found) == (
        False,
        "few bytes: 400x fewer bytes, loss +5.00% (0.8M parameters, 3 seeds)",
    )


def test_quality_compares_the_seeds_that_both_have(report: ModuleType) -> None:
    runs = [run("all-reduce", 0, 2.0, 1.0), run("all-reduce", 1, 1.0, 1.0), run("few bytes", 0, 2.0, 300.0)]
    verdict, *_ = report.quality({"runs": runs}).verdicts
    assert verdict.found.endswith("loss +0.00% (0.8M parameters, 1 seed)")
    assert verdict.met is None, "one seed can miss the goal, but not meet it"


def test_links_that_could_not_be_made_are_no_success(report: ModuleType) -> None:
    page = report.render({"links": {"skipped": "needs root"}})
    assert "Skipped: needs root" in page
    assert "| met |" not in page


def test_what_is_in_the_folder_can_be_rendered(report: ModuleType) -> None:
    found = report.load(BENCH / "data")
    assert all(json.dumps(one, allow_nan=False) for one in found.values())
    assert report.render(found).startswith("# Measurements\n")


def evals_data(**parts: Any) -> dict[str, Any]:
    machine = {"cores": 2, "processor": "p", "memory_gib": 1.0, "system": "s", "python": "3", "torch": "2"}
    said = {"machine": machine, "date": "d", "commit": "c", "command": "x", "seconds": 1.0}
    settings = {"delay_ms": 50.0, "at_once": 64}
    return {**said, "load_before": [1.0], "load_after": [1.0], "settings": settings, **parts}


def cost_row(who: str, fixed: float, each: float) -> dict[str, Any]:
    return {"who": who, "fixed_seconds": fixed, "ms_per_instance": each, "few": 1000, "many": 3000}


@pytest.mark.parametrize(
    ("fixed", "each", "met"),
    [(0.99, 0.3, [True, True]), (1.0, 0.31, [False, False]), (0.5, 0.5, [True, False])],
)
def test_an_evaluation_is_judged_by_its_own_cost(
    report: ModuleType, fixed: float, each: float, met: list[bool]
) -> None:
    rows = [cost_row("commonweal", fixed, each), cost_row("peer 1", 4.0, 11.0)]
    part = {"rows": rows, "not_run": {"peer 2": "not installed"}}
    section = report.evals(evals_data(cost=part))
    assert [verdict.met for verdict in section.verdicts[:2]] == met
    assert "(peer 1 11.0 ms)" in section.verdicts[1].found
    assert "- peer 2: not run, not installed" in section.lines


def test_parts_of_an_evaluation_that_were_skipped_are_neither_met_nor_missed(report: ModuleType) -> None:
    section = report.evals(evals_data(helm={"skipped": "no data"}))
    assert {verdict.met for verdict in section.verdicts} == {None}
    assert "skipped: no data" in [verdict.found for verdict in section.verdicts]
    assert len(section.verdicts) == 9


def test_without_a_peer_faster_than_it_cannot_be_said(report: ModuleType) -> None:
    row = {"who": "commonweal", "way": "choice", "ms_per_instance": 1.0}
    other = {"who": "lm_eval 1", "way": "choice", "ms_per_instance": 2.0}
    for rows, met in (([row], None), ([row, other], True), ([{**row, "ms_per_instance": 3.0}, other], False)):
        section = report.evals(evals_data(local={"rows": rows, "not_run": {}}))
        (verdict,) = [v for v in section.verdicts if v.what.endswith("four scored choices")]
        assert verdict.met is met


@pytest.mark.parametrize(
    ("scored", "failed", "seconds", "met"), [(99, 1, 1.1, True), (98, 2, 1.1, False), (99, 1, 157.0, False)]
)
def test_a_bad_request_may_cost_one_row_and_no_time(
    report: ModuleType, scored: int, failed: int, seconds: float, met: bool
) -> None:
    without = {"refused": 0, "scored": 100, "failed": 0, "seconds": 1.0, "wall_seconds": 2.0}
    with_one = {"refused": 1, "scored": scored, "failed": failed, "seconds": seconds, "wall_seconds": 2.0}
    section = report.evals(evals_data(failing={"rows": [without, with_one]}))
    assert section.verdicts[-1].met is met


MADE = {
    "command": "python bench/quality.py --only 'a;b'",
    "machine": {"processor": "a processor", "cores": 2},
    "commit": "0123456789ab",
    "date": "2026-11-24 08:21 UTC",
    "load_before": [1.0, 1, 1],
    "load_after": [2.5, 1, 1],
}


def test_runs_of_quality_say_how_they_came_about_and_old_ones_that_they_do_not(report: ModuleType) -> None:
    runs = [run("all-reduce", 0, 2.0, 1.0), run("all-reduce", 1, 2.0, 1.0) | {"made": MADE}]
    said = "\n".join(report.quality({"runs": runs}).lines)
    assert "1 runs by `python bench/quality.py --only 'a;b'` on 2 cores of a processor, 2026-11-24" in said
    assert "commit 0123456789ab, load average 1.0 to 2.5." in said
    assert "1 runs are older than the note" in said


def test_every_record_says_on_what_when_and_by_what(
    report: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    machine = importlib.import_module("machine")
    argv = [str(BENCH / "codecs.py"), "--out", str(tmp_path / "codecs.json"), "--take", "a=/tmp/b/c.json"]
    monkeypatch.setattr("sys.argv", argv)
    machine.Record("what", {}).save(tmp_path / "codecs.json", codec_rows(5.0))
    found = json.loads((tmp_path / "codecs.json").read_text())
    assert found["command"] == "python bench/codecs.py --out codecs.json --take a=c.json"
    assert {"machine", "commit", "load_before", "load_after", "date"} <= set(found)
    page = report.render({"codecs": found})
    assert "By: `python bench/codecs.py --out codecs.json --take a=c.json`" in page


def test_the_page_names_no_folder_of_one_machine(report: ModuleType) -> None:
    data = {name: json.loads(path.read_text()) for path in BENCH.glob("data/*.json") if (name := path.stem)}
    commands = [line for line in report.render(data).splitlines() if line.startswith("By:")]
    assert commands
    assert not [line for line in commands if "/tmp" in line or " /" in line or "=/" in line]
