from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from commonweal.evals.adaptation import Adaptation
from commonweal.evals.adapters.letters import chosen, concluded, labels, prefixes

OPTIONS = ("a red fox", "the Nile", "vitamin C", "none of the above")
NAMES = ("A", "B", "C", "D")


@pytest.mark.parametrize(
    ("text", "index"),
    [
        ("B", 1),
        (" B", 1),
        ("B.", 1),
        ("(B)", 1),
        ("[B]", 1),
        ("b)", 1),
        ("(b)", 1),
        ("B)", 1),
        ("B:", 1),
        ("**B**", 1),
        ("**B.** the Nile", 1),
        ("`C`", 2),
        ("B) the Nile", 1),
        ("B. The Nile.", 1),
        ("B the Nile", 1),
        ("C) vitamin C", 2),
        ("A) a red fox", 0),
        ("B, because it is the longest river.", 1),
        ("B\n\nThe Nile is the longest.", 1),
        ("B. It is not C, as that is a vitamin.", 1),
        ("the nile", 1),
        ("The Nile.", 1),
        ("None of the above.", 3),
        ("The answer is B", 1),
        ("The answer is (B).", 1),
        ("The correct answer is **D) none of the above**.", 3),
        ("Answer: C", 2),
        ("The best choice would be A.", 0),
        ("Option D", 3),
        ("I think the answer is B, since the Nile is long.", 1),
        ("B is correct.", 1),
        ("The answer is A because foxes are red", 0),
        ("Option A is right", 0),
        ("$\\boxed{C}$", 2),
        ("So it is \\boxed{\\text{(D)}}", 3),
    ],
)
def test_a_plain_answer_is_understood(text: str, index: int) -> None:
    assert chosen(text, NAMES, OPTIONS) == index


@pytest.mark.parametrize(
    "text",
    [
        "",
        "  ",
        "E",
        "b",
        "a",
        "A good question.",
        "A river is long",
        "I am not sure",
        "B or C",
        "B and C",
        "A, B",
        "A, B and D",
        "A/B",
        "(A) or (B)",
        "A) and B)",
        "B. or C.",
        "not B",
        "The answer is not B",
        "The answer is a matter of taste",
        "The answer is B or C",
        "The answer is A. The answer is B.",
        "the Nile or vitamin C",
        "Because of B the river flows",
        "Bananas",
        "Dear sir",
        "BCD",
        "A.I. is the future",
        "Answer: A river is long",
        "The answer is A matter of taste",
        "answer ı)",
    ],
)
def test_nothing_is_guessed(text: str) -> None:
    assert chosen(text, NAMES, OPTIONS) is None


def test_two_options_of_one_text_are_told_apart_by_letter_only() -> None:
    assert chosen("same", ("A", "B"), ("same", "same")) is None
    assert chosen("B. same", ("A", "B"), ("same", "same")) == 1


def test_labels_may_be_numbers_and_words_around_the_letter_kept() -> None:
    assert prefixes("\n(A) ", 2) == ("\n(A) ", "\n(B) ")
    assert labels("1) ", 3) == ("1", "2", "3")
    assert chosen("2) two", ("1", "2", "3"), ("one", "two", "three")) == 1
    with pytest.raises(ValueError, match="reference_prefix"):
        labels("- ", 2)


def test_the_letters_after_z_are_those_of_the_code_table_as_in_helm() -> None:
    assert labels("A. ", 27)[26] == "["
    assert chosen("[", labels("A. ", 27), ["x"] * 27) == 26


@pytest.mark.parametrize(
    ("text", "index"),
    [
        ("It flows north. The answer is B.", 1),
        ("First I thought the answer is A. But no: the answer is C.", 2),
        ("It is long.\nB", 1),
        ("It flows. So the answer is: B. \n\nQuestion: What else?\nAnswer: the answer is D.", 1),
        ("Hm. The answer is the second. ", None),
        ("A is wrong, and B too.", None),
    ],
)
def test_a_worked_solution_ends_with_its_answer(text: str, index: int | None) -> None:
    adaptation = Adaptation(input_prefix="Question: ", chain_of_thought=True)

    assert concluded(text, NAMES, OPTIONS, adaptation) == index


def test_the_suffix_of_the_thought_marks_the_answer() -> None:
    adaptation = Adaptation(chain_of_thought=True, chain_of_thought_suffix=" Therefore: ")

    assert concluded("It is B, or C. Therefore: C. ", NAMES, OPTIONS, adaptation) == 2


@given(
    text=st.one_of(st.text(max_size=60), st.text(alphabet="aAbBiIıK()[].: answer\n", max_size=40)),
    names=st.integers(0, 40),
    first=st.sampled_from("Aa1"),
)
def test_no_text_is_too_strange(text: str, names: int, first: str) -> None:
    known = labels(f"{first}. ", names)
    options = [f"option {i}" for i in range(names)]

    for found in (chosen(text, known, options), concluded(text, known, options, Adaptation())):
        assert found is None or 0 <= found < names


@given(index=st.integers(0, 3), before=st.sampled_from(["", " ", "\n", "**"]))
def test_what_helm_understands_is_understood_alike(index: int, before: str) -> None:
    """HELM: the stripped output is a label."""
    assert chosen(before + NAMES[index] + before, NAMES, OPTIONS) == index
