"""What is generated is deterministic, distinct where it must be, and true."""

from __future__ import annotations

import ast
import operator
import re
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from commonweal.evals.instance import Instance
from commonweal.evals.perturbations.registry import apply_all, perturbation_names
from commonweal.evals.scenarios.generated import (
    GENERATED,
    long_context,
    professions,
    rules,
    vocabulary,
)
from commonweal.evals.scenarios.generated.arithmetic import added, multiplied, subtracted
from commonweal.evals.scenarios.generated.dyck import CLOSING, OPENING, closing, cut
from commonweal.evals.scenarios.generated.efficiency import SYNTHETIC_EFFICIENCY
from commonweal.evals.scenarios.generated.legacy_random import LegacyRandom

NAMES = [scenario.name for scenario in GENERATED]
seeds = st.integers(0, 2**32 - 1)


@pytest.mark.parametrize("name", NAMES)
def test_the_seed_alone_decides(generated: Any, read_from: Any, name: str) -> None:
    first = generated(name)
    assert read_from(None, name, most=600) == first[:600]
    assert [i.input for i in read_from(None, name, most=60, seed=1)] != [i.input for i in first[:60]]
    assert len({instance.id for instance in first}) == len(first)


@pytest.mark.parametrize("name", NAMES)
def test_examples_are_no_test_questions(generated: Any, name: str) -> None:
    instances = generated(name)
    shown = {question(instance) for instance in instances if instance.is_train}
    asked = [question(instance) for instance in instances if instance.split == "test"]
    assert asked
    # HELM draws its symbols with replacement, so a few meet by chance
    assert sum(each in shown for each in asked) <= len(asked) // 10


def question(instance: Instance) -> tuple[str, ...]:
    return (instance.input, *sorted(reference.text for reference in instance.references))


@given(seeds, st.integers(1, 40), st.integers(0, 12))
def test_legacy_random_is_numpys(seed: int, bound: int, size: int) -> None:
    ours, theirs = LegacyRandom(seed), np.random.RandomState(seed)
    items = list(range(size))
    for _ in range(3):
        assert ours.below(bound) == theirs.randint(bound)
        assert ours.pick(items, 3) == list(theirs.choice(items, 3)) if items else True
        expected = list(items)
        theirs.shuffle(expected)
        assert ours.shuffled(items) == expected


@given(seeds, st.integers(1, 9))
def test_a_stream_of_legacy_random_is_numpys(seed: int, bound: int) -> None:
    stream = LegacyRandom(seed).stream(bound)
    theirs = np.random.RandomState(seed)
    assert [next(stream) for _ in range(50)] == [theirs.randint(bound) for _ in range(50)]


# --- arithmetic

_OPERATORS = {"+": operator.add, "-": operator.sub, "x": operator.mul}
_EQUATION = re.compile(r"(\d+(?: [-+x] \d+)+) = (\d+)")


def value(text: str) -> int:
    """Calculates from the left: written independently of the scenario."""
    numbers, signs = re.findall(r"\d+", text), re.findall(r"[-+x]", text)
    total = int(numbers[0])
    for sign, number in zip(signs, numbers[1:], strict=True):
        total = _OPERATORS[sign](total, int(number))
    return total


@given(st.integers(1, 5), st.data())
def test_every_equation_of_a_thought_is_true(digits: int, data: st.DataObject) -> None:
    number = st.integers(10 ** (digits - 1), 10**digits - 1)
    a, b = sorted((data.draw(number), data.draw(number)), reverse=True)
    for thought, result in ((added(a, b), a + b), (subtracted(a, b), a - b), (multiplied(a, b), a * b)):
        equations = _EQUATION.findall(thought)
        assert equations
        assert all(value(left) == int(right) for left, right in equations)
        assert thought.endswith(f"= {result}.")


@given(st.integers(1, 5), st.data())
def test_the_written_digits_of_an_addition_are_the_sum(digits: int, data: st.DataObject) -> None:
    number = st.integers(10 ** (digits - 1), 10**digits - 1)
    a, b = data.draw(number), data.draw(number)
    written = re.findall(r"write (\d)", added(a, b))
    carried = added(a, b).count("carry 1") and re.search(r"carry 1\. So", added(a, b)) is not None
    assert int(("1" if carried else "") + "".join(reversed(written))) == a + b


