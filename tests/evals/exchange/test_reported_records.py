"""Results that others published, read from records of Every Eval Ever."""

from __future__ import annotations

import copy
import csv
import json
from pathlib import Path
from typing import Any

import pytest

from commonweal.core.errors import DataError, NotFound
from commonweal.evals.exchange.leaderboards import recompute
from commonweal.evals.exchange.reported import NOT_GIVEN, ReportedBoard, from_json, read_reported, to_json
from commonweal.evals.exchange.reported_records import NO_SCORE, NOT_RUN, read_records

URL = "https://storage.googleapis.com/crfm-helm-public/benchmark_output/releases/v0.4.0/groups/core_scenarios.json"
CLASSIC: dict[str, Any] = {
    "schema_version": "0.2.0",
    "evaluation_id": "helm_classic/Anthropic-LM-v4-s3-52B/1770834891.1472661",
    "retrieved_timestamp": "1770834891.1472661",
    "source_metadata": {
        "source_name": "helm_classic",
        "source_type": "documentation",
        "source_organization_name": "crfm",
        "evaluator_relationship": "third_party",
    },
    "model_info": {"name": "Anthropic-LM v4-s3 52B", "id": "Anthropic-LM-v4-s3-52B", "developer": "unknown"},
    "evaluation_results": [
        {
            "evaluation_name": "Mean win rate",
            "source_data": {"dataset_name": "helm_classic", "source_type": "url", "url": [URL]},
            "metric_config": {
                "evaluation_description": "How many models this model outperform on average (over columns).",
                "lower_is_better": False,
                "score_type": "continuous",
                "min_score": 0.0,
                "max_score": 1.0,
            },
            "score_details": {
                "score": 0.78,
                "details": {
                    "tab": "Accuracy",
                    "Mean win rate - Robustness": {
                        "description": None,
                        "tab": "Robustness",
                        "score": 0.8178973356392711,
                    },
                },
            },
            "generation_config": {"additional_details": {}},
        },
        {
            "evaluation_name": "BoolQ",
            "source_data": {"dataset_name": "BoolQ", "source_type": "url", "url": [URL]},
            "metric_config": {
                "evaluation_description": "EM on BoolQ",
                "lower_is_better": False,
                "score_type": "continuous",
                "min_score": 0.0,
                "max_score": 1.0,
            },
            "score_details": {
                "score": 0.815,
                "details": {
                    "description": "min=0.814, mean=0.815, max=0.816, sum=2.446 (3)",
                    "tab": "Accuracy",
                    "BoolQ - ECE (10-bin)": {
                        "description": "min=0.035, mean=0.038, max=0.041, sum=0.114 (3)",
                        "tab": "Calibration",
                        "score": None,
                    },
                    "BoolQ - EM (Robustness)": {
                        "description": "min=0.751, mean=0.756, max=0.76, sum=2.269 (3)",
                        "tab": "Robustness",
                        "score": 0.7563333333333334,
                    },
                },
            },
            "generation_config": {"additional_details": {}},
        },
    ],
}
"""A part of a record as it stands in that project's repository (data/helm_classic, MIT)."""


def written(folder: Path, *records: dict[str, Any]) -> Path:
    path = folder / "records.jsonl"
    path.write_text("".join(json.dumps(one) + "\n" for one in records), encoding="utf-8")
    return path


def columns_of(board: ReportedBoard) -> dict[tuple[str, str, str], int]:
    return {column.key: place for place, column in enumerate(board.columns)}


def test_a_record_says_who_reported_what_from_where(tmp_path: Path) -> None:
    [board] = read_records([written(tmp_path, CLASSIC)], licence="Apache-2.0")
    assert (board.name, board.title) == ("helm_classic", "HELM Classic")
    origin = board.origin
    assert (origin.organization, origin.relationship, origin.kind) == ("crfm", "third_party", "documentation")
    assert (list(origin.urls), origin.licence, origin.retrieved[0]) == ([URL], "Apache-2.0", "2026-02-11")
    assert [len(digest) for digest in origin.files.values()] == [64]
    assert [model.id for model in board.models] == ["Anthropic-LM-v4-s3-52B"]
    assert board.groups == ["Accuracy", "Calibration", "Robustness"]
    places = columns_of(board)
    assert board.scores[0][places["Accuracy", "BoolQ", "EM"]].score == 0.815
    assert board.scores[0][places["Robustness", "BoolQ", "EM (Robustness)"]].score == 0.7563333333333334
    assert board.scores[0][places["Robustness", "Mean win rate", "Robustness"]].score == 0.8178973356392711
    assert board.columns[places["Robustness", "Mean win rate", "Robustness"]].summary
    ece = places["Calibration", "BoolQ", "ECE (10-bin)"]
    assert (board.scores[0][ece].score, board.scores[0][ece].reason) == (None, NO_SCORE)
    assert board.scores[0][ece].note.startswith("min=0.035")
    assert board.columns[ece].lower_is_better is None, "the record does not say it"
    assert board.columns[places["Robustness", "BoolQ", "EM (Robustness)"]].lower_is_better is False


