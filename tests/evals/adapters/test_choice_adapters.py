"""From answers to the chosen option and its probability."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from commonweal.core.completion import Abilities, Choice, Completion, CompletionFailed, Token
from commonweal.evals.adaptation import Adaptation
from commonweal.evals.adapters.registry import make_adapter
from commonweal.evals.adapters.resolve import ANSWER_TOKENS, resolve
from commonweal.evals.instance import Instance, Reference
from commonweal.evals.sample import Answer, Sample

OPTIONS = ("red fox", "blue", "green")
QUESTION = Instance(
    id="q", input="Which?", references=tuple(Reference(text=o, correct=o == "blue") for o in OPTIONS)
)
JOINT = Adaptation(method="multiple_choice_joint", output_prefix="Answer: ", max_tokens=1)
SEPARATE = Adaptation(
    method="multiple_choice_separate",
    input_prefix="",
    input_suffix="",
    output_prefix=" ",
    output_suffix="",
    shots=0,
    max_tokens=0,
)
CALIBRATED = replace(SEPARATE, method="multiple_choice_separate_calibrated")


def joint(*choices: Choice, adaptation: Adaptation = JOINT) -> Sample:
    adapter = make_adapter(adaptation, model="m", abilities=Abilities())
    (made,) = adapter.asks(QUESTION, (), ())
    answer = Answer(ask=made, completion=Completion(choices=choices))
    assert adapter.asks(QUESTION, (), (answer,)) == ()
    return adapter.sample(QUESTION, 0, (answer,))


def token(text: str, **top: float) -> Token:
    return Token(
        text=text, logprob=-0.1, top={name.replace("_", " "): math.log(p) for name, p in top.items()}
    )


def test_the_letters_probabilities_are_scaled_to_one() -> None:
    sample = joint(Choice(text=" B", tokens=(token(" B", _B=0.5, B=0.1, _A=0.2, the=0.1),)))

    assert (sample.chosen, sample.output) == (1, "blue")
    assert sample.probabilities == pytest.approx((0.25, 0.75, 0.0))


def test_the_letter_may_stand_later_in_a_sentence() -> None:
    tokens = (token("The", The=0.9), token(" answer", answer=0.9), token(" is"), token(" C", _C=0.6, _A=0.2))
    sample = joint(Choice(text="The answer is C", tokens=tokens))

    assert sample.chosen == 2
    assert sample.probabilities == pytest.approx((0.25, 0.0, 0.75))


def test_an_answer_that_is_no_option_keeps_its_text() -> None:
    sample = joint(Choice(text=" perhaps", tokens=(token(" perhaps", _perhaps=0.5, _A=0.1),)))

    assert (sample.chosen, sample.output) == (None, "perhaps")
    assert sample.probabilities == pytest.approx((1.0, 0.0, 0.0))


@pytest.mark.parametrize("tokens", [(), (Token(text=" B", logprob=-1.0),), (token(" B", _x=0.5),)])
def test_probabilities_that_are_not_told_are_not_made_up(tokens: tuple[Token, ...]) -> None:
    assert joint(Choice(text=" B", tokens=tokens)).probabilities == ()


def test_several_outputs_are_asked_for_at_a_temperature_only() -> None:
    sampled = replace(JOINT, outputs=3, temperature=0.7)
    adapter = make_adapter(sampled, model="m", abilities=Abilities())
    (made,) = adapter.asks(QUESTION, (), ())
    (greedy,) = make_adapter(replace(JOINT, outputs=3), model="m", abilities=Abilities()).asks(
        QUESTION, (), ()
    )

    assert (made.request.n, greedy.request.n) == (3, 1)
    sample = joint(Choice(text="B"), Choice(text="no idea"), Choice(text="(A)"), adaptation=sampled)
    assert (sample.output, sample.outputs) == ("blue", ("blue", "no idea", "red fox"))


def test_alternatives_are_not_asked_of_a_model_that_has_none() -> None:
    for logprobs, wanted in ((None, 5), (True, 5), (False, None)):
        adapter = make_adapter(JOINT, model="m", abilities=Abilities(logprobs=logprobs))
        (made,) = adapter.asks(QUESTION, (), ())
        assert made.request.logprobs == wanted


def scored(*logprobs: float, sizes: tuple[int, ...] = (1,)) -> tuple[Choice, ...]:
    return tuple(
        Choice(text="", logprob=p, tokens=(Token(text="x"),) * sizes[i % len(sizes)])
        for i, p in enumerate(logprobs)
    )


def separate(adaptation: Adaptation, choices: tuple[Choice, ...]) -> Sample:
    adapter = make_adapter(adaptation, model="m", abilities=Abilities())
    asks = adapter.asks(QUESTION, (), ())
    assert len(asks) == len(choices)
    answers = tuple(
        Answer(ask=made, completion=Completion(choices=(choice,)))
        for made, choice in zip(asks, choices, strict=True)
    )
    return adapter.sample(QUESTION, 0, answers)


def test_options_are_scored_after_the_prompt_with_their_space() -> None:
    asks = make_adapter(CALIBRATED, model="m", abilities=Abilities()).asks(QUESTION, (), ())

    assert [(made.role, made.index) for made in asks] == [
        *((f"reference {i}", i) for i in range(3)),
        *((f"calibration {i}", i) for i in range(3)),
    ]
    first, last = asks[0].request, asks[-1].request
    assert (first.kind, first.prompt, first.continuation) == ("score", "Which?", " red fox")
    assert (last.prompt, last.continuation) == ("Answer:", " green")


def test_an_option_without_a_prompt_is_scored_from_its_beginning() -> None:
    alone = replace(SEPARATE, output_prefix="")
    instance = replace(QUESTION, input="")

    (first, *_) = make_adapter(alone, model="m", abilities=Abilities()).asks(instance, (), ())

    assert (first.request.prompt, first.request.continuation) == ("", "red fox")


def test_the_score_is_the_log_probability_a_token() -> None:
    """-6/3 = -2 against -3/1: the longer one wins, though its sum is lower."""
    sample = separate(SEPARATE, scored(-6.0, -3.0, -8.0, sizes=(3, 1, 2)))

    assert (sample.chosen, sample.output) == (0, "red fox")
    weights = [math.exp(score) for score in (-2.0, -3.0, -4.0)]
    assert sample.probabilities == pytest.approx([weight / sum(weights) for weight in weights])


def test_calibration_takes_off_the_options_own_probability() -> None:
    """Brown et al. 2020, section 2.4: P(completion | context) / P(completion | "Answer:")."""
    sample = separate(CALIBRATED, scored(-5.0, -2.0, -4.0, -9.0, -1.0, -4.0))

    assert sample.chosen == 0
    weights = [math.exp(score) for score in (4.0, -1.0, 0.0)]
    assert sample.probabilities == pytest.approx([weight / sum(weights) for weight in weights])


def test_the_first_of_equal_scores_is_chosen() -> None:
    sample = separate(SEPARATE, scored(-2.0, -1.0, -1.0))

    assert sample.chosen == 1
    assert sample.probabilities[1] == sample.probabilities[2]


def test_tokens_may_tell_what_the_sum_does_not() -> None:
    tokens = (Token(text="a", logprob=-1.0), Token(text="b", logprob=-2.0))
    sample = separate(SEPARATE, (*scored(-4.0, -4.0), Choice(text="", tokens=tokens)))

    assert sample.chosen == 2


@pytest.mark.parametrize(
    "choice", [Choice(text=""), Choice(text="", tokens=(Token(text="a"),)), Choice(text="", logprob=-1.0)]
)
def test_an_answer_without_log_probability_or_length_is_no_answer(choice: Choice) -> None:
    with pytest.raises(CompletionFailed) as raised:
        separate(SEPARATE, (*scored(-1.0, -1.0), choice))

    assert raised.value.kind == "unsupported"


def test_a_model_without_scores_is_asked_by_letter_and_told_so() -> None:
    made, reason = resolve(SEPARATE, Abilities(score=False))

    assert made.method == "multiple_choice_joint"
    assert "multiple_choice_separate" in reason
    (asked,) = make_adapter(made, model="m", abilities=Abilities(score=False)).asks(QUESTION, (), ())
    assert asked.request.prompt is not None
    assert asked.request.prompt.endswith("\nQuestion: Which?\nA. red fox\nB. blue\nC. green\nAnswer:")
    assert asked.request.max_tokens == 1


def test_a_model_that_chats_has_room_for_a_sentence() -> None:
    made, reason = resolve(CALIBRATED, Abilities(score=False, complete=False))

    assert (made.method, made.max_tokens) == ("multiple_choice_joint", ANSWER_TOKENS)
    assert "calibrated" in reason
    assert "by chat" in reason


@pytest.mark.parametrize(
    ("adaptation", "abilities"),
    [
        (JOINT, Abilities()),
        (SEPARATE, Abilities()),
        (SEPARATE, Abilities(complete=False, score=True)),
        (replace(JOINT, max_tokens=500), Abilities(complete=False)),
        (Adaptation(), Abilities(complete=False, score=False)),
        (Adaptation(method="language_modeling"), Abilities(score=False)),
    ],
)
def test_what_can_be_asked_stays_as_it_is(adaptation: Adaptation, abilities: Abilities) -> None:
    assert resolve(adaptation, abilities) == (adaptation, "")


def passages(*choices: Choice) -> Sample:
    adaptation = Adaptation(method="ranking_binary", max_tokens=5)
    adapter = make_adapter(adaptation, model="m", abilities=Abilities())
    asks = adapter.asks(QUESTION, (), ())
    assert [(made.role, made.index) for made in asks] == [(f"passage {i}", i) for i in range(3)]
    answers = tuple(
        Answer(ask=made, completion=Completion(choices=(choice,)))
        for made, choice in zip(asks, choices, strict=True)
    )
    return adapter.sample(QUESTION, 0, answers)


def test_passages_are_ranked_by_the_probability_of_yes() -> None:
    sample = passages(
        Choice(text="Yes", tokens=(token(" Yes", _Yes=0.6, _No=0.2),)),  # 0.75
        Choice(text=" No", logprob=math.log(0.5)),  # 0.5
        Choice(text=" Yes", logprob=math.log(0.25)),  # 0.25
    )

    assert sample.probabilities == pytest.approx((0.5, 1 / 3, 1 / 6))
    assert sample.chosen == 0


def test_one_passage_without_an_answer_leaves_the_probabilities_open() -> None:
    sample = passages(
        Choice(text="Yes", logprob=-0.1), Choice(text="hm", logprob=-0.1), Choice(text="No", logprob=-0.1)
    )

    assert (sample.probabilities, sample.chosen) == ((), None)
