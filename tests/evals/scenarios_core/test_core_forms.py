"""The core scenarios read the hub's tables as they read the original files; bad rows are told with their place."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest

from commonweal.core.errors import ConfigError, DataError
from commonweal.evals.instance import Instance
from commonweal.evals.loading import DataLoader
from commonweal.evals.loading.hub import Fetched
from commonweal.evals.scenario import Hub, Local
from commonweal.evals.scenarios.core.imdb import paired
from commonweal.evals.scenarios.core.raft import drawn
from commonweal.evals.scenarios.core.raft_prompts import FIELDS, INSTRUCTIONS
from commonweal.evals.scenarios.registry import resolve

Load = Callable[[Path], DataLoader]


class Tables:
    """A hub of small tables, by data set, config and split."""

    def __init__(self, **tables: list[dict[str, Any]]) -> None:
        self.tables = tables

    def open(self, hub: Hub) -> Fetched:
        key = "_".join(x for x in (hub.path.partition("/")[2], hub.config, hub.split) if x).replace("-", "_")
        return Fetched(commit="1", rows=iter(self.tables[key]))


def from_hub(tmp_path: Path, name: str, **tables: list[dict[str, Any]]) -> list[Instance]:
    scenario, args = resolve(name)
    return list(scenario.read(DataLoader(None, tmp_path, remote=Tables(**tables)), args))


def test_mmlu(tmp_path: Path) -> None:
    def rows(split: str) -> list[dict[str, Any]]:
        return [{"question": split, "subject": "anatomy", "choices": ["w", "x", "y", "z"], "answer": 2}]

    made = from_hub(
        tmp_path,
        "mmlu:subject=anatomy",
        mmlu_anatomy_dev=rows("dev"),
        mmlu_anatomy_validation=rows("val"),
        mmlu_anatomy_test=rows("test"),
    )
    assert [(i.id, i.input, i.split, i.correct, i.subset) for i in made] == [
        ("id0", "dev", "train", ("y",), "anatomy"),
        ("id1", "val", "valid", ("y",), "anatomy"),
        ("id2", "test", "test", ("y",), "anatomy"),
    ]


def test_hellaswag_labels_are_text_on_the_hub(tmp_path: Path) -> None:
    row = {
        "ind": 4,
        "activity_label": "A",
        "ctx_a": "b.",
        "ctx_b": "c",
        "endings": list("wxyz"),
        "label": "3",
    }
    train, valid = from_hub(tmp_path, "hellaswag", hellaswag_train=[row], hellaswag_validation=[row])
    assert (valid.input, valid.correct, valid.id, train.id) == ("A: b. C", ("z",), "valid-4", "train-4")


def test_openbookqa_and_arc(tmp_path: Path) -> None:
    choices = {"text": ["w", "x", "y", "z"], "label": ["A", "B", "C", "D"]}
    row = {"id": "7-980", "question_stem": "Why?", "choices": choices, "answerKey": "B"}
    made = from_hub(tmp_path, "openbookqa", openbookqa_main_train=[], openbookqa_main_test=[row])
    assert [(i.id, i.input, i.correct) for i in made] == [("7-980", "Why?", ("x",))]
    numbered = {
        "id": "M_1",
        "question": "Why?",
        "choices": {"text": ["w", "x"], "label": ["1", "2"]},
        "answerKey": "2",
    }
    made = from_hub(tmp_path, "arc:set=easy", ai2_arc_ARC_Easy_train=[], ai2_arc_ARC_Easy_test=[numbered])
    assert [(i.id, i.correct, i.subset) for i in made] == [("M_1", ("x",), "easy")]


def test_truthful_qa(tmp_path: Path) -> None:
    row = {"category": "C", "question": "Q? ", "best_answer": "Bb", "incorrect_answers": ["no", "never."]}
    made = from_hub(tmp_path, "truthful_qa", truthful_qa_generation_validation=[row] * 5)
    assert [i.split for i in made] == ["train", *["valid"] * 4]
    assert [r.text for r in made[0].references] == ["no.", "never.", "Bb."]  # ord("B") = 66 = 0 mod 3


def test_imdb(tmp_path: Path) -> None:
    rows = [{"text": " Bad. ", "label": 0}, {"text": "Good.", "label": 1}]
    made = from_hub(tmp_path, "imdb", imdb_train=rows, imdb_test=rows)
    assert [(i.id, i.input, i.correct[0], i.split) for i in made] == [
        ("train-0", "Bad.", "Negative", "train"),
        ("train-1", "Good.", "Positive", "train"),
        ("test-0", "Bad.", "Negative", "valid"),
        ("test-1", "Good.", "Positive", "valid"),
    ]


def test_squad(tmp_path: Path) -> None:
    row = {
        "id": "5f",
        "context": "C.",
        "question": " Q?",
        "answers": {"text": ["a", "a", "b"], "answer_start": [0, 0, 1]},
    }
    made = from_hub(tmp_path, "squad", squad_train=[], squad_validation=[row])
    assert [(i.id, i.input, i.correct) for i in made] == [("5f", "C.\nQuestion: Q?", ("a", "b"))]


@pytest.mark.parametrize("mode", ["closedbook", "openbook_longans", "openbook_wiki"])
def test_natural_questions_are_the_same_in_both_forms(
    mode: str, tmp_path: Path, small_root: Path, load: Load
) -> None:
    """The hub's table of one file gives what the file gives."""
    file = small_root / "natural_questions" / "nq-dev-00.jsonl.gz"
    (tmp_path / "natural_questions").mkdir()
    (tmp_path / "natural_questions" / file.name).write_bytes(file.read_bytes())
    scenario, args = resolve(f"natural_qa:mode={mode}")
    original = list(scenario.read(load(tmp_path), args))
    rows = [_as_on_hub(row) for row in load(tmp_path).rows(Local(path=str(file)))]
    assert (
        from_hub(tmp_path / "hub", f"natural_qa:mode={mode}", natural_questions_dev_validation=rows)
        == original
    )


