"""The gate promotes what is better and refuses the rest, with a reason; the steps around it."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from commonweal.core.completion import Choice, Token
from commonweal.core.errors import DataError
from commonweal.core.hashing import BlobHash
from commonweal.serve.community.datasets import DataSet
from commonweal.serve.community.gate import Change, GateRules, Measured, Scenario, decide, paired
from commonweal.serve.community.heldout import Question, questions, requests, value
from commonweal.serve.community.improvements import scenario_from, scenario_json
from commonweal.serve.community.improving import (
    TooLittleFeedback,
    enough,
    held_out_side,
    training_side,
    values,
)


def scenario(
    name: str, mean: float, half: float = 0.01, n: int = 100, *, higher_is_better: bool = True
) -> Scenario:
    measured = Measured(value=0.5, low=0.4, high=0.6, n=n)
    return Scenario(
        name=name,
        metric="accuracy",
        current=measured,
        candidate=Measured(value=0.5 + mean, low=0.4, high=0.6, n=n),
        change=Change(mean=mean, low=mean - half, high=mean + half, n=n),
        higher_is_better=higher_is_better,
    )


BETTER = scenario("feedback/dpo", 0.1)
RULES = GateRules()


def test_better_and_nothing_worse_is_promoted() -> None:
    decision = decide([BETTER], [scenario("boolq", 0.0)], RULES)
    assert decision.verdict == "promote"
    assert "feedback/dpo" in decision.reason
    assert "boolq" in decision.reason


@pytest.mark.parametrize(
    ("held_out", "guards", "rules", "words"),
    [
        ([scenario("feedback/dpo", 0.005)], [], RULES, "no difference that noise cannot explain"),
        ([scenario("feedback/dpo", -0.1)], [], RULES, "worse beyond noise on feedback/dpo"),
        ([BETTER, scenario("feedback/sft", -0.1)], [], RULES, "worse beyond noise on feedback/sft"),
        ([BETTER], [scenario("boolq", -0.1)], RULES, "worse beyond noise on boolq"),
        ([BETTER], [scenario("ece", 0.1, higher_is_better=False)], RULES, "worse beyond noise on ece"),
        ([BETTER], [], GateRules(guards=("boolq",)), "boolq was not measured"),
        ([BETTER], [scenario("boolq", 0.0, n=3)], RULES, "boolq: 3 instances, and 10 are needed"),
        ([scenario("feedback/dpo", 0.3, n=3)], [], RULES, "3 instances, and 10 are needed"),
        ([], [], RULES, "no held-out feedback"),
        ([scenario("feedback/dpo", math.nan)], [], RULES, "nothing could be compared"),
    ],
)
def test_what_is_refused_says_why(
    held_out: list[Scenario], guards: list[Scenario], rules: GateRules, words: str
) -> None:
    decision = decide(held_out, guards, rules)
    assert decision.verdict == "refuse"
    assert words in decision.reason


def test_a_loss_within_the_tolerance_passes() -> None:
    guards = [scenario("boolq", -0.03)]
    assert decide([BETTER], guards, RULES).verdict == "refuse"
    assert decide([BETTER], guards, GateRules(tolerance=0.05)).verdict == "promote"


def test_an_infinite_interval_tells_nothing() -> None:
    wide = Scenario(
        name="boolq",
        metric="accuracy",
        current=None,
        candidate=None,
        change=Change(mean=-0.5, low=-math.inf, high=math.inf, n=50),
    )
    assert decide([BETTER], [wide], RULES).verdict == "promote"
    assert decide([wide], [], RULES).verdict == "refuse"


_SCORES = st.dictionaries(st.integers(0, 40).map(str), st.sampled_from([0.0, 0.5, 1.0]), min_size=12)


@given(_SCORES, _SCORES)
def test_of_two_models_at_most_one_replaces_the_other(a: dict[str, float], b: dict[str, float]) -> None:
    there = decide([paired("f", "m", a, b)], [], RULES)
    back = decide([paired("f", "m", b, a)], [], RULES)
    assert "promote" not in (there.verdict, back.verdict) or there.verdict != back.verdict


@given(_SCORES)
def test_a_model_does_not_replace_itself(a: dict[str, float]) -> None:
    assert decide([paired("f", "m", a, a)], [paired("g", "m", a, a)], RULES).verdict == "refuse"


DPO = {
    "input": {"messages": [{"role": "user", "content": "Q"}]},
    "preferred_output": [{"role": "assistant", "content": "good"}],
    "non_preferred_output": [{"role": "assistant", "content": "bad, long"}],
}
KTO = {
    "messages": [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "bad"}],
    "label": False,
}


def scored(*logprobs: float) -> Choice:
    return Choice(text="", tokens=tuple(Token(text="t", logprob=p) for p in logprobs))


def test_pairs_are_compared_by_token_and_bad_answers_count_against() -> None:
    (pair,) = questions("dpo.heldout.jsonl", json.dumps(DPO).encode() + b"\n")
    assert [r.continuation for r in requests(pair, "m")] == ["good", "bad, long"]
    assert requests(pair, "m")[0].kind == "score"
    assert value(pair, [scored(-1.0), scored(-0.6, -0.6)]) == 0.0
    assert value(pair, [scored(-0.5), scored(-0.6, -0.6)]) == 1.0
    assert value(pair, [scored(-0.5), scored(-0.5, -0.5)]) == 0.5
    assert value(pair, [scored(-0.5), Choice(text="")]) is None
    (bad,) = questions("kto.heldout.jsonl", json.dumps(KTO).encode())
    assert value(bad, [scored(-2.0)]) == 2.0
    assert list(questions("sft.heldout.jsonl", b"")) == []


@pytest.mark.parametrize("line", [b"nonsense", b"[]", b'{"messages": []}', b'{"input": {}}'])
def test_a_line_that_cannot_be_read_is_named(line: bytes) -> None:
    with pytest.raises(DataError, match="line 2"):
        list(questions("dpo.heldout.jsonl", json.dumps(DPO).encode() + b"\n" + line))


def dataset(*files: str) -> DataSet:
    return DataSet(
        id="ds_1",
        built_by="operator",
        created=1.0,
        manifest={"files": {name: {"examples": 3} for name in files}, "feedback": ["fdb_1"]},
        files={name: BlobHash("0" * 64) for name in files},
    )


def test_pairs_are_learned_before_edits_and_edits_before_thumbs() -> None:
    three = ("kto.train.jsonl", "sft.train.jsonl", "dpo.train.jsonl")
    assert training_side(dataset(*three)) == ("dpo.train.jsonl", "dpo")
    assert training_side(dataset(*three[:2])) == ("sft.train.jsonl", "supervised")
    assert training_side(dataset(*three[:1])) == ("kto.train.jsonl", "kto")
    with pytest.raises(TooLittleFeedback, match="nothing to train on"):
        training_side(dataset("dpo.heldout.jsonl"))


def test_enough_is_enough_of_one_kind() -> None:
    def side(pairs: int, bad: int) -> list[Question]:
        lines = [
            json.dumps({**DPO, "input": {"messages": [{"role": "user", "content": f"Q{i}"}]}})
            for i in range(pairs)
        ]
        data = {
            "dpo.heldout.jsonl": "\n".join(lines),
            "kto.heldout.jsonl": "\n".join([json.dumps(KTO)] * bad),
        }
        return held_out_side(dataset(*data), lambda _, name: data[name].encode())

    enough(side(10, 1), RULES)
    with pytest.raises(TooLittleFeedback, match=r"12 held-out examples \(6 dpo, 6 kto\) are too few"):
        enough(side(6, 6), RULES)


def test_only_questions_that_were_scored_count() -> None:
    (pair,) = questions("dpo.heldout.jsonl", json.dumps(DPO).encode())
    assert values([pair], [[Choice(text=""), scored(-1.0)]]) == {}
    assert values([pair], [[scored(-0.5), scored(-1.0)]]) == {"dpo": {pair.id: 1.0}}


@pytest.mark.parametrize(
    "one",
    [
        scenario("a", 0.1, higher_is_better=False),
        paired("one", "m", {"x": 1.0}, {"x": 2.0}),
        Scenario(name="none", metric="m", current=None, candidate=None, change=None),
    ],
)
def test_a_measure_is_the_same_after_a_kill(one: Scenario) -> None:
    """What was measured is stored as JSON, which has no infinity."""
    stored = json.loads(json.dumps(scenario_json(one), allow_nan=False))
    assert scenario_from(stored) == one
    assert decide([scenario_from(stored)], [], RULES) == decide([one], [], RULES)


def test_the_reason_is_one_line() -> None:
    decision = decide([BETTER], [scenario(f"g{i}", -0.5) for i in range(9)], RULES)
    assert "\n" not in decision.reason