def test_what_schema_0_3_writes_in_strings_is_the_same(tmp_path: Path) -> None:
    newer = copy.deepcopy(CLASSIC)
    newer["schema_version"] = "0.3.0"
    for result in newer["evaluation_results"]:
        details = result["score_details"]["details"]
        for name, value in details.items():
            details[name] = value if isinstance(value, str) else json.dumps(value)
    [old], [new] = read_records([written(tmp_path, CLASSIC)]), read_records([written(tmp_path, newer)])
    assert (old.columns, old.scores) == (new.columns, new.scores)


def test_minus_one_is_not_run_only_where_it_cannot_be_a_score(tmp_path: Path) -> None:
    record = copy.deepcopy(CLASSIC)
    record["evaluation_results"][1]["score_details"]["score"] = -1.0
    other = copy.deepcopy(CLASSIC)
    other["model_info"]["id"] = "b"
    del other["evaluation_results"][1]
    below = copy.deepcopy(CLASSIC)
    below["model_info"]["id"] = "c"
    below["evaluation_results"][1]["metric_config"]["min_score"] = "-Infinity"
    below["evaluation_results"][1]["score_details"]["score"] = -1.0
    [board] = read_records([written(tmp_path, record, other, below)])
    place = columns_of(board)["Accuracy", "BoolQ", "EM"]
    found = [board.scores[row][place] for row in range(3)]
    assert [(one.score, one.reason) for one in found] == [(None, NOT_RUN), (None, NOT_GIVEN), (-1.0, "")]


def test_uncertainty_is_kept_as_it_was_reported(tmp_path: Path) -> None:
    record = copy.deepcopy(CLASSIC)
    record["evaluation_results"][1]["score_details"]["uncertainty"] = {
        "num_samples": 3000,
        "standard_error": {"value": 0.007},
        "confidence_interval": {"lower": 0.8, "upper": 0.83, "confidence_level": 0.95},
    }
    record["eval_library"] = {"name": "helm", "version": "0.4.0"}
    [board] = read_records([written(tmp_path, record)])
    score = board.scores[0][columns_of(board)["Accuracy", "BoolQ", "EM"]]
    assert (score.n, score.low, score.high, score.standard_error) == (3000, 0.8, 0.83, 0.007)
    assert board.origin.library == "helm 0.4.0"


BOOLQ = ("evaluation_results", 1)
BAD = [
    (("schema_version",), "9.1", "schema_version: '9.1' is not known"),
    (("source_metadata",), None, "source_metadata: missing"),
    (("source_metadata", "source_organization_name"), "", "source_organization_name: not a text"),
    (("model_info", "id"), 7, "model_info.id: not a text"),
    (("evaluation_results",), {}, "evaluation_results: not a list"),
    ((*BOOLQ, "evaluation_name"), None, "evaluation_results[1].evaluation_name: missing"),
    (
        (*BOOLQ, "metric_config", "lower_is_better"),
        "no",
        "evaluation_results[1].metric_config.lower_is_better",
    ),
    ((*BOOLQ, "metric_config", "min_score"), "low", "metric_config.min_score: not a number"),
    ((*BOOLQ, "score_details", "score"), "high", "evaluation_results[1].score_details.score: not a number"),
    ((*BOOLQ, "score_details", "score"), True, "score_details.score: not a number"),
    ((*BOOLQ, "score_details", "score"), 10**400, "score_details.score: too large"),
    ((*BOOLQ, "score_details", "details"), [1], "score_details.details: not an object"),
    ((*BOOLQ, "score_details", "uncertainty"), {"num_samples": 1.5}, "num_samples: not a whole number"),
]


