"""Synthetic reasoning over abstract symbols: HELM's, after LIME (Wu et al. 2021, arXiv 2101.06223).

A rule such as ``X + Y = Y + X``, a substitution and its result; the task is to find the rule that fits a result
(``pattern_match``), to apply it (``variable_substitution``), or to find it from two results (``induction``).

With the seed 0 the instances are HELM's own, byte for byte: the random numbers are drawn in the order of its
scenarios/synthetic_reasoning_scenario.py from NumPy's legacy generator with the seed 42.
"""

from __future__ import annotations

from collections.abc import Iterator

from commonweal.evals.instance import Instance, Split
from commonweal.evals.scenario import Args, Loader, Scenario
from commonweal.evals.scenarios.arguments import chosen
from commonweal.evals.scenarios.building import Draft, answer, numbered
from commonweal.evals.scenarios.generated.legacy_random import LegacyRandom
from commonweal.evals.scenarios.prompting import generation

ARGS = {"mode": ("pattern_match", "variable_substitution", "induction")}
HELM_SEED = 42
TRAIN, VALID, TEST = 1000, 5000, 5000

_ANIMALS = [
    "zebra",
    "cobra",
    "stork",
    "penguin",
    "shark",
    "lion",
    "buffalo",
    "whale",
    "seal",
    "eagle",
    "horse",
    "rat",
]
_FRUITS = [
    "apple",
    "peach",
    "watermelon",
    "banana",
    "grape",
    "kiwi",
    "pear",
    "strawberry",
    "blueberry",
    "blackberry",
]
_WORDS = _ANIMALS + _FRUITS
_VARIABLES = ["X", "Y", "Z"]
_OPERATORS = ["+", "-", "*", "="]


def split_of(number: int) -> Split:
    """HELM's first thousand instances are examples, the next five thousand are for validation."""
    if number < TRAIN:
        return "train"
    return "valid" if number < TRAIN + VALID else "test"


def read(loader: Loader, args: Args) -> Iterator[Instance]:
    mode = chosen(args, ARGS, "mode")
    draws = LegacyRandom(HELM_SEED + loader.seed)
    return numbered(_draft(draws, mode, split_of(number)) for number in range(TRAIN + VALID + TEST))


def _some(draws: LegacyRandom, options: list[str]) -> list[str]:
    """Two or three, with repetition."""
    return draws.pick(options, 2 + draws.below(2))


def _substitution(draws: LegacyRandom, variables: list[str]) -> dict[str, str]:
    """One or two words for each variable."""
    return {variable: " ".join(draws.pick(_WORDS, 1 + draws.below(2))) for variable in variables}


def _draft(draws: LegacyRandom, mode: str, split: Split) -> Draft:
    variables = _some(draws, _VARIABLES)
    distinct = sorted(set(variables))
    operators = _some(draws, _OPERATORS)
    pattern = draws.shuffled(variables + operators)
    first, second = _substitution(draws, distinct), _substitution(draws, distinct)
    rule, result = " ".join(pattern), _applied(pattern, first)
    if mode == "induction":
        source = f"Two results: {result} | {_applied(pattern, second)}"
        target = f"Rule: {rule}"
    elif mode == "variable_substitution":
        by = " , ".join(f'{variable} by " {words} "' for variable, words in first.items())
        source, target = f"Rules: {rule} | Substitutions: {by}", result
    else:
        others = [" ".join(draws.shuffled(distinct + operators)) for _ in range(3)]
        rules = " | ".join(draws.shuffled([*others, rule]))
        source, target = f"Rules: {rules} | Result: {result}", rule
    return Draft(input=source, references=answer(target), split=split)


def _applied(pattern: list[str], substitution: dict[str, str]) -> str:
    return " ".join(substitution.get(symbol, symbol) for symbol in pattern)


SYNTHETIC_REASONING = Scenario(
    name="synthetic_reasoning",
    title="Synthetic reasoning (abstract symbols)",
    description="Finds, applies or induces a rule of abstract symbols.",
    source="generated; Liang et al. 2022, after Wu et al. 2021 (arXiv 2101.06223)",
    licence="Apache-2.0",
    read=read,
    adaptation=generation(
        instructions="Please solve the following problem.", output_noun="Target", shots=5, max_tokens=50
    ),
    main_metric="quasi_exact_match",
    metrics=("exact_match",),
    tags=("targeted", "generated", "reasoning"),
    args=ARGS,
)