def _as_on_hub(row: Any) -> dict[str, Any]:
    spans = [given["short_answers"] for given in row["annotations"]]
    return {
        "id": str(row["example_id"]),
        "question": {"text": row["question_text"]},
        "document": {
            "title": row["document_title"],
            "html": row["document_html"],
            "tokens": {"token": [token["token"] for token in row["document_tokens"]]},
        },
        "annotations": {
            "long_answer": [given["long_answer"] for given in row["annotations"]],
            "short_answers": [
                {"start_byte": [s["start_byte"] for s in each], "end_byte": [s["end_byte"] for s in each]}
                for each in spans
            ],
        },
    }


def test_quac_is_the_same_in_both_forms(tmp_path: Path, small_root: Path, load: Load) -> None:
    scenario, args = resolve("quac")
    original = list(scenario.read(load(small_root), args))
    tables = {
        f"quac_{hub}": [
            _dialogue(d) for d in json.loads((small_root / f"quac/{part}_v0.2.json").read_text())["data"]
        ]
        for part, hub in (("train", "train"), ("val", "validation"))
    }
    assert from_hub(tmp_path / "hub", "quac", **tables) == original


def _dialogue(sample: dict[str, Any]) -> dict[str, Any]:
    paragraph = sample["paragraphs"][0]
    return {
        "dialogue_id": paragraph["id"],
        "wikipedia_page_title": sample["title"],
        "background": sample["background"],
        "section_title": sample["section_title"],
        "context": paragraph["context"],
        "questions": [q["question"] for q in paragraph["qas"]],
        "orig_answers": {"texts": [q["orig_answer"]["text"] for q in paragraph["qas"]]},
        "answers": {"texts": [[a["text"] for a in q["answers"]] for q in paragraph["qas"]]},
    }


def test_narrative_qa_from_the_hub(tmp_path: Path) -> None:
    def row(n: int) -> dict[str, Any]:
        return {
            "document": {"id": f"d{n // 2}", "summary": {"text": " Long ago. "}},
            "question": {"text": f"Who {n}"},
            "answers": [{"text": "Ann"}, {"text": "Bo"}],
        }

    rows = [row(n) for n in range(4)]
    made = from_hub(
        tmp_path, "narrative_qa", narrativeqa_train=rows, narrativeqa_validation=[], narrativeqa_test=rows[:2]
    )
    assert [(i.id, i.split) for i in made] == [("d0", "train"), ("d1", "train"), ("d0", "test")]
    assert made[0].input in ("Long ago.\nQuestion: Who 0?", "Long ago.\nQuestion: Who 1?")
    assert made[0].correct == ("Ann", "Bo")