@pytest.mark.parametrize(("path", "value", "said"), BAD)
def test_a_bad_record_is_told_with_file_line_and_field(
    tmp_path: Path, path: tuple[Any, ...], value: Any, said: str
) -> None:
    record = copy.deepcopy(CLASSIC)
    place: Any = record
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    file = written(tmp_path, CLASSIC, record)
    with pytest.raises(DataError) as raised:
        read_records([file])
    assert str(raised.value).startswith(f"{file}:2: ")
    assert said in str(raised.value)


def test_other_mistakes_are_told_too(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"none\.jsonl"):
        read_records([tmp_path / "none.jsonl"])
    file = tmp_path / "bad.jsonl"
    file.write_text(json.dumps(CLASSIC) + "\n\n{oops\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"bad.jsonl:3: not JSON"):
        read_records([file])
    file.write_text('{"score": NaN}\n', encoding="utf-8")
    with pytest.raises(DataError, match=r"bad.jsonl:1: not JSON: NaN is no number"):
        read_records([file])
    file.write_text("\n", encoding="utf-8")
    with pytest.raises(DataError, match="no record there"):
        read_records([file])
    twice = copy.deepcopy(CLASSIC)
    twice["evaluation_results"][1]["score_details"]["score"] = 0.9
    with pytest.raises(DataError, match=r":2: evaluation_results\[1\]: a second score"):
        read_records([written(tmp_path, CLASSIC, twice)])
    stranger = copy.deepcopy(CLASSIC)
    stranger["source_metadata"]["source_organization_name"] = "others"
    with pytest.raises(DataError, match="reported 'helm_classic' before"):
        read_records([written(tmp_path, CLASSIC, stranger)])


def test_only_addresses_of_the_web_are_kept(tmp_path: Path) -> None:
    record = copy.deepcopy(CLASSIC)
    record["evaluation_results"][1]["source_data"]["url"] = ["javascript:alert(1)", "file:///etc/passwd", 7]
    [board] = read_records([written(tmp_path, record)])
    assert list(board.origin.urls) == [URL]


def test_a_board_is_saved_and_read_back(tmp_path: Path) -> None:
    [board] = read_records([written(tmp_path, CLASSIC)])
    told = json.loads(json.dumps(to_json(board)))
    assert from_json(told) == board
    folder = tmp_path / "reported"
    with pytest.raises(NotFound, match="no such folder"):
        read_reported(folder)
    folder.mkdir()
    with pytest.raises(NotFound, match="no reported results there"):
        read_reported(folder)
    (folder / "a.json").write_text(json.dumps(told), encoding="utf-8")
    assert read_reported(folder) == ([board], [])
    for wrong in ({**told, "version": 2}, {**told, "scores": []}, {"version": 1}, []):
        (folder / "a.json").write_text(json.dumps(wrong), encoding="utf-8")
        boards, [error] = read_reported(folder)
        assert boards == []
        assert str(error).startswith(f"{folder / 'a.json'}: not reported results: ")


def test_our_win_rates_are_those_of_the_recomputed_table(tmp_path: Path, data_root: Path) -> None:
    """Of the same columns: those of HELM's main table, as they lie beside the tests."""
    folder = data_root / "helm_leaderboards"
    table = recompute(folder / "helm_lite.csv")
    records = []
    with (folder / "helm_lite.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            record = copy.deepcopy(CLASSIC)
            record["model_info"] = {"id": row.pop("model_id"), "name": row.pop("model_name")}
            like = record["evaluation_results"][1]
            like["score_details"]["details"] = {"tab": "Accuracy"}
            record["evaluation_results"] = []
            for name, score in row.items():
                one = copy.deepcopy(like)
                one["evaluation_name"] = name
                one["score_details"]["score"] = float(score) if score else -1.0
                record["evaluation_results"].append(one)
            records.append(record)
    [board] = read_records([written(tmp_path, *records)])
    assert board.win_rates(board.places("Accuracy")) == dict(table.ours)
    [published] = board.places("Accuracy", summary=True)
    assert {m.id: board.scores[i][published].score for i, m in enumerate(board.models)} == dict(
        table.published
    )
