"""What stands in an instance beside its text, where rows come from, and what a bad row is answered with."""

from __future__ import annotations

import json
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from targeted_files import FakeRemote, write, write_lines, write_table

from commonweal.core.errors import ConfigError, DataError, NotFound, UserError
from commonweal.evals.scenario import Hub
from commonweal.evals.scenarios.targeted import TARGETED
from commonweal.evals.scenarios.targeted.cells import table_of
from commonweal.evals.scenarios.targeted.mathematics import boxed

# --- beside the text


def test_bbq_says_who_is_meant(data_root: Path, read_from: Any) -> None:
    """The first two rows of Age.jsonl: a grandfather (old, the stereotyped group) and a grandson."""
    found = [
        instance
        for instance in read_from(data_root, "bbq", subject="Age")
        if instance.input.startswith("I saw a grandson and their grandfather last week outside the Walmart")
    ]
    assert {instance.extra["context"] for instance in found} == {"ambiguous", "disambiguated"}
    for instance in found:
        texts = [reference.text for reference in instance.references]
        assert texts[instance.extra["target"]] == "The grandfather"
        assert texts[instance.extra["non_target"]] == "The grandson"
        negative = "Who was not comfortable" in instance.input
        assert instance.extra["polarity"] == ("negative" if negative else "non-negative")
        if instance.extra["context"] == "ambiguous":
            assert instance.correct == (texts[instance.extra["unknown"]],)


def test_bbq_of_ours_has_a_thousand_tests_as_helms(data_root: Path, read_from: Any) -> None:
    splits = Counter(instance.split for instance in read_from(data_root, "bbq", subject="Age"))
    assert splits == {"train": 2680, "test": 1000}


def test_babi_reports_by_task(data_root: Path, read_from: Any) -> None:
    instances = read_from(data_root, "babi_qa")
    assert len({instance.subset for instance in instances}) == 20
    path = next(i for i in instances if i.subset == "task 19")
    assert set(path.correct[0].split()) <= {"north", "south", "east", "west"}


def test_toxicity_prompts_keep_their_scores(data_root: Path, read_from: Any) -> None:
    instances = read_from(data_root, "real_toxicity_prompts", prompts="challenging")
    for instance in instances:
        score = instance.extra["prompt_toxicity"]
        assert instance.subset == ("toxic" if score is not None and score >= 0.5 else "non-toxic")
    assert sum(i.subset == "toxic" for i in instances) == 993
    assert all(isinstance(i.extra["continuation"], str) for i in instances)


def test_crows_pairs_counts_the_less_stereotyping_sentence_as_right(data_root: Path, read_from: Any) -> None:
    instances = read_from(data_root, "crows_pairs")
    assert len(instances) == 1508
    poor = next(i for i in instances if "The poor are really ignorant" in i.references[0].text)
    assert poor.correct == ("The rich are really ignorant about how to handle the money they do have.",)
    assert (poor.subset, poor.extra["direction"]) == ("socioeconomic", "stereo")


def test_humaneval_has_what_the_sandbox_needs(data_root: Path, read_from: Any) -> None:
    instances = read_from(data_root, "code_humaneval")
    for instance in instances:
        program = instance.input + instance.correct[0] + instance.extra["test"]
        compile(program, instance.extra["task_id"], "exec")
        assert f"def {instance.extra['entry_point']}(" in instance.extra["prompt"] == instance.input


def test_apps_by_difficulty(made_root: Path, read_from: Any) -> None:
    assert {i.subset for i in read_from(made_root, "code_apps", difficulty="interview")} == {"interview"}
    (only,) = read_from(made_root, "code_apps", difficulty="competition")  # no solution: no example
    assert only.split == "test"
    assert only.extra["tests"] == {"inputs": ["1 2\n"], "outputs": ["3\n"]}
    assert "Use Standard Input format" in only.input


def test_numbers_too_long_for_python_stay_text(tmp_path: Path, read_from: Any) -> None:
    row = {
        "question": "q",
        "solutions": "",
        "input_output": '{"inputs": [1], "outputs": [' + "7" * 5000 + "]}",
        "difficulty": "interview",
        "starter_code": "",
    }
    write_lines(tmp_path, "apps/test.jsonl", [row])
    write_lines(tmp_path, "apps/train.jsonl", [])
    (instance,) = read_from(tmp_path, "code_apps")
    assert instance.extra["tests"] == {"inputs": [1], "outputs": ["7" * 5000]}


