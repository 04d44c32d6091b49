"""Scenarios of a user's own: the common shapes in a few lines, and what is said about mistakes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from commonweal.core.errors import ConfigError, DataError, NotFound
from commonweal.evals.instance import Instance
from commonweal.evals.loading import DataLoader
from commonweal.evals.loading.hub import Fetched
from commonweal.evals.scenario import Hub, Scenario
from commonweal.evals.scenarios.toml import load_scenario


def write(folder: Path, toml: str, **files: Any) -> Path:
    for name, rows in files.items():
        text = rows if isinstance(rows, str) else "".join(json.dumps(row) + "\n" for row in rows)
        (folder / name.replace("_", ".")).write_text(text)
    (folder / "my.toml").write_text(toml)
    return folder / "my.toml"


def read(path: Path, remote: Any = None) -> tuple[Scenario, list[Instance]]:
    scenario, args = load_scenario(path)
    loader = DataLoader(None, path.parent / "cache", offline=remote is None, remote=remote)
    return scenario, list(scenario.read(loader, args))


def test_three_lines_are_enough(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        'name = "capitals"\nshape = "multiple_choice"\nfile = "data.jsonl"\n',
        data_jsonl=[
            {"question": "Of France?", "choices": ["Rome", "Paris"], "answer": 1},
            {"question": "Of Italy?", "choices": ["Rome", "Paris"], "answer": "A"},
            {"question": "Of Spain?", "choices": ["Madrid", "Paris"], "answer": "Madrid"},
        ],
    )
    scenario, instances = read(path)
    assert [i.correct for i in instances] == [("Paris",), ("Rome",), ("Madrid",)]
    assert [i.id for i in instances] == ["test-0", "test-1", "test-2"]
    assert (scenario.name, scenario.main_metric, scenario.adaptation.shots) == ("capitals", "exact_match", 0)
    assert scenario.adaptation.method == "multiple_choice_joint"
    assert scenario.vary is not None
    separate = scenario.vary(scenario.adaptation, {"method": "multiple_choice_separate"})
    assert (separate.method, separate.instructions) == ("multiple_choice_separate", "")


def test_columns_templates_shots_and_the_rest(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        """
        name = "trivia"
        title = "My trivia"
        shape = "multiple_choice"
        file = "test.csv"
        train = "train.csv"
        shots = 2
        first = 1
        licence = "CC0-1.0"
        tags = ["mine"]
        columns = {input = "{topic}: {the question}", choices = ["A", "B"], answer = "key", id = "nr", subset = "topic"}
        [prompt]
        instructions = "Choose.\\n"
        input_prefix = "Q: "
        max_tokens = 2
        stop = ["\\n", "Q:"]
        """,
        test_csv="nr,topic,the question,A,B,key\n7,art,Who?,x,y,2\n",
        train_csv="nr,topic,the question,A,B,key\n1,art,How {so}?,x,y,1\n",
    )
    scenario, instances = read(path)
    train, test = instances
    assert (test.id, test.input, test.correct, test.subset, test.split) == (
        "7",
        "art: Who?",
        ("y",),
        "art",
        "test",
    )
    assert (train.input, train.correct, train.split) == ("art: How {so}?", ("x",), "train")
    asked = scenario.adaptation
    assert (asked.shots, asked.instructions, asked.input_prefix, asked.max_tokens) == (
        2,
        "Choose.\n",
        "Q: ",
        2,
    )
    assert (asked.stop, asked.output_prefix) == (("\n", "Q:"), "Answer: ")
    assert (scenario.licence, scenario.title, scenario.tags) == ("CC0-1.0", "My trivia", ("mine",))


def test_question_answering_takes_one_answer_or_several(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        'name = "qa"\nshape = "question_answering"\nfile = "d.jsonl"\n',
        d_jsonl=[{"question": "Q", "answer": ["a", "b"]}, {"question": "R", "answer": 4}],
    )
    scenario, instances = read(path)
    assert [i.correct for i in instances] == [("a", "b"), ("4",)]
    assert scenario.main_metric == "f1_score"


def test_classification_with_numbered_labels(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        'name = "c"\nshape = "classification"\nfile = "d.csv"\nlabels = ["no", "yes"]\n',
        d_csv="text,answer\nA,1\nB,no\nC,maybe\n",
    )
    scenario, args = load_scenario(path)
    rows = iter(scenario.read(DataLoader(None, tmp_path, offline=True), args))
    assert [next(rows).correct, next(rows).correct] == [("yes",), ("no",)]
    with pytest.raises(DataError, match=r"d\.csv, line 4: field 'answer' should be one of no, yes"):
        next(rows)


def test_generation_needs_no_reference(tmp_path: Path) -> None:
    toml = 'name = "g"\nshape = "generation"\nfile = "d.txt"\ncolumns = {input = "Write: {line}"}\n'
    scenario, instances = read(write(tmp_path, toml, d_txt="a poem\n"))
    assert [(i.input, i.references) for i in instances] == [("Write: a poem", ())]
    assert (scenario.adaptation.stop, scenario.adaptation.max_tokens) == ((), 512)


def test_a_data_set_of_the_hub(tmp_path: Path) -> None:
    class Remote:
        def open(self, hub: Hub) -> Fetched:
            assert (hub.path, hub.revision, hub.config) == ("org/set", "abc", "c")
            return Fetched(commit="abc", rows=iter([{"question": hub.split, "answer": "x"}]))

    toml = """
    name = "h"
    shape = "question_answering"
    [hub]
    path = "org/set"
    revision = "abc"
    config = "c"
    split = "validation"
    train = "train"
    """
    scenario, instances = read(write(tmp_path, toml), Remote())
    assert [(i.input, i.split) for i in instances] == [("train", "train"), ("validation", "test")]
    assert (scenario.adaptation.shots, scenario.source) == (5, "org/set")


BASE = 'name = "x"\nshape = "question_answering"\n'


@pytest.mark.parametrize(
    ("toml", "said", "hint"),
    [
        (BASE + 'fil = "d"', "unknown key 'fil'", "did you mean 'file'?"),
        (
            BASE + 'file = "d"\ncolumns = {inputs = "q"}',
            "columns: unknown key 'inputs'",
            "did you mean 'input'?",
        ),
        (
            BASE + 'file = "d"\nprompt = {max_token = 3}',
            "prompt: unknown key 'max_token'",
            "did you mean 'max_tokens'?",
        ),
        ('name = "x"\nshape = "qa"\nfile = "d"', "shape: 'qa' is not one of 'multiple_choice'", None),
        ('shape = "generation"\nfile = "d"', "missing key 'name'", None),
        ('name = "a b"\nshape = "generation"\nfile = "d"', "name: 'a b' may have letters", None),
        (BASE, "file: give either", None),
        (BASE + 'file = "d"\nhub = {path = "a/b"}', "file: give either", None),
        (BASE + 'file = "d"\nshots = 3', "shots: there are no examples", None),
        (BASE + 'file = "d"\ntrain = "d"', "train: these are the instances that are asked", None),
        (
            BASE + 'hub = {path = "a/b", train = "test"}',
            "train: these are the instances that are asked",
            None,
        ),
        (
            BASE + 'file = "d"\nmetrics = ["exact_mach"]',
            "unknown metric 'exact_mach'",
            "did you mean 'exact_match'?",
        ),
        (BASE + 'file = "d"\nmain_metric = "f1_scor"', "unknown stat 'f1_scor'", "did you mean 'f1_score'?"),
        (
            BASE + 'file = "d"\nmetrics = ["exact_match"]',
            "main_metric: none of the metrics gives 'f1_score'",
            None,
        ),
        (BASE + 'file = "d"\nprompt = {outputs = 0}', "prompt: shots, max_tokens", None),
        ("name = ", "not valid TOML", None),
    ],
)
def test_a_mistake_is_told_with_the_key(toml: str, said: str, hint: str | None, tmp_path: Path) -> None:
    path = write(tmp_path, toml)
    with pytest.raises(ConfigError) as caught:
        load_scenario(path)
    assert "my.toml: " in caught.value.message
    assert said in caught.value.message
    if hint is not None:
        assert caught.value.hint == hint


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"choices": ["a"], "answer": 0}, "no field 'question'"),
        ({"question": "Q", "answer": 0}, "no field 'choices' (expected a list)"),
        (
            {"question": "Q", "choices": ["a", "b"], "answer": 2},
            "field 'answer' should name one of 2 choices, but is 2",
        ),
        ({"question": "Q", "choices": ["a", "b"], "answer": "c d"}, "field 'answer' should be an integer"),
    ],
)
def test_a_bad_row_is_told_with_its_line(row: dict[str, Any], said: str, tmp_path: Path) -> None:
    toml = 'name = "x"\nshape = "multiple_choice"\nfile = "d.jsonl"\n'
    path = write(tmp_path, toml, d_jsonl=[{"question": "Q", "choices": ["a"], "answer": 0}, row])
    with pytest.raises(DataError, match=r"d\.jsonl, line 2: ") as caught:
        read(path)
    assert said in caught.value.message


def test_a_missing_file_has_a_reason(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"data not available: .*d\.jsonl: no such file"):
        read(write(tmp_path, BASE + 'file = "d.jsonl"'))
    with pytest.raises(ConfigError, match="no such file"):
        load_scenario(tmp_path / "none.toml")
