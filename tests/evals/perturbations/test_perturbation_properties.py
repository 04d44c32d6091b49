from __future__ import annotations

import random
import re
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from commonweal.core.errors import ConfigError
from commonweal.evals.instance import Contrast, Instance, Reference
from commonweal.evals.perturbations.dialect import substitution
from commonweal.evals.perturbations.registry import PERTURBATIONS, apply_all, perturbation_names
from commonweal.evals.perturbations.spelling import contraction, expansion, misspelling
from commonweal.evals.perturbations.text import below, lowered, match_case
from commonweal.evals.perturbations.word_lists import word_list

ANY_TEXT = st.text(alphabet=st.characters(), max_size=80)
MISSPELLINGS = word_list("misspellings").words["misspellings"]
CONTRACTIONS = word_list("contractions").words["contractions"]
DIALECT = word_list("dialect").words["mapping"]
MISSPELT = misspelling(0.5)
WORDS = st.sampled_from(
    [
        *random.Random(0).sample(list(MISSPELLINGS), 300),
        *(word for word in MISSPELLINGS if not word.isalnum()),
        *list(CONTRACTIONS) * 3,
        *list(CONTRACTIONS.values()) * 3,
        *list(DIALECT) * 3,
        *("he", "his", "sons", "Jack", "PETER", "Harris", "über", "x_y", "3rd", "a-b", "İ", "ß"),
    ]
)
SEPARATORS = st.sampled_from([" ", " ", " ", " ", "  ", ", ", ".", "\n", "-", "'", ""])
AS_IT_IS, UPPER, CAPITALIZED = range(3)
CASES = st.sampled_from([AS_IT_IS, AS_IT_IS, AS_IT_IS, UPPER, CAPITALIZED])


@st.composite
def sentences(draw: st.DrawFn) -> str:
    parts = draw(st.lists(st.tuples(CASES, WORDS, SEPARATORS), max_size=25))
    return "".join(
        (word, word.upper(), word.capitalize())[case] + separator for case, word, separator in parts
    )


TEXTS = st.one_of(ANY_TEXT, sentences())


def instance(text: str, references: list[str]) -> Instance:
    return Instance(
        id="q1",
        input=text,
        references=tuple(Reference(text=r, correct=i == 0, grade=i) for i, r in enumerate(references)),
        contrasts=(Contrast(input=text + "!", references=()),),
    )


@settings(max_examples=60, deadline=None)
@given(text=TEXTS, references=st.lists(TEXTS, max_size=3), seed=st.integers(0, 3))
def test_any_text_gives_the_same_changed_instances_every_time(
    text: str, references: list[str], seed: int
) -> None:
    original = instance(text, references)

    made = apply_all(original, tuple(PERTURBATIONS), seed)

    assert made == apply_all(original, tuple(PERTURBATIONS), seed)
    assert len({perturbed.perturbation for perturbed in made}) == len(made)
    for perturbed in made:
        assert perturbed.id == original.id
        assert perturbed.perturbation in PERTURBATIONS
        assert perturbed.input != text
        if perturbed.perturbation != "contrast_sets":
            kept = [(r.correct, r.grade) for r in perturbed.references]
            assert kept == [(r.correct, r.grade) for r in original.references]


def test_another_seed_draws_anew() -> None:
    text = "The quick brown fox jumps over the lazy dog and runs into the wood again and again"
    made = {apply_all(instance(text, []), ("space",), seed)[0].input for seed in range(5)}

    assert len(made) == 5


# What the quick search finds, a plain pattern of all alternatives finds too: HELM's definition, as it reads.


def replaced_by_pattern(pattern: str, text: str, make: Callable[[re.Match[str]], str], flags: int = 0) -> str:
    return re.sub(pattern, make, text, flags=flags)


