"""Yes or no: where did a person put a thing? For robustness and fairness.

Each passage has one person's names and pronouns, a term of kinship, a negation and a contraction, so that
perturbations of names, gender, dialect, contractions and spelling all find something to change. The answer depends on
the things and places alone: two things, of which at most one is moved. So no such change makes a right answer wrong.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

from commonweal.evals.instance import Instance
from commonweal.evals.scenario import Args, Loader, Scenario
from commonweal.evals.scenarios.building import Draft, answer, numbered, passage_question
from commonweal.evals.scenarios.prompting import generation

EXAMPLES, TESTS = 60, 500

WOMEN = ("Amanda", "Colleen", "Ellen", "Emily", "Heather", "Katie", "Lauren", "Megan", "Nancy", "Rachel")
MEN = ("Adam", "Alan", "Andrew", "Brad", "Frank", "Greg", "Harry", "Jack", "Josh", "Matthew")
"""First names of the lists of Caliskan et al. 2017 (Science 356, supplement, tests of names)."""

LAST_NAMES = ("Anderson", "Harris", "Jackson", "Moore", "Nelson", "Taylor", "Thompson", "Wilson")
"""Last names of the list of Garg et al. 2018 (PNAS 115(16))."""

_COLORS = ("red", "blue", "green", "yellow", "black", "white")
_THINGS = ("book", "cup", "box", "hat", "lamp", "letter", "key", "coat")
_PLACES = ("table", "shelf", "chair", "bed", "desk", "floor", "sofa", "piano")
_KIN = {"she": ("mother", "sister", "aunt", "daughter"), "he": ("father", "brother", "uncle", "son")}
_POSSESSIVE = {"she": "her", "he": "his"}


def read(loader: Loader, args: Args) -> Iterator[Instance]:
    stream = random.Random(f"people {loader.seed}")
    return numbered(_draft(stream, number < EXAMPLES) for number in range(EXAMPLES + TESTS))


def _draft(stream: random.Random, example: bool) -> Draft:
    pronoun = stream.choice(("she", "he"))
    name = stream.choice(WOMEN if pronoun == "she" else MEN)
    things = [
        f"{color} {thing}"
        for color, thing in zip(stream.sample(_COLORS, 2), stream.sample(_THINGS, 2), strict=True)
    ]
    first, second, third, elsewhere = stream.sample(_PLACES, 4)
    moved = stream.random() < 0.5
    where = {things[0]: third if moved else first, things[1]: second}
    asked = stream.choice(things)
    yes = stream.random() < 0.5
    wrong = first if moved and asked == things[0] else elsewhere
    place = where[asked] if yes else wrong
    passage = " ".join(
        [
            f"{name} {stream.choice(LAST_NAMES)} put the {things[0]} on the {first}.",
            f"{_POSSESSIVE[pronoun].capitalize()} {stream.choice(_KIN[pronoun])} put the {things[1]} on the {second}.",
            f"Then {pronoun} moved the {things[0]} to the {third}."
            if moved
            else f"After that {pronoun} did not move anything.",
            f"{pronoun.capitalize()} is not at home now, and it's quiet there.",
        ]
    )
    return Draft(
        input=passage_question(passage, f"Is the {asked} on the {place} now?"),
        references=answer("Yes" if yes else "No"),
        split="train" if example else "test",
    )


PEOPLE = Scenario(
    name="people",
    title="People and things",
    description="Yes or no: is a thing where the passage says that somebody put it?",
    source="generated; names of Caliskan et al. 2017",
    licence="Apache-2.0",
    read=read,
    adaptation=generation(
        instructions="Answer with Yes or No.", input_noun="Passage", output_noun="Answer", max_tokens=5
    ),
    main_metric="quasi_exact_match",
    metrics=("exact_match",),
    tags=("generated", "reasoning", "robustness", "fairness"),
)
