"""Long inputs: finding one sentence in many (needle), and repeating a list of words (copying).

The needle is one of four alike sentences about different cities, of which one is asked for; it stands at five depths,
which are the subsets. Lengths are counted in words, since no tokenizer is known here: English has about 1.3 tokens
a word.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace

from commonweal.evals.adaptation import Adaptation
from commonweal.evals.instance import Instance
from commonweal.evals.scenario import Args, Loader, Scenario
from commonweal.evals.scenarios.arguments import chosen
from commonweal.evals.scenarios.building import Draft, answer, numbered, passage_question
from commonweal.evals.scenarios.generated import vocabulary
from commonweal.evals.scenarios.prompting import completion, generation

NEEDLE_ARGS = {"words": ("200", "1000", "4000", "16000", "64000")}
COPYING_ARGS = {"words": ("16", "64", "256", "1024")}

DEPTHS = (0, 25, 50, 75, 100)
"""Per cent of the filling sentences that stand before the needle."""

PER_DEPTH = 20
COPY_EXAMPLES, COPY_TESTS = 10, 100
_DISTRACTORS = 3
_TOKENS_A_WORD = 3  # at most, for the words to be repeated


def read_needle(loader: Loader, args: Args) -> Iterator[Instance]:
    words = int(chosen(args, NEEDLE_ARGS, "words"))
    stream = random.Random(f"needle {words} {loader.seed}")
    return numbered(_needle(stream, words, depth) for _ in range(PER_DEPTH) for depth in DEPTHS)


def _needle(stream: random.Random, words: int, depth: int) -> Draft:
    sentences = list(_filling(stream, words))
    cities = stream.sample(vocabulary.CITIES, 1 + _DISTRACTORS)
    numbers = stream.sample(range(10_000, 100_000), 1 + _DISTRACTORS)
    for city, number in zip(cities[1:], numbers[1:], strict=True):
        sentences.insert(stream.randint(0, len(sentences)), _secret(city, number))
    sentences.insert(round(len(sentences) * depth / 100), _secret(cities[0], numbers[0]))
    question = f"What is the secret number of {cities[0]}?"
    return Draft(
        input=passage_question(" ".join(sentences), question),
        references=answer(str(numbers[0])),
        subset=f"depth {depth}%",
    )


def _secret(city: str, number: int) -> str:
    return f"The secret number of {city} is {number}."


def _filling(stream: random.Random, words: int) -> Iterator[str]:
    """Sentences that say nothing about a city, of ``words`` words or a few less."""
    left = words
    while True:
        sentence = (
            f"The {stream.choice(vocabulary.ADJECTIVES)} {stream.choice(vocabulary.NOUNS)} "
            f"{stream.choice(vocabulary.VERBS)} the {stream.choice(vocabulary.ADJECTIVES)} "
            f"{stream.choice(vocabulary.NOUNS)} {stream.choice(vocabulary.PLACES)}."
        )
        left -= len(sentence.split())
        if left < 0:
            return
        yield sentence


def read_copying(loader: Loader, args: Args) -> Iterator[Instance]:
    words = int(chosen(args, COPYING_ARGS, "words"))
    stream = random.Random(f"copying {words} {loader.seed}")
    return numbered(_copy(stream, words, number) for number in range(COPY_EXAMPLES + COPY_TESTS))


def _copy(stream: random.Random, words: int, number: int) -> Draft:
    text = " ".join(stream.choices(vocabulary.COMMON, k=words))
    return Draft(input=text, references=answer(text), split="train" if number < COPY_EXAMPLES else "test")


def vary_copying(adaptation: Adaptation, args: Args) -> Adaptation:
    return replace(adaptation, max_tokens=_TOKENS_A_WORD * int(chosen(args, COPYING_ARGS, "words")))


NEEDLE = Scenario(
    name="needle",
    title="Needle in a haystack",
    description="Finds one sentence among many, at five depths of a text of a given length.",
    source="generated; after Kamradt 2023 (github.com/gkamradt/LLMTest_NeedleInAHaystack)",
    licence="Apache-2.0",
    read=read_needle,
    adaptation=completion(
        instructions="Read the passage and answer the question with the number alone.",
        input_prefix="\nPassage: ",
        output_prefix="\nAnswer: ",
        max_tokens=16,
        stop=("\n",),
    ),
    main_metric="final_number_exact_match",
    metrics=("numeric",),
    tags=("generated", "long_context"),
    args=NEEDLE_ARGS,
)

COPYING = Scenario(
    name="copying",
    title="Copying",
    description="Repeats a list of words.",
    source="generated",
    licence="Apache-2.0",
    read=read_copying,
    adaptation=generation(
        instructions="Repeat the words.", input_noun="Words", output_noun="Again", shots=2, max_tokens=48
    ),
    main_metric="exact_match",
    metrics=("exact_match",),
    tags=("generated", "long_context"),
    args=COPYING_ARGS,
    vary=vary_copying,
)
