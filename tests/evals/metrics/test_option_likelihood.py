"""Which option is the likeliest: by the sum, by characters, by bytes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from commonweal.core.completion import Choice, Completion, Request
from commonweal.evals.adaptation import Adaptation
from commonweal.evals.instance import Instance, Reference
from commonweal.evals.metrics.option_likelihood import OptionLikelihood
from commonweal.evals.sample import Answer, Ask, Sample

SEPARATE = Adaptation(method="multiple_choice_separate")


def sample(options: Mapping[str, float | None], right: str) -> Sample:
    answers = tuple(
        Answer(
            ask=Ask(
                role=f"reference {i}", request=Request(model="m", kind="score", prompt="q", continuation=text)
            ),
            completion=Completion(choices=(Choice(text=text, logprob=logprob),)),
        )
        for i, (text, logprob) in enumerate(options.items())
    )
    references = tuple(Reference(text=text, correct=text == right) for text in options)
    instance = Instance(id="1", input="q", references=references)
    return Sample(instance=instance, adaptation=SEPARATE, trial=0, answers=answers)


def test_the_three_differ_by_what_they_divide_by() -> None:
    # sums -2.0, -3.5, -3.8; per character -1.0, -0.875, -0.95; per byte -1.0, -0.875, -3.8/8 = -0.475
    options = {"ab": -2.0, "abcd": -3.5, "éééé": -3.8}
    names = ("likeliest_option", "likeliest_option_per_character", "likeliest_option_per_byte")
    for name, right in zip(names, options, strict=True):
        assert OptionLikelihood().score(sample(options, right)) == {one: float(one == name) for one in names}


def test_of_equals_the_first_is_chosen() -> None:
    assert OptionLikelihood().score(sample({"a": -1.0, "b": -1.0}, "a"))["likeliest_option"] == 1.0
    assert OptionLikelihood().score(sample({"a": -1.0, "b": -1.0}, "b"))["likeliest_option"] == 0.0


def test_what_cannot_be_told_is_not_scored() -> None:
    assert OptionLikelihood().score(sample({"a": -1.0, "b": None}, "a")) == {}
    assert OptionLikelihood().score(sample({"a": -1.0}, "nothing")) == {}


def test_a_model_that_named_an_option_is_judged_by_that() -> None:
    joint = replace(
        sample({"a": -9.0, "b": -1.0}, "a"), adaptation=Adaptation(method="multiple_choice_joint")
    )
    assert set(OptionLikelihood().score(replace(joint, chosen=0)).values()) == {1.0}
    assert set(OptionLikelihood().score(replace(joint, chosen=None)).values()) == {0.0}
