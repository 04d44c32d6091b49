"""The questions, the index's indicators and the score: pure tables, compared with the documents and with each other."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from commonweal.labels.facts import Fact, Facts, Label, Record, not_applicable, told
from commonweal.labels.indicators import ASKED, INDICATORS
from commonweal.labels.questions import BY_KEY, QUESTIONS, SECTIONS
from commonweal.labels.score import score

DOC = (Path(__file__).parents[2] / "docs" / "labels.md").read_text(encoding="utf-8")
RECORD = Record(kind="word", id="somebody")


def label(*facts: Fact) -> Label:
    gathered = Facts()
    gathered.add(*facts)
    return Label(model="m", source="word", facts=gathered.all())


def test_the_index_is_whole() -> None:
    assert Counter(one.domain for one in INDICATORS) == {"Upstream": 32, "Model": 33, "Downstream": 35}
    assert len({one.name for one in INDICATORS}) == 100
    for one in INDICATORS:
        assert bool(one.questions) != bool(one.left_out), one.name
        assert set(one.questions) <= set(BY_KEY), one.name


def test_the_documents_name_every_indicator_and_why_some_are_left_out() -> None:
    section = DOC.split("## The transparency score")[1].split("\n## ")[0]
    asked = dict(re.findall(r"^\| ([^|]+) \| \w+ \| ([^|]+) \|$", section, flags=re.M))
    for one in ASKED:
        assert set(re.findall(r"`([^`]+)`", asked[one.name])) == set(one.questions), one.name
    left = {
        name: why
        for names, why in re.findall(r"^\| ([^|]+) \| ([^|]+) \|$", section, flags=re.M)
        for name in names.split("; ")
    }
    for one in INDICATORS:
        if one.left_out:
            assert left[one.name] == one.left_out
    assert f"Of these a label asks\n{len(ASKED)};" in section


def test_the_documents_list_the_questions() -> None:
    for section, title in SECTIONS.items():
        names = [question.key.partition(".")[2] for question in QUESTIONS if question.section == section]
        assert f"| `{section}` | {title} | " + ", ".join(f"`{name}`" for name in names) + " |" in DOC
    assert len(BY_KEY) == len(QUESTIONS)


def test_nothing_told_is_nothing_counted() -> None:
    empty = score(label())
    assert empty.whole.told == ()
    assert (empty.whole.asked, empty.facts_untold) == (len(ASKED), len(QUESTIONS))
    assert sum(part.asked for part in empty.parts.values()) == len(ASKED)
    assert empty.whole.share == 0


def test_a_fact_counts_when_it_is_whole() -> None:
    assert score(label(told("data.size", "much", RECORD))).whole.told == ("Data size",)
    part = score(label(told("data.size", "much", RECORD, missing="of what")))
    assert part.whole.told == ()
    assert part.facts_told == 1


def test_all_or_any_of_several_facts() -> None:
    bias = told("evaluation.bias", "measured", RECORD)
    assert score(label(bias)).whole.told == ("Unintentional harm evaluation",)
    accuracy, again = told("evaluation.accuracy", "x", RECORD), told("evaluation.again", "x", RECORD)
    assert score(label(again)).whole.told == ()
    assert len(score(label(accuracy, again)).whole.told) == 2


def test_what_does_not_apply_is_not_asked_and_is_told() -> None:
    found = score(label(not_applicable("alignment.feedback", "none was used", RECORD)))
    assert found.whole.asked == len(ASKED) - 1
    assert found.whole.not_applicable == ("Feedback summary",)
    assert found.facts_not_applicable == 1


@pytest.mark.parametrize("key", ["data.size", "evaluation.bias"])
def test_what_was_told_first_counts(key: str) -> None:
    first, second = told(key, "first", RECORD), told(key, "second", RECORD)
    assert label(Fact(key=key), first, second).fact(key).text == "first"