@settings(max_examples=100, deadline=None)
@given(text=sentences(), seed=st.integers())
def test_misspellings_are_those_of_a_plain_pattern(text: str, seed: int) -> None:
    stream = random.Random(seed)

    def misspell(match: re.Match[str]) -> str:
        word = match[1]
        return match_case(word, stream.choice(MISSPELLINGS[word])) if stream.random() < 0.5 else word

    occurring = [word for word in MISSPELLINGS if word in text] or ["(?!)"]
    expected = replaced_by_pattern(rf"\b({'|'.join(occurring)})\b", text, misspell)

    assert MISSPELT(text, random.Random(seed)) == expected


@settings(max_examples=60, deadline=None)
@given(text=sentences().filter(str.isascii))
def test_contractions_are_those_of_a_plain_pattern(text: str) -> None:
    short = {value: key for key, value in CONTRACTIONS.items()}

    def contract(match: re.Match[str]) -> str:
        return match_case(match[1], short.get(match[1]) or short[match[1].lower()]) + " "

    def expand(match: re.Match[str]) -> str:
        return match_case(match[0], CONTRACTIONS.get(match[0]) or CONTRACTIONS[match[0].lower()])

    unused = random.Random(0)
    assert contraction()(text, unused) == replaced_by_pattern(
        rf"\b({'|'.join(short)})\b ", text, contract, re.IGNORECASE
    )
    assert expansion()(text, unused) == replaced_by_pattern(
        rf"\b({'|'.join(CONTRACTIONS)})\b", text, expand, re.IGNORECASE
    )


@settings(max_examples=60, deadline=None)
@given(text=sentences().filter(str.isascii), seed=st.integers())
def test_dialect_words_are_those_of_a_plain_pattern(text: str, seed: int) -> None:
    stream = random.Random(seed)

    def replaced(match: re.Match[str]) -> str:
        word = match[1]
        if stream.random() >= 0.7:
            return match[0]
        return match[0][0] + match_case(word, stream.choice(DIALECT[word.lower()])) + match[0][-1]

    pattern = rf"[^\w-]({'|'.join(map(re.escape, DIALECT))})[^\w-]"

    expected = replaced_by_pattern(pattern, text, replaced, re.IGNORECASE)

    assert substitution(DIALECT, 0.7)(text, random.Random(seed)) == expected


@given(n=st.integers(1, 500), seed=st.integers())
def test_a_quick_draw_is_the_standard_one(n: int, seed: int) -> None:
    assert below(n, random.Random(seed)) == random.Random(seed).randrange(n)


@given(text=ANY_TEXT)
def test_lower_case_keeps_places(text: str) -> None:
    low = lowered(text)

    assert len(low) == len(text)
    assert low == text.lower() or len(text.lower()) != len(text)


def test_the_last_names_of_an_instance_keep_their_substitute() -> None:
    (made,) = apply_all(instance("Harris met Nelson. HARRIS left.", ["harris", "Smith"]), ("last_names",))

    hispanic = word_list("names").words["last"]["hispanic"]
    first = made.references[0].text
    assert first in hispanic
    assert made.references[1].text == "Smith"
    assert made.input.startswith(first.capitalize())
    assert first.upper() in made.input
    assert "Nelson" not in made.input


def test_groups_are_resolved_once_each() -> None:
    assert perturbation_names(("mild_mix", "canonical")) == (
        "mild_mix",
        "dialect",
        "gender_pronouns",
        "first_names",
    )


def test_an_unknown_name_is_answered_with_a_near_one() -> None:
    with pytest.raises(ConfigError, match="did you mean 'typos'"):
        perturbation_names(("typoes",))


@pytest.mark.parametrize("name", PERTURBATIONS)
def test_every_perturbation_says_where_its_words_come_from(name: str) -> None:
    perturbation = PERTURBATIONS[name]

    assert perturbation.name == name
    assert perturbation.version
    assert len(perturbation.source) > 10
    assert perturbation.kind in ("robustness", "fairness")


@pytest.mark.parametrize(
    "name",
    ["misspellings", "contractions", "dialect", "fillers", "gender", "keyboard", "names", "synonyms"],
)
def test_every_list_has_version_source_and_licence(name: str) -> None:
    found = word_list(name)

    assert found.version
    assert found.source
    assert found.licence
    assert found.words
