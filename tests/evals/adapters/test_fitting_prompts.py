"""Prompts in a window: examples are dropped from the end, then the prompt's end is cut, as in HELM."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from commonweal.core.completion import Abilities, CompletionFailed
from commonweal.evals.adaptation import Adaptation
from commonweal.evals.adapters.registry import make_adapter
from commonweal.evals.adapters.tokens import Estimate, TokenCounter, certainly_fits
from commonweal.evals.instance import Instance, Reference
from commonweal.evals.sample import Ask


class Words:
    """A token is a word with the spaces before it; counts how often it was asked."""

    def __init__(self) -> None:
        self.counted = 0

    def count(self, text: str) -> int:
        self.counted += 1
        return len(text.split())

    def truncate(self, text: str, tokens: int) -> str:
        while len(text.split()) > max(0, tokens):
            text = text.rstrip().rsplit(maxsplit=1)[0] if len(text.split()) > 1 else ""
        return text


def example(number: int) -> Instance:
    return Instance(
        id=f"t{number}",
        input=f"word{number}",
        references=(Reference(text="out", correct=True),),
        split="train",
    )


EXAMPLES = tuple(example(number) for number in range(5))
QUESTION = Instance(id="q", input=" ".join(["what"] * 10))


def ask(window: int, *, tokens: TokenCounter | None = None, instance: Instance = QUESTION) -> Ask:
    adapter = make_adapter(
        Adaptation(max_tokens=5, instructions="Do this.\n"),
        model="m",
        abilities=Abilities(window=window),
        tokens=tokens or Words(),
    )
    (made,) = adapter.asks(instance, EXAMPLES, ())
    return made


# 2 words of instructions, 4 of each example, 12 of the question, 5 to be generated


@pytest.mark.parametrize(
    ("window", "shots"), [(1000, 5), (39, 5), (38, 4), (35, 4), (34, 3), (23, 1), (22, 0), (19, 0)]
)
def test_the_last_examples_go_first(window: int, shots: int) -> None:
    made = ask(window)

    assert made.shots == shots
    assert not made.truncated
    prompt = made.request.prompt or ""
    assert [f"word{i}" in prompt for i in range(5)] == [i < shots for i in range(5)]
    assert len(prompt.split()) + 5 <= window


@pytest.mark.parametrize(
    ("window", "left"), [(18, "what what what what what what what what what what"), (10, "what what")]
)
def test_then_the_end_of_the_prompt_is_cut(window: int, left: str) -> None:
    made = ask(window)

    assert (made.shots, made.truncated) == (0, True)
    assert made.request.prompt == f"Do this.\n\nInput: {left}"


@pytest.mark.parametrize("window", [8, 7, 5, 1])
def test_an_input_of_which_nothing_is_left_is_too_long(window: int) -> None:
    with pytest.raises(CompletionFailed, match="the input has 14 tokens") as raised:
        ask(window)

    assert raised.value.kind == "too_long"


def test_a_text_that_fits_in_any_vocabulary_is_not_counted() -> None:
    tokens = Words()

    ask(5000, tokens=tokens)

    assert tokens.counted == 0


def test_the_examples_are_counted_once_for_all_instances() -> None:
    tokens = Words()
    adapter = make_adapter(Adaptation(max_tokens=5), model="m", abilities=Abilities(window=60), tokens=tokens)

    for number in range(100):
        (made,) = adapter.asks(Instance(id=str(number), input="how so"), EXAMPLES, ())
        assert made.shots == 5

    assert tokens.counted == 101


def test_an_option_that_does_not_fit_is_not_cut_off() -> None:
    adaptation = Adaptation(method="multiple_choice_separate", shots=0, max_tokens=0)
    adapter = make_adapter(adaptation, model="m", abilities=Abilities(window=12), tokens=Words())
    instance = Instance(id="q", input="what " * 10, references=(Reference(text="one two three"),))

    with pytest.raises(CompletionFailed) as raised:
        adapter.asks(instance, (), ())

    assert raised.value.kind == "too_long"


def test_a_chat_leaves_room_for_its_template() -> None:
    """60 less 3 for the answer and 24 for the template leave 33: the question's 12 and five examples of 4. A system's
    message takes 8 and its 2 words more: 23."""
    abilities = Abilities(complete=False, window=60)
    for system, shots in (("", 5), ("You answer.", 2)):
        adaptation = Adaptation(max_tokens=3, system=system)
        adapter = make_adapter(adaptation, model="m", abilities=abilities, tokens=Words())

        (made,) = adapter.asks(QUESTION, EXAMPLES, ())

        assert made.shots == shots


@given(text=st.text(max_size=200), tokens=st.integers(-2, 80))
def test_the_estimate_cuts_as_it_counts(text: str, tokens: int) -> None:
    estimate = Estimate()

    cut = estimate.truncate(text, tokens)

    assert text.startswith(cut)
    assert estimate.count(cut) <= max(0, tokens)
    if len(cut) < len(text):
        assert estimate.count(text[: len(cut) + 1]) > tokens


@given(text=st.text(alphabet=st.characters(), max_size=60), tokens=st.integers(0, 80))
def test_what_certainly_fits_has_so_few_bytes(text: str, tokens: int) -> None:
    size = len(text.encode("utf-8", "surrogatepass"))

    assert certainly_fits(text, tokens) == (size + 2 <= tokens)


@pytest.mark.parametrize(("text", "tokens"), [("a word" * 9, 18), ("3.14159", 7), ("x**2", 4), ("敏捷", 6)])
def test_letters_are_counted_by_three_and_all_else_by_bytes(text: str, tokens: int) -> None:
    """So that no vocabulary of bytes makes more of numbers and other scripts than is counted."""
    assert Estimate().count(text) == tokens