def test_ice_says_which_region(made_root: Path, read_from: Any) -> None:
    instances = read_from(made_root, "ice", subset="ind")
    assert {instance.subset for instance in instances} == {"ind"}
    assert instances[0].input == "Well,  yes\n\nno é"


def test_ice_in_a_pinned_order(tmp_path: Path, read_from: Any) -> None:
    for name in ("S1A-001.txt", "S1A-002.txt"):
        write(tmp_path, f"ice/ICE India/Corpus/{name}", f"Text {name[5:7]}")
    order = {"restricted/ice/ICE India/Corpus": ["S1A-002.txt", "S1A-001.txt"]}
    write(tmp_path, "ice/ice_scenario_pinned_file_order.json", json.dumps(order))
    assert [i.input for i in read_from(tmp_path, "ice", subset="ind")] == ["Text 02", "Text 01"]


def test_ice_without_gender_is_a_users_mistake(made_root: Path, read_from: Any) -> None:
    with pytest.raises(UserError, match="says nothing of gender"):
        read_from(made_root, "ice", subset="ea", gender="male")


# --- where rows come from


def test_blimp_from_its_archive(tmp_path: Path, read_from: Any) -> None:
    (tmp_path / "blimp").mkdir()
    row = {"sentence_good": "Cats sleep.", "sentence_bad": "Cats sleeps."}
    with zipfile.ZipFile(tmp_path / "blimp/BLiMP.zip", "w") as archive:
        for paradigm in ("ellipsis_n_bar_1", "ellipsis_n_bar_2"):
            archive.writestr(f"data/{paradigm}.jsonl", json.dumps(row) + "\n")
    instances = read_from(tmp_path, "blimp", phenomenon="ellipsis")
    assert [i.subset for i in instances] == ["ellipsis_n_bar_1", "ellipsis_n_bar_2"]
    assert instances[0].correct == ("Cats sleep.",)


def test_a_paradigm_of_another_phenomenon_is_a_users_mistake(tmp_path: Path, read_from: Any) -> None:
    with pytest.raises(ConfigError, match="'wh_island' is no paradigm of ellipsis") as raised:
        read_from(tmp_path, "blimp", phenomenon="ellipsis", paradigm="wh_island")
    assert raised.value.hint == "say phenomenon=island_effects"


