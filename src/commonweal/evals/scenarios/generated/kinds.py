"""A small multiple-choice scenario, for calibration: which of four words is of a kind, which of four numbers is the
largest, which of four words comes first in the alphabet.

The three subsets differ in how hard they are for a small model, so that its probabilities have something to tell.
The right answer stands at each place equally often in the long run.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

from commonweal.evals.instance import Instance
from commonweal.evals.scenario import Args, Loader, Scenario
from commonweal.evals.scenarios.building import Draft, choices, numbered
from commonweal.evals.scenarios.generated import vocabulary
from commonweal.evals.scenarios.prompting import joint

EXAMPLES, TESTS = 60, 600
_OPTIONS = 4


def read(loader: Loader, args: Args) -> Iterator[Instance]:
    stream = random.Random(f"kinds {loader.seed}")
    makers = (_of_a_kind, _largest, _first)
    return numbered(
        makers[number % len(makers)](stream, number < EXAMPLES) for number in range(EXAMPLES + TESTS)
    )


def _of_a_kind(stream: random.Random, example: bool) -> Draft:
    kinds = stream.sample(list(vocabulary.KINDS), _OPTIONS)
    options = [stream.choice(vocabulary.KINDS[kind]) for kind in kinds]
    right = options[0]
    stream.shuffle(options)
    return _draft(f"Which of these is {kinds[0]}?", options, options.index(right), "kind", example)


def _largest(stream: random.Random, example: bool) -> Draft:
    numbers = stream.sample(range(10 ** stream.randint(1, 6)), _OPTIONS)
    return _draft(
        "Which of these numbers is the largest?",
        [str(number) for number in numbers],
        numbers.index(max(numbers)),
        "largest",
        example,
    )


def _first(stream: random.Random, example: bool) -> Draft:
    words = stream.sample(vocabulary.COMMON, _OPTIONS)
    question = "Which of these words comes first in the alphabet?"
    return _draft(question, words, words.index(min(words)), "alphabet", example)


def _draft(question: str, options: list[str], right: int, subset: str, example: bool) -> Draft:
    return Draft(
        input=question,
        references=choices(options, right),
        split="train" if example else "test",
        subset=subset,
    )


KINDS = Scenario(
    name="kinds",
    title="Kinds, sizes and order",
    description="Multiple choice: the word of a kind, the largest number, the first word in the alphabet.",
    source="generated",
    licence="Apache-2.0",
    read=read,
    adaptation=joint(
        instructions="The following are multiple choice questions (with answers).", input_noun="Question"
    ),
    main_metric="exact_match",
    metrics=("exact_match", "multiple_choice", "calibration"),
    tags=("generated", "knowledge", "calibration"),
)