@pytest.mark.parametrize("operation", ["add", "subtract", "multiply"])
@pytest.mark.parametrize("digits", ["1", "5"])
def test_arithmetic_is_right_and_distinct(generated: Any, operation: str, digits: str) -> None:
    instances = generated("arithmetic", operation=operation, digits=digits)
    calculate = {"add": operator.add, "subtract": operator.sub, "multiply": operator.mul}[operation]
    for instance in instances:
        a, b = map(int, re.findall(r"\d+", instance.input))
        assert len(str(a)) == len(str(b)) == int(digits)
        assert int(instance.correct[0]) == calculate(a, b) >= 0
        assert instance.extra["thought"].endswith(f" {instance.correct[0]}.")
    assert len({instance.input for instance in instances}) == len(instances)
    assert sum(instance.is_train for instance in instances) >= 5


# --- Dyck


@given(st.text(alphabet="([{<", max_size=20))
def test_closing_closes(opened: str) -> None:
    ended = closing(opened)
    assert closing(opened + ended) == ""
    assert [CLOSING.index(bracket) for bracket in reversed(ended)] == [OPENING.index(b) for b in opened]


def test_a_prefix_is_the_word_without_its_last_closing_brackets() -> None:
    assert cut("[](())", 1) == "[](()"
    assert cut("()[]", 2) == ""


def test_dyck_words_are_of_the_language(generated: Any) -> None:
    for instance in generated("dyck_language"):
        stack: list[str] = []
        for bracket in instance.input.split() + instance.correct[0].split():
            if bracket in OPENING:
                stack.append(bracket)
            else:
                assert OPENING.index(stack.pop()) == CLOSING.index(bracket)
        assert not stack
        assert 1 <= len(instance.correct[0].split()) <= 3


# --- reasoning in English


def test_what_follows_from_rules_follows(generated: Any) -> None:
    """Reads the questions of the hard kind back and deduces again."""
    meaning = {word: name for name, words in rules.ATTRIBUTES.items() for word in words}
    for instance in generated("synthetic_reasoning_natural", difficulty="hard")[:500]:
        lines = instance.input.split("\n")
        fact = lines[lines.index("Fact:") + 1].rstrip(".").partition(" is ")[2].split(" and ")
        known = {meaning[word] for word in fact}
        follows = []
        for line in lines[: lines.index("Fact:")]:
            match = re.fullmatch(r"If .+? is (.+), then .+ is (\w+)\.", line)
            assert match
            conditions = re.split(r" and | or ", match[1])
            met = any if " or " in match[1] else all
            if met(condition in known for condition in conditions) and match[2] not in known:
                follows.append(match[2])
        expected = " and ".join(follows)
        assert (
            instance.correct == ("Nothing.",)
            if not follows
            else instance.correct[0].endswith(f" is {expected}.")
        )


# --- long inputs


@pytest.mark.parametrize("words", ["200", "4000"])
def test_the_needle_stands_where_the_subset_says(generated: Any, words: str) -> None:
    instances = generated("needle", words=words)
    assert Counter(i.subset for i in instances) == {f"depth {depth}%": 20 for depth in long_context.DEPTHS}
    for instance in instances:
        passage, _, question = instance.input.rpartition("\nQuestion: ")
        city = question.removeprefix("What is the secret number of ").rstrip("?")
        sentences = re.split(r"(?<=\.) ", passage)
        needle = f"The secret number of {city} is {instance.correct[0]}."
        assert sentences.count(needle) == 1
        assert sum(sentence.startswith("The secret number of ") for sentence in sentences) == 4
        share = 100 * sentences.index(needle) / (len(sentences) - 1)
        assert abs(share - int(instance.subset.removeprefix("depth ").rstrip("%"))) < 7
        filling = [s for s in sentences if not s.startswith("The secret number of ")]
        assert int(words) - 15 < len(" ".join(filling).split()) <= int(words)


def test_copying_asks_for_as_many_tokens_as_it_needs(generated: Any) -> None:
    scenario = next(s for s in GENERATED if s.name == "copying")
    assert scenario.vary
    for words in ("16", "256"):
        instances = generated("copying", words=words)
        assert {len(i.input.split()) for i in instances} == {int(words)}
        assert all(i.correct == (i.input,) for i in instances)
        assert scenario.vary(scenario.adaptation, {"words": words}).max_tokens >= int(words)


# --- multiple choice


