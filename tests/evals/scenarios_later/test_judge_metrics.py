from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from making_samples import Judge as Says
from making_samples import instance, sample

from commonweal.core.completion import CompletionFailed
from commonweal.evals.metrics import judge_prompts
from commonweal.evals.metrics.aggregate import Table
from commonweal.evals.metrics.judge import (
    JUDGE,
    PAIRWISE_JUDGE,
    JudgeAnnotator,
    JudgeScore,
    PairwiseAnnotator,
    PairwiseScore,
)
from commonweal.evals.metrics.judging import Judge, rating, score, verdict
from commonweal.evals.metrics.metric import Tools

TURNS = instance(text="Name a river.", turns=("And another.",))


def judge(says: Says) -> Judge:
    return Judge(completer=says, model="judge-1")


def test_the_prompts_are_fastchats_word_for_word(data_root: Path) -> None:
    named = {
        "single-v1": judge_prompts.SINGLE,
        "single-math-v1": judge_prompts.SINGLE_MATH,
        "single-v1-multi-turn": judge_prompts.SINGLE_TURNS,
        "single-math-v1-multi-turn": judge_prompts.SINGLE_MATH_TURNS,
    }
    rows = [
        json.loads(line) for line in (data_root / "mt_bench" / "judge_prompts.jsonl").open(encoding="utf-8")
    ]
    published = {row["name"]: (row["system_prompt"], row["prompt_template"]) for row in rows}
    for name, prompt in named.items():
        assert (prompt.system, prompt.template) == published[name]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("Rating: [[5]]", 5.0),
        ("Rating: [[7.5]] of [[10]]", 7.5),
        ("I give it [8].", 8.0),
        ("[1] says otherwise. Rating: [[3]]", 3.0),
        ("Rating: 5", None),
        ("[[rating]]", None),
        ("[[0]]", None),
        ("[[11]]", None),
        ("", None),
    ],
)
def test_ratings(text: str, value: float | None) -> None:
    assert rating(text) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("<reasoning>x</reasoning>\n<score>\n0.5\n</score>", 0.5),
        ("<Score>1<score>", 1.0),
        ("<score>2</score>", None),
        ("<score>yes</score>", None),
        ("1", None),
        ("<score>nan</score>", None),
    ],
)
def test_scores(text: str, value: float | None) -> None:
    assert score(text) == value


def test_verdicts() -> None:
    assert [
        verdict(text) for text in ("[[A]]", "[[B]] and again [[B]]", "[[C]]", "[[A]] [[B]]", "A", "")
    ] == [
        "A",
        "B",
        "C",
        None,
        None,
        None,
    ]


def test_both_turns_are_rated_with_their_prompts() -> None:
    says = Says(lambda asked: "Fine. [[9]]" if "### User:" in asked else "Good. [[4]]")
    asked = sample(TURNS, "The {Rhine}.", "The Elbe.")
    found = asyncio.run(JudgeAnnotator(judge(says)).annotate(asked))
    assert found["ratings"] == [4.0, 9.0]
    assert found["judge"] == "judge-1"
    first, second = says.asked
    assert first.model == "judge-1"
    assert first.temperature == 0.0
    assert first.messages is not None
    assert second.messages is not None
    assert "[The Start of Assistant's Answer]\nThe {Rhine}.\n" in first.messages[-1].content
    assert "### Assistant A:\nThe {Rhine}.\n\n### User:\nAnd another.\n\n### Assistant A:\nThe Elbe.\n" in (
        second.messages[-1].content
    )
    scores = JudgeScore().score(sample(TURNS, "a", "b", judge=found))
    assert scores == {"judge_score": 6.5, "judge_score_turn_1": 4.0, "judge_score_turn_2": 9.0}


