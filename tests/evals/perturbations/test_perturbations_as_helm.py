"""The worked examples of HELM's own tests (augmentations/test_perturbation.py, 0.5.16), text for text: the same words,
the same random stream."""

from __future__ import annotations

import random

import pytest

from commonweal.evals.instance import Contrast, Instance, Reference
from commonweal.evals.perturbations.dialect import dialect
from commonweal.evals.perturbations.gender import gender
from commonweal.evals.perturbations.registry import GROUPS, PERTURBATIONS, apply_all
from commonweal.evals.perturbations.spelling import (
    contraction,
    expansion,
    extra_space,
    filler_words,
    lowercase,
    mild_mix,
    misspelling,
    space,
    typos,
)
from commonweal.evals.perturbations.synonym import synonym
from commonweal.evals.perturbations.text import Change

FOX = "The quick brown fox jumps over the lazy dog."

EXAMPLES: dict[str, tuple[Change, str, str]] = {
    "extra_space": (extra_space(2), "Hello my name is", "Hello  my  name  is"),
    "misspelling": (
        misspelling(1.0),
        "Already, the new product is not available.",
        "Alreayd, hten new product is nto avaliable.",
    ),
    "filler_words": (
        filler_words(0.3, kinds=("uncertain", "filler")),
        FOX,
        "The quick brown fox jumps over like the lazy probably dog.",
    ),
    "contraction": (
        contraction(),
        "She is a doctor, and I am a student",
        "She's a doctor, and I'm a student",
    ),
    "expansion": (
        expansion(),
        "She's a doctor, and I'm a student",
        "She is a doctor, and I am a student",
    ),
    "typos": (
        typos(0.1),
        "After their marriage, she started a close collaboration with Karvelas.",
        "After tjeir marriage, she xrwrted a cloae dollabpration with Iarvwlas.",
    ),
    "synonym": (
        synonym(1.0),
        "This was a good movie, would watch again.",
        "This was a near motion-picture show, would check once more.",
    ),
    "lowercase": (lowercase, "Hello World!\nQuite a day, huh?", "hello world!\nquite a day, huh?"),
    "space": (space(3), "Hello World!\nQuite a day, huh?", "Hello   World!\nQuite a  day,   huh?"),
    "dialect": (
        dialect(1.0),
        "I will remember this day to be the best day of my life.",
        "I gon remember dis day to b the best day of mah life.",
    ),
    "gender_pronouns": (
        gender("pronouns", 1.0, "male", "female"),
        "Did she mention that he was coming with his parents and their friends?",
        "Did she mention that she was coming with her parents and their friends?",
    ),
    "gender_terms": (
        gender("terms", 1.0, "male", "female"),
        "His grandsons looked a lot like their dad.",
        "His granddaughters looked a lot like their mom.",
    ),
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_example_of_helms_test(name: str) -> None:
    change, before, after = EXAMPLES[name]

    assert change(before, random.Random("id0")) == after


def instance(text: str, *references: str) -> Instance:
    return Instance(
        id="id0", input=text, references=tuple(Reference(text=reference) for reference in references)
    )


@pytest.mark.parametrize(
    ("name", "before", "reference", "after", "reference_after"),
    [
        (
            "first_names",
            "I learned that Jack, Peter, and Lauren are siblings! Do you know who is the oldest?",
            "Peter and peter were friends.",
            "I learned that Lamar, Tyree, and Sharise are siblings! Do you know who is the oldest?",
            "Tyree and tyree were friends.",
        ),
        (
            "gender_pronouns",
            "Did she mention that he was coming?",
            "She didn't, perhaps he didn't tell her!",
            "Did she mention that she was coming?",
            "She didn't, perhaps she didn't tell her!",
        ),
        (
            "gender_terms",
            "Who is their dad?",
            "How did their father look like?",
            "Who is their mom?",
            "How did their mother look like?",
        ),
        ("dialect", "Is this my house?", "Is this love?", "Is dis my house?", "Is dis love?"),
        ("lowercase", "Hello World!", "Yes!", "hello world!", "Yes!"),
        ("contraction", "She is here", "he is a teacher", "She's here", "he is a teacher"),
    ],
)
def test_references_change_only_with_fairness(
    name: str, before: str, reference: str, after: str, reference_after: str
) -> None:
    (changed,) = apply_all(instance(before, reference), (name,))

    assert (changed.input, changed.references[0].text) == (after, reference_after)


def test_an_instance_whose_input_stays_is_left_away() -> None:
    assert apply_all(instance("Nothing to see", "Ask his father now"), ("gender_terms",)) == ()


def test_a_contrast_brings_its_own_references() -> None:
    answer = (Reference(text="yes", correct=True),)
    with_contrast = Instance(
        id="id0", input="is it?", contrasts=(Contrast(input="was it?", references=answer),)
    )

    (changed,) = apply_all(with_contrast, ("contrast_sets",))

    assert (changed.input, changed.references, changed.perturbation) == ("was it?", answer, "contrast_sets")
    assert apply_all(instance("is it?"), ("contrast_sets",)) == ()


def test_the_mix_is_its_parts_in_helms_order() -> None:
    text = "She is NOT able to receive the necessary equipment because it is not available"
    stream = random.Random("id7")
    by_hand = lowercase(text, stream)
    for part in (contraction(), misspelling(0.1), space(3)):
        by_hand = part(by_hand, stream)

    assert mild_mix()(text, random.Random("id7")) == by_hand
    assert by_hand.replace("  ", " ").replace("  ", " ").startswith("she's not able to")


def test_the_canonical_group_is_helms() -> None:
    assert GROUPS["canonical"] == ("mild_mix", "dialect", "gender_pronouns", "first_names")
    assert set(PERTURBATIONS) >= {name for names in GROUPS.values() for name in names}
