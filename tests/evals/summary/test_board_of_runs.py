"""The board: win rates, ties, coverage, and a reason for each empty cell."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from making_runs import make_run, right

from commonweal.commands.boards import board_lines
from commonweal.core.errors import ConfigError, DataError, NotFound
from commonweal.evals.summary.board import Board, make_board
from commonweal.evals.summary.runs import find_runs


def board_of(root: Path, group: str = "all") -> Board:
    return make_board(find_runs([root]), {"suite": ("boolq", "mmlu:subject=anatomy")}, group)


def test_models_within_noise_share_a_rank(tmp_path: Path) -> None:
    make_run(tmp_path, "best", right(90, 100))
    make_run(tmp_path, "near", right(88, 100))
    make_run(tmp_path, "far", right(20, 100))
    board = board_of(tmp_path)
    assert board.models == ["best", "near", "far"]
    assert {model: board.cells[model]["boolq"].rank for model in board.models} == {
        "best": 1,
        "near": 1,
        "far": 3,
    }
    assert board.win_rate == {"best": 1.0, "near": 0.5, "far": 0.0}


def test_a_lower_number_wins_where_lower_is_better(tmp_path: Path) -> None:
    make_run(tmp_path, "wordy", {f"id{i}": 3.0 for i in range(20)}, metric="bits_per_byte")
    make_run(tmp_path, "terse", {f"id{i}": 1.0 for i in range(20)}, metric="bits_per_byte")
    board = board_of(tmp_path)
    assert board.models == ["terse", "wordy"]
    assert board.cells["terse"]["boolq"].rank == 1
    assert board.cells["wordy"]["boolq"].rank == 2


def test_an_empty_cell_says_why_and_counts_in_the_coverage(tmp_path: Path) -> None:
    make_run(tmp_path, "a", right(5, 10))
    make_run(tmp_path, "a", None, scenario="quac", reason="no data")
    make_run(tmp_path, "b", right(6, 10), scenario="quac")
    board = board_of(tmp_path)
    assert board.cells["a"]["quac"].reason == "no data"
    assert board.cells["b"]["boolq"].reason == "not run"
    assert board.coverage == {"a": 0.5, "b": 0.5}
    assert board.win_rate == {}, "nobody could be compared with anybody"
    told = "\n".join(board_lines(board))
    assert "no data: a: quac" in told
    assert "not run: b: boolq" in told


def test_a_finished_run_without_its_metric_says_so(tmp_path: Path) -> None:
    folder = make_run(tmp_path, "a", right(5, 10))
    told = json.loads((folder / "run.json").read_text())
    told["spec"]["main_metric"] = "f1_score"
    (folder / "run.json").write_text(json.dumps(told))
    assert board_of(tmp_path).cells["a"]["boolq"].reason == "there is no f1_score among its numbers"


def test_a_cell_is_the_mean_over_the_arguments(tmp_path: Path) -> None:
    for subject, count in (("anatomy", 2), ("law", 4)):
        make_run(tmp_path, "a", right(count, 10), scenario="mmlu", args={"subject": subject})
    make_run(tmp_path, "b", right(9, 10), scenario="mmlu", args={"subject": "law"})
    board = board_of(tmp_path)
    assert board.cells["a"]["mmlu"].mean == pytest.approx(0.3)
    assert (board.cells["a"]["mmlu"].parts, board.cells["a"]["mmlu"].reason) == (2, "")
    assert board.cells["b"]["mmlu"].reason == "1 of 2 parts"


def test_the_newest_run_of_a_model_counts_if_it_has_numbers(tmp_path: Path) -> None:
    make_run(tmp_path, "a", right(1, 10), updated="2026-11-02T00:00:00+00:00")
    make_run(tmp_path, "a", right(9, 10), updated="2026-11-03T00:00:00+00:00")
    make_run(tmp_path, "a", right(5, 10), updated="2026-11-01T00:00:00+00:00")
    make_run(tmp_path, "a", None, updated="2026-11-04T00:00:00+00:00", reason="interrupted")
    [run] = find_runs([tmp_path])
    assert run.run["updated"] == "2026-11-03T00:00:00+00:00"


def test_groups(tmp_path: Path) -> None:
    make_run(tmp_path, "a", right(5, 10))
    make_run(tmp_path, "a", right(5, 10), scenario="other")
    assert [column.scenario for column in board_of(tmp_path, "suite").columns] == ["boolq"]
    assert len(board_of(tmp_path, "tagged").columns) == 2
    with pytest.raises(ConfigError, match="no run is in the group 'none'") as caught:
        board_of(tmp_path, "none")
    assert "tagged" in (caught.value.hint or "")


def test_many_scenarios_fit_80_columns(tmp_path: Path) -> None:
    names = [f"scenario_with_quite_a_long_name_{i}" for i in range(12)]
    for model in ("somebody/a-model-with-a-name-that-goes-on", "b"):
        for name in names:
            make_run(tmp_path, model, right(5, 10), scenario=name)
    lines = list(board_lines(board_of(tmp_path)))
    plain = [line.replace("[dim]", "").replace("[/]", "") for line in lines]
    assert max(map(len, plain)) <= 80
    assert all(any(name in line for line in plain) for name in names)


def test_no_runs_and_broken_runs_are_said(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no runs there"):
        find_runs([tmp_path])
    with pytest.raises(NotFound, match="no such folder"):
        find_runs([tmp_path / "none"])
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(DataError, match=r"run\.json: no 'spec' in it"):
        find_runs([tmp_path])
