"""The page of measurements: rendered from what is there, honest about what is not."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

BENCH = Path(__file__).parents[2] / "bench"


@pytest.fixture(scope="module")
def report() -> ModuleType:
    spec = importlib.util.spec_from_file_location("bench_report", BENCH / "report.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def run(
    name: str, seed: int, loss: float, reduction: float, steps: int = 1200, optimizer: str = "adamw"
) -> dict[str, Any]:
    way = {"name": name, "steps": steps, "optimizer": optimizer}
    return {"way": way, "seed": seed, "loss": loss, "reduction": reduction}


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
    assert usual.found == strict.found == "few bytes: 400x fewer bytes, loss +5.00%"
    assert later.met is None  # ten times as long: not run


def test_a_better_optimizer_does_not_hide_what_few_bytes_cost(report: ModuleType) -> None:
    runs = [
        run("all-reduce", 0, 2.0, 1.0),
        run("all-reduce, Muon", 0, 1.8, 1.0, optimizer="muon"),
        run("few bytes", 0, 2.1, 400.0),
        run("few bytes, Muon", 0, 1.98, 400.0, optimizer="muon"),
    ]
    usual, strict, _ = report.quality({"runs": runs}).verdicts
    assert (usual.met, usual.found) == (True, "few bytes, Muon: 400x fewer bytes, loss -1.00%")
    assert (strict.met, strict.found) == (False, "few bytes: 400x fewer bytes, loss +5.00%")


def test_quality_compares_the_seeds_that_both_have(report: ModuleType) -> None:
    runs = [run("all-reduce", 0, 2.0, 1.0), run("all-reduce", 1, 1.0, 1.0), run("few bytes", 0, 2.0, 300.0)]
    verdict, *_ = report.quality({"runs": runs}).verdicts
    assert verdict.found.endswith("loss +0.00%")
    assert verdict.met is True


def test_links_that_could_not_be_made_are_no_success(report: ModuleType) -> None:
    page = report.render({"links": {"skipped": "needs root"}})
    assert "Skipped: needs root" in page
    assert "| met |" not in page


def test_what_is_in_the_folder_can_be_rendered(report: ModuleType) -> None:
    found = report.load(BENCH / "data")
    assert all(json.dumps(one, allow_nan=False) for one in found.values())
    assert report.render(found).startswith("# Measurements\n")