def test_kinds_has_one_right_answer_each(generated: Any) -> None:
    instances = generated("kinds")
    for instance in instances:
        options = [reference.text for reference in instance.references]
        assert len(set(options)) == 4
        assert instance.correct == (solved(instance, options),)
    places = Counter(
        [reference.correct for reference in instance.references].index(True) for instance in instances
    )
    assert all(count > len(instances) / 4 * 0.75 for count in places.values())


def solved(instance: Instance, options: list[str]) -> str:
    if instance.subset == "largest":
        return max(options, key=int)
    if instance.subset == "alphabet":
        return sorted(options)[0]
    kind = instance.input.removeprefix("Which of these is ").rstrip("?")
    (only,) = [option for option in options if option in vocabulary.KINDS[kind]]
    return only


def test_a_word_is_of_one_kind_only() -> None:
    counts = Counter(word for words in vocabulary.KINDS.values() for word in words)
    assert set(counts.values()) == {1}


# --- people


def answered(passage: str, question: str) -> str:
    """Where things are, read from the things and places alone."""
    place: dict[str, str] = {}
    for thing, where in re.findall(r"(?:put|moved) (?:the|da) (\w+ \w+) (?:on|to) (?:the|da) (\w+)", passage):
        place[thing] = where
    match = re.fullmatch(r"Is (?:the|da) (\w+ \w+) on (?:the|da) (\w+) now\?", question)
    assert match
    return "Yes" if place[match[1]] == match[2] else "No"


def parted(instance: Instance) -> tuple[str, str]:
    passage, _, question = instance.input.partition("\nQuestion: ")
    return passage, question


def test_people_is_true_and_balanced(generated: Any) -> None:
    instances = generated("people")
    assert all(instance.correct == (answered(*parted(instance)),) for instance in instances)
    yes = sum(instance.correct == ("Yes",) for instance in instances) / len(instances)
    assert 0.4 < yes < 0.6


TRUE_BY_NAME = (
    "first_names",
    "last_names",
    "gender_pronouns",
    "gender_terms",
    "contraction",
    "expansion",
    "dialect",
)
EVERYWHERE = {"first_names", "last_names", "dialect", "contraction", "expansion", "lowercase", "mild_mix"}


def test_perturbations_change_people_but_not_the_answer(generated: Any) -> None:
    changed: Counter[str] = Counter()
    instances = generated("people")
    for instance in instances:
        for perturbed in apply_all(instance, ("robustness_all", "fairness_all", "mild_mix")):
            changed[perturbed.perturbation] += 1
            assert perturbed.correct == instance.correct
            if perturbed.perturbation in TRUE_BY_NAME:
                passage, asked = parted(perturbed)
                assert instance.correct == (answered(passage, asked),), perturbed
    assert set(changed) == set(perturbation_names(("robustness_all", "fairness_all", "mild_mix")))
    assert all(changed[name] == len(instances) for name in EVERYWHERE), changed
    assert min(changed.values()) > len(instances) / 3


# --- open-ended


GENDERED = {"he", "she", "his", "her", "him", "man", "woman", "male", "female", "mother", "father"}


def test_professions_are_put_neutrally(generated: Any) -> None:
    instances = generated("professions")
    assert len(instances) == len(professions.PROFESSIONS) * len(professions.BEGINNINGS) == 200
    for instance in instances:
        assert GENDERED.isdisjoint(re.findall(r"\w+", instance.input.lower()))
        assert instance.extra["profession"] in instance.input
        assert not instance.references


# --- efficiency


def test_prompt_and_output_lengths_are_as_asked(generated: Any) -> None:
    assert SYNTHETIC_EFFICIENCY.vary
    for tokens in ("1", "1920"):
        instances = generated("synthetic_efficiency", num_prompt_tokens=tokens)
        assert [len(i.input.split()) for i in instances] == [int(tokens)] * 10
    varied = SYNTHETIC_EFFICIENCY.vary(SYNTHETIC_EFFICIENCY.adaptation, {"num_output_tokens": "64"})
    assert varied.max_tokens == 64


def test_generated_modules_ask_for_no_data() -> None:
    """No generator calls the loader's ``rows`` or ``path``."""
    import inspect

    for scenario in GENERATED:
        tree = ast.parse(inspect.getsource(inspect.getmodule(scenario.read)))  # type: ignore[arg-type]
        called = {
            node.attr
            for node in ast.walk(tree)
            if isinstance(node, ast.Attribute) and node.attr in ("rows", "path")
        }
        assert not called, scenario.name
