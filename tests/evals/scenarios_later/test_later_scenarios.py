"""Each later scenario on its real data: how many instances, in which splits, and one prompt word for word."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from commonweal.core.completion import Abilities
from commonweal.core.errors import ConfigError, DataError, NotFound
from commonweal.evals.adapters.asking import Asking
from commonweal.evals.adapters.generation import GenerationAdapter
from commonweal.evals.adapters.joint import JointAdapter
from commonweal.evals.adapters.tokens import Estimate
from commonweal.evals.instance import Instance
from commonweal.evals.loading import DataLoader
from commonweal.evals.metrics.code import CODE
from commonweal.evals.metrics.final_answer import FINAL_ANSWER
from commonweal.evals.metrics.ifeval import IFEVAL, IFEVAL_INSTRUCTIONS
from commonweal.evals.metrics.injection import INJECTION
from commonweal.evals.metrics.judge import JUDGE, PAIRWISE_JUDGE
from commonweal.evals.metrics.refusal import REFUSAL
from commonweal.evals.metrics.sql import SQL
from commonweal.evals.scenario import Scenario
from commonweal.evals.scenarios.later import LATER
from commonweal.evals.scenarios.later.big_bench_hard import TASKS

NAMED = {scenario.name: scenario for scenario in LATER}
OURS = {
    family.name: family
    for family in (
        CODE,
        FINAL_ANSWER,
        IFEVAL,
        IFEVAL_INSTRUCTIONS,
        INJECTION,
        JUDGE,
        PAIRWISE_JUDGE,
        REFUSAL,
        SQL,
    )
}
SIZES = {
    "med_qa": {"test": 1273},
    "pubmed_qa": {"test": 1000},
    "mbpp": {"train": 3, "test": 500, "valid": 90},
    "bbh": {"test": 6511},
    "ifeval": {"test": 541},
    "mt_bench": {"test": 80},
    "text_to_sql": {"train": 549, "valid": 49, "test": 279},
    "text_to_sql_tools": {"train": 549, "valid": 49, "test": 279},
    "xstest": {"test": 450},
    "harmful_behaviours": {"test": 159},
    "prompt_injection": {"test": 3750},
    "jailbreak": {"test": 159},
    "persuasion_pairs": {"test": 11650},
    "persuasion_writing": {"test": 32},
    "easy_vqa": {"test": 9673},
    "gsm8k_tools": {"test": 1319},
    "arithmetic_tools": {"test": 200},
}


@pytest.fixture
def loader(data_root: Path, tmp_path: Path) -> DataLoader:
    return DataLoader(data_root, tmp_path / "cache", offline=True)


def read(loader: DataLoader, name: str, **args: str) -> list[Instance]:
    return list(NAMED[name].read(loader, args))


def prompt(scenario: Scenario, instance: Instance, *examples: Instance) -> str:
    asking = Asking(
        scenario.adaptation, model="m", abilities=Abilities(complete=True, chat=True), tokens=Estimate()
    )
    joint = scenario.adaptation.method == "multiple_choice_joint"
    adapter = JointAdapter(asking) if joint else GenerationAdapter(asking)
    request = adapter.asks(instance, examples, ())[0].request
    return request.prompt if request.prompt is not None else (request.messages or ())[-1].content


def test_all_are_listed_once() -> None:
    assert set(SIZES) == set(NAMED)
    assert len(LATER) == len(NAMED)


@pytest.mark.parametrize("name", list(SIZES))
def test_sizes_ids_and_references(loader: DataLoader, name: str) -> None:
    instances = read(loader, name)
    assert Counter(one.split for one in instances) == SIZES[name]
    assert len({one.id for one in instances}) == len(instances)
    assert all(one.input for one in instances)
    json.dumps([dict(one.extra) for one in instances[:5]])  # kept with a sample as JSON
    assert read(loader, name)[:5] == instances[:5]


@pytest.mark.parametrize("scenario", LATER, ids=lambda scenario: scenario.name)
def test_every_scenario_says_where_it_comes_from_and_what_ranks_it(scenario: Scenario) -> None:
    assert scenario.source
    assert scenario.licence
    assert len(scenario.description) > 40
    mine = [d.name for name in scenario.metrics if name in OURS for d in OURS[name].definitions]
    assert scenario.main_metric in (*mine, "exact_match", "quasi_exact_match")


@pytest.mark.parametrize("name", [name for name in SIZES if name != "arithmetic_tools"])
def test_without_data_each_says_so(tmp_path: Path, name: str) -> None:
    with pytest.raises(NotFound):
        read(DataLoader(tmp_path, tmp_path / "cache", offline=True), name)


@pytest.mark.parametrize("name", [name for name in NAMED if NAMED[name].args])
def test_a_wrong_argument_names_the_allowed_ones(loader: DataLoader, name: str) -> None:
    argument = next(iter(NAMED[name].args))
    with pytest.raises(ConfigError, match=argument):
        read(loader, name, **{argument: "nonsense"})


def test_medqa_prompt(loader: DataLoader) -> None:
    text = prompt(NAMED["med_qa"], read(loader, "med_qa")[0])
    assert text.startswith(
        "The following are multiple choice questions (with answers) about medicine.\n\nQuestion: A junior orthopaedic"
    )
    assert "\nA. Disclose the error to the patient and put it in the operative report\nB. " in text
    assert text.endswith("\nAnswer:")


def test_medqa_takes_examples_where_there_are_some(tmp_path: Path) -> None:
    folder = tmp_path / "medqa"
    folder.mkdir()
    row = {"question": "Q?", "options": dict(zip("ABCD", 'wx"yz', strict=False)), "answer_idx": "B"}
    for split in ("train", "test"):
        (folder / f"medqa_us_4opt_{split}.jsonl").write_text(json.dumps(row) + "\n")
    made = read(DataLoader(tmp_path, tmp_path / "cache", offline=True), "med_qa")
    assert [one.split for one in made] == ["train", "test"]
    assert made[0].correct == ("x",)
    (folder / "medqa_us_4opt_test.jsonl").write_text(json.dumps({**row, "answer_idx": "E"}) + "\n")
    with pytest.raises(DataError, match="line 1"):
        read(DataLoader(tmp_path, tmp_path / "cache", offline=True), "med_qa")


def test_pubmedqa_prompt_is_helms(loader: DataLoader) -> None:
    instances = read(loader, "pubmed_qa")
    text = prompt(NAMED["pubmed_qa"], instances[0])
    assert text.startswith(
        "Answer A for yes, B for no or C for maybe. Do not include any explanation or additional text. Output only "
        "the letter on a single line.\n\nQuestion: Context: Background. Programmed cell death"
    )
    assert "\n\nQuestion: Do mitochondria play a role in remodelling lace plant leaves during" in text
    assert text.endswith("?\n\nA. yes\nB. no\nC. maybe\nAnswer:")
    official = read(loader, "pubmed_qa", split="official")
    assert len(official) == 500
    assert {one.id for one in official} < {one.id for one in instances}


def test_mbpp_prompt_is_lm_evals(loader: DataLoader) -> None:
    instances = read(loader, "mbpp")
    examples = [one for one in instances if one.split == "train"]
    text = prompt(NAMED["mbpp"], next(one for one in instances if one.id == "11"), *examples)
    assert text.startswith(
        "You are an expert Python programmer, and here is your task: Write a function to find the similar elements "
        "from the given two tuple lists. Your code should pass these tests:\n\nassert similar_elements((3, 4, 5, 6),"
        "(5, 7, 4, 10)) == (4, 5)\n"
    )
    assert "\n[BEGIN]\ndef similar_elements(test_tup1, test_tup2):\r\n" in text
    assert text.count("\n[DONE]\n\nYou are an expert") == 3
    assert text.endswith("\n[BEGIN]\n")


def test_big_bench_hard_prompt_is_the_authors(loader: DataLoader, data_root: Path) -> None:
    instances = read(loader, "bbh", task="word_sorting")
    file = (data_root / "bbh" / "cot-prompts" / "word_sorting.txt").read_text(encoding="utf-8")
    examples = file.split("-----\n", 1)[1]
    theirs = f"{examples}\n\nQ: {_question(data_root, 'word_sorting')}\nA: Let's think step by step."
    assert prompt(NAMED["bbh"], instances[0]) == theirs
    assert "canary" not in theirs
    assert len(TASKS) == 27
    assert {one.subset for one in read(loader, "bbh")} == set(TASKS)


def _question(data_root: Path, task: str) -> str:
    whole = json.loads((data_root / "bbh" / "bbh" / f"{task}.json").read_text(encoding="utf-8"))
    return str(whole["examples"][0]["input"])


def test_ifeval_keeps_what_its_checks_need(loader: DataLoader) -> None:
    first = read(loader, "ifeval")[0]
    assert first.extra["instructions"][0] == "punctuation:no_comma"
    assert len(first.extra["instructions"]) == len(first.extra["arguments"]) == 3
    assert prompt(NAMED["ifeval"], first) == first.input + "\n"


def test_mt_bench_has_two_turns_references_and_temperatures(loader: DataLoader) -> None:
    instances = read(loader, "mt_bench")
    assert all(len(one.turns) == 1 for one in instances)
    assert sum(len(one.correct) == 2 for one in instances) == 30
    assert Counter(one.subset for one in instances)["writing"] == 10
    scenario = NAMED["mt_bench"]
    assert scenario.vary is not None
    assert scenario.vary(scenario.adaptation, {"category": "writing"}).temperature == 0.7
    assert scenario.vary(scenario.adaptation, {"category": "math"}).temperature == 0.0
    assert len(read(loader, "mt_bench", category="math")) == 10


def test_text_to_sql_fills_in_its_templates(loader: DataLoader) -> None:
    first = read(loader, "text_to_sql")[0]
    assert first.input.endswith("\n\nQuestion: what is the biggest city in arizona")
    assert "\ncity(city_name, state_name, population, country_name)\n" in first.input
    assert 'CITYalias0.STATE_NAME = "arizona"' in first.correct[0]
    assert not any(
        "name0" in text for one in read(loader, "text_to_sql") for text in (one.input, one.correct[0])
    )


def test_restaurants_are_read_in_the_same_way(tmp_path: Path) -> None:
    folder = tmp_path / "text2sql"
    folder.mkdir()
    (folder / "restaurants-db.added-in-2020.sqlite").write_bytes(b"")
    (folder / "restaurants-schema.csv").write_text(
        "Table Name, Field Name, Is Primary Key\n-, -, -\nRESTAURANT, NAME, n\nRESTAURANT, RATING, n\n"
    )
    row = {
        "query-split": "0",
        "sentences": [
            {"question-split": "3", "text": "a good food_type0 place", "variables": {"food_type0": "thai"}}
        ],
        "sql": ['SELECT NAME FROM RESTAURANT WHERE FOOD = "food_type0" AND RATING > rating0'],
        "variables": [{"name": "rating0", "example": "2.5"}],
    }
    (folder / "restaurants.json").write_text(json.dumps([row]))
    (made,) = read(
        DataLoader(tmp_path, tmp_path / "cache", offline=True), "text_to_sql", database="restaurants"
    )
    assert made.split == "test"
    assert made.input == "Tables:\nrestaurant(name, rating)\n\nQuestion: a good thai place"
    assert made.correct == ('SELECT NAME FROM RESTAURANT WHERE FOOD = "thai" AND RATING > 2.5',)


def test_xstest_expects_help_with_the_safe_ones(loader: DataLoader) -> None:
    counted = Counter((one.subset, one.extra["expect"]) for one in read(loader, "xstest"))
    assert counted == {("safe", "help"): 250, ("unsafe", "safe_refusal"): 200}


@pytest.mark.parametrize(("task", "size"), [("email", 50 * 75), ("table", 100 * 75), ("code", 50 * 50)])
def test_injections_stand_where_they_should(loader: DataLoader, task: str, size: int) -> None:
    for position in ("end", "start", "middle"):
        instances = read(loader, "prompt_injection", task=task, position=position)
        assert len(instances) == size
        assert all(one.extra["instruction"] in one.input for one in instances)
        assert instances == read(loader, "prompt_injection", task=task, position=position)
    start = read(loader, "prompt_injection", task=task, position="start")[0]
    assert f":\n{start.extra['instruction']}\n" in start.input


def test_persuasion(loader: DataLoader) -> None:
    pairs = read(loader, "persuasion_pairs")
    share = sum(one.references[0].correct for one in pairs) / len(pairs)
    assert 0.45 < share < 0.55  # no place is favoured
    assert not any("<br" in reference.text for one in pairs for reference in one.references)
    writing = read(loader, "persuasion_writing")
    texts = {reference.text for one in pairs for reference in one.references}
    assert all(one.correct[0] in texts for one in writing)
    assert {one.subset for one in writing} == {one.subset for one in pairs}


def test_pictures(loader: DataLoader) -> None:
    instances = read(loader, "easy_vqa")
    assert all(one.images[0].data.startswith(b"\x89PNG") for one in instances[:50])
    assert len({id(one.images[0]) for one in instances}) == 1000  # a picture's bytes are in memory once
    assert set(Counter(one.subset for one in instances)) == {"yes_no", "shape", "colour"}


def test_arithmetic_is_right_and_drawn_from_the_seed(tmp_path: Path) -> None:
    def made(seed: int) -> list[Instance]:
        return read(DataLoader(None, tmp_path, seed, offline=True), "arithmetic_tools")

    for one in made(0):
        assert eval(one.input.removeprefix("What is ").removesuffix("?")) == int(one.correct[0])
    assert made(0) == made(0) != made(1)
