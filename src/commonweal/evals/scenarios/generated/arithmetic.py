"""Arithmetic: adding, subtracting and multiplying whole numbers, with every step of the column method.

Numbers have exactly ``digits`` digits and a difference is never negative. The problems of the examples and of the
test are distinct. ``extra["thought"]`` is the worked solution, in which every equation is true and which ends in the
answer.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import replace

from commonweal.evals.instance import Instance
from commonweal.evals.scenario import Args, Loader, Scenario
from commonweal.evals.scenarios.arguments import chosen
from commonweal.evals.scenarios.building import Draft, answer, numbered
from commonweal.evals.scenarios.prompting import generation

ARGS = {"operation": ("add", "subtract", "multiply"), "digits": ("2", "1", "3", "4", "5")}
MOST, EXAMPLES = 600, 100

_PLACES = ("ones", "tens", "hundreds", "thousands", "ten thousands")


def read(loader: Loader, args: Args) -> Iterator[Instance]:
    operation, digits = chosen(args, ARGS, "operation"), int(chosen(args, ARGS, "digits"))
    stream = random.Random(f"arithmetic {operation} {digits} {loader.seed}")
    problems = list(_problems(stream, operation, digits))
    examples = min(EXAMPLES, len(problems) // 5)
    return numbered(_draft(operation, a, b, number < examples) for number, (a, b) in enumerate(problems))


def _problems(stream: random.Random, operation: str, digits: int) -> Iterator[tuple[int, int]]:
    """Distinct pairs, drawn without replacement."""
    least = 10 ** (digits - 1)
    count = 10**digits - least
    for drawn in stream.sample(range(count * count), min(MOST, count * count)):
        a, b = least + drawn // count, least + drawn % count
        if operation != "subtract" or a >= b:
            yield a, b


def _draft(operation: str, a: int, b: int, example: bool) -> Draft:
    words, result, thought = _OPERATIONS[operation]
    return Draft(
        input=f"What is {a} {words} {b}?",
        references=answer(str(result(a, b))),
        split="train" if example else "test",
        extra={"thought": thought(a, b)},
    )


def added(a: int, b: int) -> str:
    """The steps of an addition.

    >>> added(34, 58)
    'Ones: 4 + 8 = 12, write 2, carry 1. Tens: 3 + 5 + 1 = 9, write 9. So 34 + 58 = 92.'
    """
    steps, carry = [], 0
    for place, (x, y) in enumerate(_columns(a, b)):
        total = x + y + carry
        terms = f"{x} + {y}" + (" + 1" if carry else "")
        carry = total // 10
        end = ", carry 1" if carry else ""
        steps.append(f"{_PLACES[place].capitalize()}: {terms} = {total}, write {total % 10}{end}.")
    return f"{' '.join(steps)} So {a} + {b} = {a + b}."


def subtracted(a: int, b: int) -> str:
    """The steps of a subtraction.

    >>> subtracted(52, 38)
    'Ones: borrow, 12 - 8 = 4. Tens: 5 - 3 - 1 = 1. So 52 - 38 = 14.'
    """
    steps, borrowed = [], 0
    for place, (x, y) in enumerate(_columns(a, b)):
        terms = f"- {y}" + (" - 1" if borrowed else "")
        below = x - y - borrowed < 0
        top = x + 10 if below else x
        start = "borrow, " if below else ""
        steps.append(f"{_PLACES[place].capitalize()}: {start}{top} {terms} = {top - y - borrowed}.")
        borrowed = int(below)
    return f"{' '.join(steps)} So {a} - {b} = {a - b}."


def multiplied(a: int, b: int) -> str:
    """The partial products, and their sums one by one.

    >>> multiplied(34, 58)
    '34 x 8 = 272. 34 x 50 = 1700. 272 + 1700 = 1972. So 34 x 58 = 1972.'
    """
    factors = [int(digit) * 10**place for place, digit in enumerate(reversed(str(b))) if digit != "0"]
    steps = [f"{a} x {factor} = {a * factor}." for factor in factors]
    total = a * factors[0]
    for factor in factors[1:]:
        steps.append(f"{total} + {a * factor} = {total + a * factor}.")
        total += a * factor
    return f"{' '.join(steps)} So {a} x {b} = {total}."


def _columns(a: int, b: int) -> Iterator[tuple[int, int]]:
    """The digits of both, from the right."""
    for x, y in zip(reversed(str(a)), reversed(str(b)), strict=True):
        yield int(x), int(y)


_OPERATIONS: dict[str, tuple[str, Callable[[int, int], int], Callable[[int, int], str]]] = {
    "add": ("plus", int.__add__, added),
    "subtract": ("minus", int.__sub__, subtracted),
    "multiply": ("times", int.__mul__, multiplied),
}

ARITHMETIC = Scenario(
    name="arithmetic",
    title="Arithmetic",
    description="Adds, subtracts or multiplies two numbers of one to five digits.",
    source="generated",
    licence="Apache-2.0",
    read=read,
    adaptation=generation(input_noun="Question", output_noun="Answer", max_tokens=20),
    main_metric="quasi_exact_match",
    metrics=("exact_match",),
    tags=("generated", "reasoning", "mathematics"),
    args=ARGS,
)

ARITHMETIC_CHAIN_OF_THOUGHT = Scenario(
    name="arithmetic_chain_of_thought",
    title="Arithmetic (chain of thought)",
    description="The same with worked examples; the last number of the answer counts.",
    source="generated",
    licence="Apache-2.0",
    read=read,
    adaptation=replace(
        generation(input_noun="Question", output_noun="Answer", max_tokens=300),
        chain_of_thought=True,
        chain_of_thought_suffix=" The answer is ",
        output_suffix=".\n",
    ),
    main_metric="final_number_exact_match",
    metrics=("numeric",),
    tags=("generated", "reasoning", "mathematics", "chain_of_thought"),
    args=ARGS,
)