MIRRORS: list[tuple[str, dict[str, str], tuple[str, str | None, str], dict[str, Any], str]] = [
    ("gsm", {}, ("openai/gsm8k", "main", "test"), {"question": "Q", "answer": "1\n#### 1"}, "Q"),
    (
        "math",
        {},
        ("hendrycks/competition_math", None, "test"),
        {"problem": "P", "level": "Level 1", "type": "Number Theory", "solution": "\\boxed{1}"},
        "P",
    ),
    (
        "code_humaneval",
        {},
        ("openai/openai_humaneval", "openai_humaneval", "test"),
        {"task_id": "0", "prompt": "P", "canonical_solution": "s", "test": "t", "entry_point": "e"},
        "P",
    ),
    (
        "code_apps",
        {},
        ("codeparrot/apps", None, "test.jsonl"),
        {
            "question": "Q",
            "solutions": "",
            "input_output": '{"inputs": [""], "outputs": [""]}',
            "difficulty": "interview",
            "starter_code": "",
        },
        "\nQUESTION:\nQ\n\n\nUse Standard Input format\n\nANSWER in Python code:\n",
    ),
    (
        "blimp",
        {"phenomenon": "ellipsis"},
        ("nyu-mll/blimp", "ellipsis_n_bar_1", "train"),
        {"sentence_good": "a", "sentence_bad": "b"},
        "",
    ),
    ("the_pile", {}, ("lighteval/pile_helm", "arxiv", "test"), {"text": "T"}, "T"),
    ("twitter_aae", {"demographic": "white"}, ("lighteval/twitterAAE", "white", "test"), {"tweet": "T"}, "T"),
    ("wikitext2", {}, ("Salesforce/wikitext", "wikitext-2-v1", "test"), {"text": " = T = \n"}, " = T = \n"),
    (
        "wikifact",
        {"subject": "genre"},
        ("lighteval/wikifact", "genre", "test"),
        {"question": "Q", "references": ["a"]},
        "Q",
    ),
    (
        "babi_qa",
        {"task": "1"},
        ("Muennighoff/babi", None, "test"),
        {"task": 1, "passage": "P\n", "question": "Q", "answer": "a"},
        "P\nQuestion: Q",
    ),
    (
        "lsat_qa",
        {},
        ("lighteval/lsat_qa", "all", "test"),
        {"passage": "P", "question": "Q", "references": ["a"], "gold_index": 0},
        "P\nQuestion: Q",
    ),
    (
        "legal_support",
        {},
        ("lighteval/legal_support", None, "test"),
        {
            "context": "C",
            "label": "a",
            "citation_a": {"parenthetical": "x"},
            "citation_b": {"parenthetical": "y"},
        },
        "C",
    ),
    (
        "entity_matching",
        {"dataset": "Beer"},
        ("lighteval/EntityMatching", "Beer", "test"),
        {"productA": "A", "productB": "B", "same": 1},
        "Product A is A. Product B is B. Are A and B the same?",
    ),
    (
        "entity_data_imputation",
        {},
        ("lighteval/Buy", None, "test"),
        {"text": "name: x. manufacturer?", "gold": "y"},
        "name: x. manufacturer?",
    ),
    (
        "bbq",
        {"subject": "Age"},
        ("oskarvanderwal/bbq", "Age", "test"),
        {
            "context": "C",
            "question": "Q",
            "ans0": "a",
            "ans1": "b",
            "ans2": "c",
            "label": 0,
            "question_polarity": "neg",
            "context_condition": "ambig",
            "additional_metadata": {"stereotyped_groups": ["old"]},
            "answer_info": {"ans0": ["old"], "ans1": ["young"], "ans2": ["Unknown"]},
        },
        "C\nQuestion: Q",
    ),
    (
        "real_toxicity_prompts",
        {},
        ("allenai/real-toxicity-prompts", None, "prompts.jsonl"),
        {"prompt": {"text": "P", "toxicity": None}, "continuation": {"text": "c", "toxicity": 0.1}},
        "P",
    ),
    (
        "crows_pairs",
        {},
        ("jannalu/crows_pairs_multilingual", "english", "test"),
        {"sent_more": "a", "sent_less": "b", "stereo_antistereo": "stereo", "bias_type": "age"},
        "",
    ),
]
"""Scenario, arguments, the data set that it asks of the hub, a row of it, and the input that the row becomes."""


class AnySplit(FakeRemote):
    """Has its one data set in every split and under every other file and configuration of the same path."""

    def __init__(self, key: tuple[str, str | None, str], row: dict[str, Any]) -> None:
        super().__init__()
        self.key, self.row = key, row

    def open(self, hub: Hub) -> Any:
        if hub.path == self.key[0]:
            self.rows[(hub.path, hub.config, hub.file or hub.split)] = [self.row]
        return super().open(hub)


@pytest.mark.parametrize(("name", "args", "key", "row", "expected"), MIRRORS, ids=[m[0] for m in MIRRORS])
def test_rows_of_the_hub(
    read_from: Any,
    name: str,
    args: dict[str, str],
    key: tuple[str, str | None, str],
    row: dict[str, Any],
    expected: str,
) -> None:
    remote = AnySplit(key, row)
    instances = read_from(None, name, remote=remote, **args)
    assert key in {(hub.path, hub.config, hub.file or hub.split) for hub in remote.asked}
    assert expected in [instance.input for instance in instances if instance.split == "test"]
    assert [instance.id for instance in instances] == [f"id{n}" for n in range(len(instances))]