@pytest.mark.parametrize("rows", [5, 10, 50, 51])
def test_raft_is_drawn_as_the_data_set_library_draws(rows: int) -> None:
    table = datasets.Dataset.from_dict({"n": list(range(rows))})
    parts = table.train_test_split(test_size=0.8, seed=42)
    assert drawn(rows) == (list(parts["test"]["n"]), list(parts["train"]["n"]))
    assert sorted(place for part in drawn(rows) for place in part) == list(range(rows))


def test_raft_instructions_end_with_their_labels() -> None:
    assert set(FIELDS) == set(INSTRUCTIONS)
    sizes = {
        name: len(text.rpartition("Possible labels:\n")[2].splitlines())
        for name, text in INSTRUCTIONS.items()
    }
    assert sizes.pop("banking_77") == 77
    assert sizes.pop("one_stop_english") == sizes.pop("semiconductor_org_types") == 3
    assert set(sizes.values()) == {2}


def test_revisions_are_paired_by_content() -> None:
    rng = np.random.default_rng(0)
    words = [[f"w{k}" for k in rng.integers(0, 50, 40)] for _ in range(30)]
    originals = [(" ".join(text), "Positive" if n % 2 else "Negative") for n, text in enumerate(words)]
    revised = [
        (" ".join([*text[:10], "but", *text[12:]]), "Negative" if n % 2 else "Positive")
        for n, text in enumerate(words)
    ]
    order = [int(n) for n in rng.permutation(30)]
    pairs = paired(originals, [revised[n] for n in order])
    assert [pairs[text] for text, _ in originals] == revised


@pytest.mark.parametrize(
    ("name", "file", "row", "said"),
    [
        (
            "arc",
            "arc/arc_challenge.jsonl",
            {"query": "Q", "choices": ["a"], "gold": 1},
            "line 1: the answer should be 0 to 0",
        ),
        ("arc", "arc/arc_challenge.jsonl", {"x": 1}, "line 1: no question in it"),
        ("boolq", "boolq/boolq.jsonl", {"query": "Q", "gold": 1}, "should hold a passage and a question"),
        (
            "boolq",
            "boolq/dev.jsonl",
            {"passage": "P", "question": "q", "answer": "yes"},
            "line 1: field 'answer' should be true or false",
        ),
        (
            "hellaswag",
            "hellaswag/hellaswag_val.jsonl",
            {"ctx_b": "", "ctx_a": "", "activity_label": ""},
            "no field 'ind'",
        ),
        (
            "squad",
            "xquad/xquad.en.json",
            {"data": [{"paragraphs": [{"context": "c", "qas": [{"id": 3}]}]}]},
            "no field 'answers'",
        ),
    ],
)
def test_a_bad_row_is_told(
    name: str, file: str, row: dict[str, Any], said: str, tmp_path: Path, load: Load
) -> None:
    (tmp_path / file).parent.mkdir(parents=True)
    (tmp_path / file).write_text(json.dumps(row))
    scenario, args = resolve(name)
    with pytest.raises(DataError) as caught:
        list(scenario.read(load(tmp_path), args))
    assert said in caught.value.message
    assert file.rpartition("/")[2] in caught.value.message


def test_topk_of_msmarco_has_bounds(small_root: Path, load: Load) -> None:
    scenario, _ = resolve("msmarco_trec")
    with pytest.raises(ConfigError, match="11 to 1000"):
        list(scenario.read(load(small_root), {"valid_topk": "10"}))


def test_msmarco_knows_grades_and_ranks(small_root: Path, load: Load) -> None:
    scenario, args = resolve("msmarco_trec:valid_topk=12")
    asked = [i for i in scenario.read(load(small_root), args) if not i.is_train]
    assert asked
    for instance in asked:
        assert {r.grade for r in instance.references} <= {0, 1, 2, 3}
        assert all(r.correct == (r.grade >= 2) for r in instance.references)
        assert sum(1 <= rank <= 12 for rank in instance.extra["ranks"]) == 12
