from __future__ import annotations

import random

import pytest

from commonweal.evals.perturbations.synonym import base_forms, synonym, synonyms


@pytest.mark.parametrize(
    ("word", "part", "forms"),
    [
        ("churches", "n", ["church"]),
        ("women", "n", ["woman"]),
        ("better", "s", ["better", "good", "well"]),
        ("went", "v", ["go"]),
        ("running", "v", ["run"]),
        ("flies", "v", ["fly"]),
        ("zzz", "n", []),
    ],
)
def test_base_forms_are_wordnets(word: str, part: str, forms: list[str]) -> None:
    assert base_forms(word, part) == forms  # type: ignore[arg-type]


def test_the_word_before_tells_a_verb_from_a_noun() -> None:
    assert "observe" in synonyms("watch", "verb")
    assert "ticker" in synonyms("watch", "noun")
    assert "observe" in synonyms("watch")  # in WordNet's tagged texts more often a verb


@pytest.mark.parametrize("word", ["the", "would", "is", "not", "xyzzy"])
def test_function_words_and_unknown_ones_have_none(word: str) -> None:
    assert synonyms(word) == ()


def test_names_and_parts_of_words_stay() -> None:
    text = "I saw Bill in Reading, a well-known dog's place."
    changed = synonym(1.0)(text, random.Random(1))

    for kept in ("Bill", "Reading", "well-known", "dog's"):
        assert kept in changed
    assert "place" not in changed


def test_case_is_kept_and_the_rest_of_the_text_too() -> None:
    changed = synonym(1.0)("Movie!\n\n  MOVIE? movie;", random.Random(3))

    assert "\n\n  " in changed
    assert changed.endswith(";")
    first, second = changed.split("!")[0], changed.split("\n\n  ")[1].split("?")[0]
    assert first == first.capitalize()
    assert second == second.upper()
