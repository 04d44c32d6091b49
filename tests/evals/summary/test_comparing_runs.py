"""Paired comparison: what is shared, what differs, what flipped."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from making_runs import make_run, right

from commonweal.commands.boards import comparison_lines
from commonweal.core.errors import NotFound
from commonweal.evals.summary.comparison import Compared, compare
from commonweal.evals.summary.runs import find_runs


def compared(root: Path, a: dict[str, float] | None, b: dict[str, float] | None) -> Compared:
    make_run(root / "a", "a", a, reason="no data")
    make_run(root / "b", "b", b, reason="no data")
    [one] = compare(find_runs([root / "a"]), find_runs([root / "b"]))
    return one


def test_flips_are_named_and_tested(tmp_path: Path) -> None:
    a, b = right(1, 20), right(9, 20, start=1)
    one = compared(tmp_path, a, b)
    assert one.flips == (("id0",), tuple(sorted(f"id{i}" for i in range(1, 10))))
    assert one.p_flips == 0.021484375, "McNemar's exact test of 1 against 9"
    assert one.difference is not None
    assert (one.a, one.b) == (0.05, 0.45)
    assert one.difference.mean == pytest.approx(0.4)
    assert one.difference.low <= one.difference.mean <= one.difference.high
    assert one.difference.p == one.p_flips


def test_only_what_both_have_is_compared(tmp_path: Path) -> None:
    one = compared(tmp_path, {"x": 1.0, "y": 0.5, "z": 0.0}, {"y": 1.0, "z": 0.0})
    assert (one.shared, one.only_a, one.only_b) == (2, 1, 0)
    assert (one.a, one.b, one.flips) == (0.25, 0.5, None)


def test_one_shared_instance_has_no_interval_and_is_json(tmp_path: Path) -> None:
    one = compared(tmp_path, {"x": 1.0}, {"x": 0.0})
    told = json.loads(json.dumps(one.to_json(), allow_nan=False))
    assert told["difference"]["low"] is None
    assert told["difference"]["mean"] == -1.0


def test_nothing_shared_is_said(tmp_path: Path) -> None:
    one = compared(tmp_path, {"x": 1.0}, {"y": 0.0})
    assert (one.shared, one.difference, one.reason) == (0, None, "they share no instance")
    assert "they share no instance" in "\n".join(comparison_lines([one], "a", "b"))


def test_a_run_without_numbers_is_not_compared(tmp_path: Path) -> None:
    one = compared(tmp_path, {"x": 1.0}, None)
    assert (one.difference, one.b, one.reason) == (None, None, "no data")


def test_no_scenario_in_common(tmp_path: Path) -> None:
    make_run(tmp_path / "a", "a", right(5, 10))
    make_run(tmp_path / "b", "b", right(5, 10), scenario="quac")
    with pytest.raises(NotFound, match=r"no scenario in common.*boolq.*quac"):
        compare(find_runs([tmp_path / "a"]), find_runs([tmp_path / "b"]))
