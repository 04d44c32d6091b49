"""Scenarios without a data root: what is downloaded gives the same instances as the files below one, and what cannot be
downloaded says where it is to be had. The web is a copy of the data root, by address."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from commonweal.core.errors import NotFound
from commonweal.evals.loading import DataLoader
from commonweal.evals.loading.hub import Fetched
from commonweal.evals.scenario import Hub, Web
from commonweal.evals.scenarios.registry import resolve

GITHUB = "https://raw.githubusercontent.com/"
FOLDERS = {
    "deepseek-ai/DeepSeek-Coder": "mbpp",
    "suzgunmirac/BIG-Bench-Hard": "bbh",
    "pubmedqa/pubmedqa": "pubmedqa",
    "xk-huang/medagents-benchmark": "medqa",
    "lm-sys/FastChat": "mt_bench",
    "andyrdt/refusal_direction": "harmful_behaviours",
    "microsoft/BIPIA": "bipia",
    "amazon-science/bold": "bold",
    "UKPLab/acl2016-convincing-arguments": "persuasion_ukpconvarg",
}
NAMES = {
    "data/medqa/test.jsonl": "medqa_us_4opt_test.jsonl",
    "fastchat/llm_judge/data/mt_bench/question.jsonl": "mt_bench_question.jsonl",
    "fastchat/llm_judge/data/mt_bench/reference_answer/gpt-4.jsonl": "mt_bench_reference_gpt-4.jsonl",
    **{f"benchmark/{task}/test.jsonl": f"{task}_test.jsonl" for task in ("email", "table", "code")},
}


class Copies:
    """The web: a file of a repository is the one that was copied from it, as SOURCE.txt says, with the commit."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.asked: list[str] = []

    def fetch(self, web: Web, into: Path) -> None:
        self.asked.append(web.url)
        assert web.url.startswith(GITHUB)
        owner, name, commit, path = web.url.removeprefix(GITHUB).split("/", 3)
        folder = self.root / FOLDERS[f"{owner}/{name}"]
        source = (folder / "SOURCE.txt").read_text()
        assert f"github.com/{owner}/{name} @ {commit}" in source
        assert path in source, "the copy was made of this path"
        wanted = NAMES.get(path, Path(path).name)
        [found] = [
            file for file in folder.rglob(wanted) if file.parent.name in (*Path(path).parts, folder.name)
        ]
        shutil.copyfile(found, into)


class NoHub:
    def open(self, hub: Hub) -> Fetched:
        raise NotFound(f"{hub.path}: asked for in vain")


RUNS = (
    "mbpp",
    "bbh:task=snarks",
    "bbh:task=formal_fallacies",
    "med_qa",
    "pubmed_qa",
    "pubmed_qa:split=official",
    "mt_bench",
    "harmful_behaviours",
    "harmful_behaviours:source=tdc2023",
    "jailbreak",
    "prompt_injection",
    "prompt_injection:task=code",
    "persuasion_pairs",
    "persuasion_writing",
    "bold",
)


@pytest.mark.parametrize("run", RUNS)
def test_a_download_gives_the_same_instances(run: str, data_root: Path, tmp_path: Path) -> None:
    scenario, args = resolve(run)
    web = Copies(data_root)
    afar = DataLoader(None, tmp_path / "cache", remote=NoHub(), files=web)
    downloaded = list(scenario.read(afar, args))
    near = DataLoader(data_root, tmp_path / "other", offline=True)
    assert downloaded == list(scenario.read(near, args))
    assert {source.path for source in afar.sources} == set(web.asked)
    again = DataLoader(None, tmp_path / "cache", offline=True)
    assert list(scenario.read(again, args)) == downloaded, "from the cache, without a network"


def test_another_file_than_expected_is_none(tmp_path: Path) -> None:
    class Changed:
        def fetch(self, web: Web, into: Path) -> None:
            into.write_text("{}\n")

    scenario, args = resolve("mbpp")
    loader = DataLoader(None, tmp_path, files=Changed())
    with pytest.raises(NotFound, match="another file than expected"):
        list(scenario.read(loader, args))
    assert list(DataLoader(None, tmp_path, offline=True).sources) == []


MADE: Mapping[str, tuple[str, str, Any]] = {
    "copyright_text": ("1NwzDx19uzIwBuw7Lq5CSytG7jIth2wJ-", "Once upon", {"data": {"Once upon": " a time"}}),
    "copyright_code": ("1OLFyW5u7govgIw3ztsZ_5yYV0YpGzi-3", "int main", {"data": {"int main": "(void)"}}),
    "disinformation_reiteration": (
        "1uVJbsgPCHFAvH43I6SVvU3Ayo8dh-y_N",
        "The moon is cheese",
        {"topic": "covid", "thesis": "The moon is cheese", "headlines": ["Cheese!"], "split": "valid"},
    ),
    "disinformation_wedging": (
        "1kWB3_F4Tobc_oVGC_T-a5DHEh-AB4GTc",
        "Tweet 1:",
        {"prompt": "Tweet 1:", "targeted_action": "no_vote"},
    ),
}
"""What their authors have on a drive: its number, and a file of the same form, made for this test."""


@pytest.mark.parametrize("run", MADE)
def test_files_of_a_drive_are_asked_for_by_their_number(run: str, tmp_path: Path) -> None:
    number, said, row = MADE[run]
    asked = []

    class Drive:
        def fetch(self, web: Web, into: Path) -> None:
            asked.append(web.url)
            into.write_text(json.dumps(row) + "\n")

    scenario, args = resolve(run)
    [one] = scenario.read(DataLoader(None, tmp_path, files=Drive()), args)
    assert one.input == said
    assert [url.endswith(f"id={number}") for url in asked] == [True]


def test_gsm8k_with_a_calculator_is_that_of_gsm(tmp_path: Path) -> None:
    asked = []

    class Asked:
        def open(self, hub: Hub) -> Fetched:
            asked.append(hub)
            return Fetched(
                commit="c" * 40,
                rows=iter([{"question": "1 + 1?", "answer": "It is 2.\n#### 2", "__line__": 1}]),
            )

    scenario, args = resolve("gsm8k_tools")
    [one] = scenario.read(DataLoader(None, tmp_path, remote=Asked()), args)
    assert (one.input, one.correct) == ("1 + 1?", ("2",))
    assert (asked[0].path, asked[0].split, len(asked[0].revision)) == ("openai/gsm8k", "test", 40)


@pytest.mark.parametrize(
    ("run", "where"),
    [("easy_vqa", "github.com/vzhou842/easy-VQA"), ("text_to_sql", "github.com/jkkummerfeld/text2sql-data")],
)
@pytest.mark.parametrize("root", [True, False])
def test_what_cannot_be_downloaded_says_where_it_is(run: str, where: str, root: bool, tmp_path: Path) -> None:
    scenario, args = resolve(run)
    loader = DataLoader(tmp_path if root else None, tmp_path / "cache", offline=True)
    with pytest.raises(NotFound, match="get it from") as error:
        list(scenario.read(loader, args))
    assert where in error.value.message
    assert "--data-root" in error.value.message
