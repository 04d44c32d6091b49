"""Problems for a model with a calculator: GSM8K, and long arithmetic that no model does in its head."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace

from commonweal.evals.adaptation import Adaptation
from commonweal.evals.instance import Instance, Reference
from commonweal.evals.loading.fields import bad, field
from commonweal.evals.scenario import Args, Loader, Local, Scenario
from commonweal.evals.scenarios.targeted.mathematics import gsm8k_hub

_ARITHMETIC = 200


def _gsm8k(loader: Loader, args: Args) -> Iterator[Instance]:
    for row in loader.rows(Local(path="gsm8k/test.jsonl"), gsm8k_hub("test")):
        thought, mark, number = field(row, "answer").rpartition("####")
        if not mark:
            raise bad(row, "field 'answer' should end with #### and a number")
        yield Instance(
            id=str(row["__line__"]),
            input=field(row, "question"),
            references=(Reference(text=number.strip().replace(",", ""), correct=True),),
            extra={"thought": thought.strip()},
        )


def _arithmetic(loader: Loader, args: Args) -> Iterator[Instance]:
    """Products and sums of 4- to 9-digit integers, drawn from the loader's seed."""
    draw = random.Random(f"arithmetic_tools {loader.seed}")
    for number in range(_ARITHMETIC):
        a, b, c = (draw.randrange(10**3, 10 ** draw.randint(4, 9)) for _ in range(3))
        text, value = draw.choice(
            (
                (f"{a} * {b}", a * b),
                (f"{a} * {b} - {c}", a * b - c),
                (f"({a} + {b}) * {c}", (a + b) * c),
            )
        )
        yield Instance(
            id=str(number),
            input=f"What is {text}?",
            references=(Reference(text=str(value), correct=True),),
        )


_CALCULATOR = Adaptation(
    method="tools",
    ask="chat",
    instructions="Solve the problem; use the tool 'calculator' for arithmetic. End with a line "
    "'The answer is N.' where N is a number.\n",
    input_prefix="",
    output_prefix="",
    shots=0,
    max_tokens=800,
    stop=(),
    tools=("calculator",),
)
_SCENARIO = Scenario(
    name="gsm8k_tools",
    title="GSM8K with a calculator",
    description="Word problems of grade-school mathematics; the model may use a calculator that the harness runs.",
    source="Cobbe et al. 2021, Training Verifiers to Solve Math Word Problems, arXiv 2110.14168",
    licence="MIT",
    read=_gsm8k,
    adaptation=_CALCULATOR,
    main_metric="final_answer_match",
    metrics=("final_answer", "efficiency"),
    tags=("reasoning", "mathematics", "tools"),
)
TOOL_USE = (
    _SCENARIO,
    replace(
        _SCENARIO,
        name="arithmetic_tools",
        title="Long arithmetic with a calculator",
        description="Generated products and sums of up to nine digits; whether the model uses the tool it was given.",
        source="generated here",
        licence="Apache-2.0",
        read=_arithmetic,
        tags=("mathematics", "tools", "generated", "offline"),
    ),
)