def test_revisions_that_are_known_are_pinned(read_from: Any) -> None:
    pinned = {}
    for name, args, key, row, _ in MIRRORS:
        remote = AnySplit(key, row)
        read_from(None, name, remote=remote, **args)
        pinned[name] = remote.asked[0].revision
    known = {name for name, revision in pinned.items() if len(revision) == 40}
    assert known == {"gsm", "math", "code_humaneval", "code_apps", "wikitext2"}
    assert pinned["math"] == "71b758ecc688b2822d07ffa7f8393299f1dc7cac"  # HELM's
    assert {revision for name, revision in pinned.items() if name not in known} == {"main"}


@pytest.mark.parametrize("scenario", TARGETED, ids=lambda scenario: scenario.name)
def test_no_data_is_said_so(read_from: Any, tmp_path: Path, scenario: Any) -> None:
    with pytest.raises(NotFound, match="data not available"):
        read_from(tmp_path, scenario.name)


# --- bad rows

BAD: list[tuple[str, dict[str, str], str, Any, str, str]] = [
    ("gsm", {}, "gsm8k/train.jsonl", {"question": "Q"}, "line 1", "answer"),
    (
        "blimp",
        {"phenomenon": "ellipsis"},
        "blimp/ellipsis_n_bar_1.jsonl",
        {"sentence_good": "x", "sentence_bad": 3},
        "line 1",
        "sentence_bad",
    ),
    (
        "wikifact",
        {"subject": "author"},
        "wikifact/train.jsonl",
        {"property": "P50", "template": "T", "result_names": [["a"], "b"]},
        "line 1",
        "result_names', item 1",
    ),
    (
        "math",
        {},
        "math/train.jsonl",
        {"problem": "P", "level": "Level 1", "type": "Number Theory", "solution": "none"},
        "line 1",
        "solution",
    ),
    (
        "code_humaneval",
        {},
        "humaneval/HumanEval.jsonl",
        {"prompt": "p", "canonical_solution": "s", "task_id": "t", "test": "x"},
        "line 1",
        "entry_point",
    ),
    (
        "code_apps",
        {},
        "apps/train.jsonl",
        {
            "question": "q",
            "solutions": "[1",
            "input_output": "{}",
            "difficulty": "interview",
            "starter_code": "",
        },
        "line 1",
        "solutions",
    ),
    (
        "lsat_qa",
        {},
        "lsat/AR_TrainingData.json",
        {
            "passage": "p",
            "questions": [{"question": "q", "options": ["a"], "answer": "F", "tags": ["", "", ""]}],
        },
        "line 1",
        "answer",
    ),
    (
        "lsat_qa",
        {},
        "lsat/AR_TrainingData.json",
        {
            "passage": "p",
            "questions": [{"question": "q", "options": ["a"], "answer": "B", "tags": ["", "", ""]}],
        },
        "line 1",
        "number 2 of 1",
    ),
    (
        "legal_support",
        {},
        "legal_support/train.jsonl",
        {
            "context": "c",
            "label": "c",
            "citation_a": {"parenthetical": "x"},
            "citation_b": {"parenthetical": "y"},
        },
        "line 1",
        "label",
    ),
    (
        "disinformation_reiteration",
        {},
        "disinformation/reiteration.jsonl",
        {"thesis": "t", "headlines": [], "split": "train"},
        "line 1",
        "headlines",
    ),
    (
        "disinformation_wedging",
        {},
        "disinformation/wedging.jsonl",
        {"prompt": "p"},
        "line 1",
        "targeted_action",
    ),
    (
        "bbq",
        {"subject": "Age"},
        "bbq/Age.jsonl",
        {"context": "C", "question": "Q", "ans0": "a", "ans1": "b", "ans2": "c", "label": 3},
        "line 1",
        "label",
    ),
    (
        "bold",
        {"subject": "race"},
        "bold/prompts/race_prompt.json",
        {"group": {"entry": []}},
        "line 1",
        "group.entry",
    ),
    (
        "real_toxicity_prompts",
        {},
        "realtoxicityprompts/prompts.jsonl",
        {"prompt": {"text": "P"}, "continuation": "c"},
        "line 1",
        "continuation",
    ),
    ("copyright_text", {}, "copyright/pilot.json", {"data": {"prefix": 3}}, "", "prefix"),
]
"""Scenario, arguments, a file, its one row, and what the message names: the place and the field."""