def test_reference_answers_are_shown_where_there_are_some() -> None:
    says = Says(lambda asked: "[[10]]")
    known = instance("42", "43", text="6 * 7?", turns=("And one more?",))
    asyncio.run(JudgeAnnotator(judge(says)).annotate(sample(known, "42", "43")))
    texts = [request.messages[-1].content for request in says.asked if request.messages]
    assert "[The Start of Reference Answer]\n42\n[The End of Reference Answer]" in texts[0]
    assert "### Reference answer:\n42\n" in texts[1]
    assert "### Reference answer:\n43\n" in texts[1]


def test_nonsense_gives_no_number_and_a_reason() -> None:
    found = asyncio.run(
        JudgeAnnotator(judge(Says(lambda asked: "Lovely!"))).annotate(sample(instance(), "x"))
    )
    assert "has no rating" in found["missing"]
    table = Table([JUDGE])
    table.add(sample(instance(), "x", judge=found))
    stats = {stat.name: stat for stat in table.stats()}
    assert stats["judge_score"].mean is None
    assert "the judge's answer has no rating" in stats["judge_score"].reason


def test_one_turn_without_a_rating_is_left_out() -> None:
    says = Says(lambda asked: "??" if "### User:" in asked else "[[4]]")
    found = asyncio.run(JudgeAnnotator(judge(says)).annotate(sample(TURNS, "a", "b")))
    assert "missing" not in found
    assert JudgeScore().score(sample(TURNS, "a", "b", judge=found)) == {
        "judge_score": 4.0,
        "judge_score_turn_1": 4.0,
    }


def test_without_a_judge_it_is_not_measured() -> None:
    assert JUDGE.annotator is not None
    found = asyncio.run(JUDGE.annotator(Tools()).annotate(sample(instance(), "x")))
    assert found == {"missing": "no judge"}
    table = Table([JUDGE])
    table.add(sample(instance(), "x", judge=found))
    assert {stat.reason for stat in table.stats() if stat.name == "judge_score"} == {"no judge"}


def test_a_judge_that_refuses_gives_a_reason_and_one_that_is_away_fails_the_sample() -> None:
    found = asyncio.run(JudgeAnnotator(judge(Says("refused"))).annotate(sample(instance(), "x")))
    assert "did not answer (refused)" in found["said"][0]
    assert JudgeScore().score(sample(instance(), "x", judge=found)) == {}
    with pytest.raises(CompletionFailed):
        asyncio.run(JudgeAnnotator(judge(Says("unreachable"))).annotate(sample(instance(), "x")))


def compared(says: Says) -> dict[str, float]:
    asked = sample(instance("theirs", question="Debate?"), "mine")
    found = asyncio.run(PairwiseAnnotator(judge(says)).annotate(asked))
    return PairwiseScore().score(sample(asked.instance, "mine", pairwise_judge=found))


def test_pairs_are_asked_in_both_orders() -> None:
    def better(asked: str) -> str:
        return "[[A]]" if asked.index("mine") < asked.index("theirs") else "[[B]]"

    assert compared(Says(better)) == {"pairwise_win_rate": 1.0, "pairwise_consistency": 1.0}
    worse = {"[[A]]": "[[B]]", "[[B]]": "[[A]]"}
    assert compared(Says(lambda asked: worse[better(asked)])) == {
        "pairwise_win_rate": 0.0,
        "pairwise_consistency": 1.0,
    }
    assert compared(Says(lambda asked: "[[C]]")) == {"pairwise_win_rate": 0.5, "pairwise_consistency": 1.0}
    always_first = compared(Says(lambda asked: "[[A]]"))
    assert always_first == {"pairwise_win_rate": 0.5, "pairwise_consistency": 0.0}
    assert compared(Says(lambda asked: "both")) == {}


def test_the_families_name_all_that_they_give() -> None:
    given = JudgeScore().score(sample(TURNS, "a", "b", judge={"ratings": [1.0, 2.0]}))
    assert set(given) == {definition.name for definition in JUDGE.definitions}
    assert set(compared(Says(lambda asked: "[[C]]"))) == {d.name for d in PAIRWISE_JUDGE.definitions}
