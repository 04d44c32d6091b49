"""Synthetic reasoning in plain English: HELM's, after Clark et al. 2020 (arXiv 2002.05867).

Some rules about an animal, a plant or a person and one fact; the task is to say what follows. ``easy`` names the same
subject and attributes everywhere, ``medium`` states some rules of the class ("a plant"), ``hard`` states the fact in
synonyms as well ("chill" for "cold").

With the seed 0 the instances are HELM's own, byte for byte: the random numbers are drawn in the order of its
scenarios/synthetic_reasoning_natural_scenario.py from Python's generator with the seed 42.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

from commonweal.evals.instance import Instance, Split
from commonweal.evals.scenario import Args, Loader, Scenario
from commonweal.evals.scenarios.arguments import chosen
from commonweal.evals.scenarios.building import Draft, answer, numbered
from commonweal.evals.scenarios.generated.symbols import HELM_SEED, TEST, TRAIN, VALID, split_of
from commonweal.evals.scenarios.prompting import generation

ARGS = {"difficulty": ("easy", "medium", "hard")}

SUBJECTS = {
    "person": ["Alice", "Bob", "Carol", "Dan", "Erin", "Frank"],
    "animal": [
        *("dog", "cat", "rabbit", "mouse", "tiger", "lion", "bear", "squirrel", "cow", "panda"),
        *("hedgehog", "elephant", "giraffe", "hippo"),
    ],
    "plant": ["poppy", "dandelion", "tree", "rose", "sunflower"],
}

ATTRIBUTES = {
    names[0]: names
    for names in (
        line.split()
        for line in (
            "young",
            "soft",
            "sad",
            "scary",
            "cold chill cool",
            "hot warm",
            "smart clever wise intelligent",
            "clean tidy",
            "small little tiny",
            "big enormous giant huge",
            "good kind nice",
            "beautiful pretty",
            "red crimson",
            "blue cobalt",
            "green viridian",
            "purple violet",
            "boring dull",
            "old ancient antique",
            "strong powerful muscular",
            "weak frail fragile",
            "fast quick",
            "slow sluggish",
            "bad evil wicked mean",
            "happy elated glad cheerful",
            "round circular spherical",
        )
    )
}
"""An attribute and the words that imply it, itself the first."""

_NAMES = list(ATTRIBUTES)
_MOST_RULES = 5
_NOTHING_FOLLOWS = 0.1  # the share of facts from which nothing follows that are kept


@dataclass(frozen=True, slots=True)
class Rule:
    """If all (``and``) or any (``or``) of the conditions hold, so does the consequent."""

    subject: str
    conditions: list[str]
    conjunction: str
    consequent: str

    def holds(self, attributes: list[str]) -> bool:
        if self.consequent in attributes:  # nothing new would follow
            return False
        met = [condition in attributes for condition in self.conditions]
        return all(met) if self.conjunction == "and" else any(met)

    def text(self, category: str) -> str:
        conditions = f" {self.conjunction} ".join(self.conditions)
        return (
            f"If {specified(self.subject, category, 'a')} is {conditions}, "
            f"then {specified(self.subject, category, 'the')} is {self.consequent}."
        )


def specified(subject: str, category: str, article: str) -> str:
    """The subject with its article; a person's name, and HELM's "person", have none.

    >>> specified("elephant", "animal", "a"), specified("Bob", "person", "the"), specified("dog", "animal", "The")
    ('an elephant', 'Bob', 'The dog')
    """
    if category == "person":
        return subject
    if article == "a" and subject[0] in "aeiou":
        article = "an"
    return f"{article} {subject}"


def read(loader: Loader, args: Args) -> Iterator[Instance]:
    difficulty = chosen(args, ARGS, "difficulty")
    stream = random.Random(HELM_SEED + loader.seed)
    return numbered(_draft(stream, difficulty, split_of(number)) for number in range(TRAIN + VALID + TEST))


def _draft(stream: random.Random, difficulty: str, split: Split) -> Draft:
    category = stream.choice(list(SUBJECTS))
    subject = stream.choice(SUBJECTS[category])
    rules = _rules(stream, subject, category, same=difficulty == "easy")
    attributes, synonyms, follows = _fact(stream, rules)
    stated = synonyms if difficulty == "hard" else attributes
    the_subject = specified(subject, category, "The")
    question = "\n".join(
        [
            *(rule.text(category) for rule in rules),
            "Fact:",
            f"{the_subject} is {' and '.join(stated)}.",
            f"The following can be determined about {specified(subject, category, 'the')}:",
        ]
    )
    target = f"{the_subject} is {' and '.join(follows)}." if follows else "Nothing."
    return Draft(input=question, references=answer(target), split=split)


def _rules(stream: random.Random, subject: str, category: str, *, same: bool) -> list[Rule]:
    """Up to five rules that share no attribute, so that only one step is ever to be made."""
    left = list(_NAMES)
    stream.shuffle(left)
    rules: list[Rule] = []
    while len(left) > 2 and len(rules) < _MOST_RULES:
        about = subject if same else stream.choice([category, subject])
        count = stream.randint(2, 3)
        taken, left = left[:count], left[count:]
        rules.append(Rule(about, taken[:-1], stream.choice(["and", "or"]), taken[-1]))
    return rules


def _fact(stream: random.Random, rules: list[Rule]) -> tuple[list[str], list[str], list[str]]:
    """Two attributes, a word for each, and what follows from them."""
    while True:
        attributes = stream.sample(_NAMES, 2)
        synonyms = [stream.choice(ATTRIBUTES[name]) for name in attributes]
        follows = [rule.consequent for rule in rules if rule.holds(attributes)]
        if follows or stream.random() <= _NOTHING_FOLLOWS:
            return attributes, synonyms, follows


SYNTHETIC_REASONING_NATURAL = Scenario(
    name="synthetic_reasoning_natural",
    title="Synthetic reasoning (natural language)",
    description="Says what follows from some rules and a fact, in plain English.",
    source="generated; Liang et al. 2022, after Clark et al. 2020 (arXiv 2002.05867)",
    licence="Apache-2.0",
    read=read,
    adaptation=generation(
        instructions="Please solve the following problem.",
        input_noun="Rules",
        newline_after_input_noun=True,
        shots=3,
        max_tokens=20,
    ),
    main_metric="f1_set_match",
    metrics=("set_match", "exact_match", "f1"),
    tags=("targeted", "generated", "reasoning"),
    args=ARGS,
)