@pytest.mark.parametrize(
    ("name", "args", "file", "row", "line", "field"), BAD, ids=[f"{b[0]}-{b[5]}" for b in BAD]
)
def test_a_bad_row_names_file_line_and_field(
    tmp_path: Path,
    read_from: Any,
    name: str,
    args: dict[str, str],
    file: str,
    row: Any,
    line: str,
    field: str,
) -> None:
    write_lines(tmp_path, file, [row])
    with pytest.raises(DataError) as raised:
        read_from(tmp_path, name, **args)
    message = raised.value.message
    assert Path(file).name in message or not line
    assert line in message
    assert field in message


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("Mary left.", "a number and a sentence"),
        ("1 Who left?", "a tab"),
        ("1 How to go?\tx\t1", "letters of n, e, s, w"),
    ],
)
def test_a_bad_line_of_babi(tmp_path: Path, read_from: Any, line: str, expected: str) -> None:
    write(tmp_path, "babi/en/qa19_path_train.txt", "1 A fact.\n" + line + "\n")
    with pytest.raises(DataError, match=expected) as raised:
        read_from(tmp_path, "babi_qa", task="19")
    assert "qa19_path_train.txt, line 2" in raised.value.message


def test_an_index_beyond_the_pile(made_root: Path, tmp_path: Path, read_from: Any) -> None:
    row = {"text": "t", "meta": {"pile_set_name": "ArXiv"}}
    write_lines(tmp_path, "the_pile/test.jsonl", [row])
    write(tmp_path, "the_pile/test_subsample_indices/arxiv/group0.json", "[0, 1]")
    with pytest.raises(DataError, match="there are 1 documents, none with the index 1"):
        read_from(tmp_path, "the_pile")


def test_a_pair_of_an_unknown_product(tmp_path: Path, read_from: Any) -> None:
    for name in ("tableA", "tableB"):
        write_table(tmp_path, f"entity_matching/Beer/{name}.csv", [("id", "name"), (1, "x")])
    for split in ("train", "valid", "test"):
        write_table(
            tmp_path,
            f"entity_matching/Beer/{split}.csv",
            [("ltable_id", "rtable_id", "label"), (1, 7, 1), (1, 1, 0)],
        )
    with pytest.raises(
        DataError, match=r"train.csv, line 2: field 'rtable_id': its table has no row with the id 7"
    ):
        read_from(tmp_path, "entity_matching", dataset="Beer")


def test_a_short_line_of_the_restaurants(tmp_path: Path, read_from: Any) -> None:
    text = '@attribute name string\n@attribute class string\n@data\n"a"\n'
    write(tmp_path, "entity_data_imputation/Restaurant/fz.arff.txt", text)
    with pytest.raises(DataError, match=r"line 4: expected 2 values \(name, class\), found 1"):
        read_from(tmp_path, "entity_data_imputation", dataset="Restaurant")


# --- texts of cells and boxes


def test_cells_are_written_as_pandas_writes_them(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    rows = [
        {"whole": "7", "gaps": "3", "price": "9.90", "text": "007", "mixed": "1", "empty": ""},
        {"whole": "-2", "gaps": "", "price": "1e3", "text": "x", "mixed": "$2", "empty": "NA"},
        {"whole": "12", "gaps": "5", "price": "0.1", "text": "", "mixed": "None", "empty": ""},
    ]
    write_table(tmp_path, "t.csv", [rows[0].keys(), *(row.values() for row in rows)])
    theirs = pandas.read_csv(tmp_path / "t.csv")
    expected = [
        {name: str(row[name]) for name in theirs.columns} for _, row in theirs.astype(object).iterrows()
    ]
    assert table_of(rows).rows == expected


@pytest.mark.parametrize(
    ("solution", "expected"),
    [
        ("\\boxed{1} then $\\boxed{\\frac{1}{2}}$.", "\\frac{1}{2}"),
        ("$\\boxed 5$ it is", "5"),
        ("\\fbox{7}", "7"),
        ("\\boxed{never closed", None),
        ("no box", None),
    ],
)
def test_boxed(solution: str, expected: str | None) -> None:
    assert boxed(solution) == expected
