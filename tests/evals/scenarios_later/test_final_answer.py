from __future__ import annotations

import pytest
from making_samples import instance, sample

from commonweal.evals.metrics.final_answer import FINAL_ANSWER, FinalAnswer, final_answer


@pytest.mark.parametrize(
    ("text", "gold", "right"),
    [
        ("... So the answer is False.", "False", 1.0),
        ("So the answer is (B).", "(B)", 1.0),
        ("So the answer is B.", "(B)", 0.0),
        ("The answer is: **42**", "42", 1.0),
        ("The answer is $1,042.00 a year.", "1042", 1.0),
        ("The answer is -3.5.", "-3.5", 1.0),
        ("The answer is .5", "0.5", 1.0),
        ("the answer is 4. No, the answer is 5.", "5", 1.0),
        ("the answer is 4. No, the answer is 5.", "4", 0.0),
        ("the answer is } ] >.", "} ] >", 1.0),
        ("the answer is apple banana\nQ: next", "apple banana", 1.0),
        ("It is 42.", "42", 0.0),
        ("the answer is", "42", 0.0),
        ("", "42", 0.0),
        ("the answer is 01/03/1963.", "01/03/1964", 0.0),
    ],
)
def test_final_answers(text: str, gold: str, right: float) -> None:
    scores = FinalAnswer().score(sample(instance(gold), text))
    assert scores["final_answer_match"] == right
    assert scores["final_answer_given"] == float(final_answer(text) is not None)
    assert set(scores) == {definition.name for definition in FINAL_ANSWER.definitions}


def test_an_instance_without_a_reference_is_not_scored() -> None:
    assert FinalAnswer().score(sample(instance(), "the answer is 4")) == {}
