"""Word problems and competition mathematics: GSM8K (Cobbe et al. 2021) and MATH (Hendrycks et al. 2021).

MATH's order, and with it its ids and the pool of examples, is HELM's: sorted by problem, then shuffled as the
data set library does with the seed 42.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from commonweal.evals.adaptation import Adaptation
from commonweal.evals.instance import Instance, Split
from commonweal.evals.loading.fields import bad, field
from commonweal.evals.scenario import Args, Hub, Loader, Local, Row, Scenario
from commonweal.evals.scenarios.arguments import chosen, is_true
from commonweal.evals.scenarios.building import Draft, answer, numbered
from commonweal.evals.scenarios.prompting import generation

SUBJECTS = {
    "number_theory": "Number Theory",
    "intermediate_algebra": "Intermediate Algebra",
    "algebra": "Algebra",
    "prealgebra": "Prealgebra",
    "geometry": "Geometry",
    "counting_and_probability": "Counting & Probability",
    "precalculus": "Precalculus",
}
"""HELM's names of the subjects, and the data set's."""

CHAIN_ARGS = {"subject": tuple(SUBJECTS), "level": ("1", "2", "3", "4", "5")}
MATH_ARGS = {**CHAIN_ARGS, "use_official_examples": ("False", "True")}

OFFICIAL_EXAMPLES = (
    ("What is $\\left(\\frac{7}{8}\\right)^3 \\cdot \\left(\\frac{7}{8}\\right)^{-3}$?", "1"),
    (
        "In how many ways can 4 books be selected from a shelf of 6 books"
        " if the order in which the books are selected does not matter?",
        "15",
    ),
    ("Find the distance between the points $(2,1,-4)$ and $(5,8,-3).$", "\\sqrt{59}"),
    (
        "The faces of an octahedral die are labeled with digits $1$ through $8$."
        " What is the probability, expressed as a common fraction,"
        " of rolling a sum of $15$ with a pair of such octahedral dice?",
        "\\frac{1}{32}",
    ),
    (
        "The first three terms of an arithmetic sequence are 1, 10 and 19, respectively."
        " What is the value of the 21st term?",
        "181",
    ),
    ("Calculate $6 \\cdot 8\\frac{1}{3}", "50"),
    (
        "When the binary number $100101110010_2$ is divided by 4,"
        " what is the remainder (give your answer in base 10)?",
        "2",
    ),
    ("How many zeros are at the end of the product 25 $\\times$ 240?", "3"),
)
"""The eight examples of the paper (Hendrycks et al. 2021, section 4.1), as HELM writes them."""

_GSM8K = "openai/gsm8k"
_GSM8K_REVISION = "cc7b047b6e5bb11b4f1af84efc572db110a51b3c"
_MATH = "hendrycks/competition_math"
_MATH_REVISION = "71b758ecc688b2822d07ffa7f8393299f1dc7cac"
_SPLITS: tuple[Split, ...] = ("train", "test")
_SHUFFLE_SEED = 42


def gsm8k_hub(split: str) -> Hub:
    return Hub(path=_GSM8K, revision=_GSM8K_REVISION, config="main", split=split)


def read_gsm8k(loader: Loader, args: Args) -> Iterator[Instance]:
    return numbered(
        Draft(
            input=field(row, "question"), references=answer(gsm8k_answer(field(row, "answer"))), split=split
        )
        for split in _SPLITS
        for row in loader.rows(
            Local(path=f"gsm8k/{split}.jsonl"),
            gsm8k_hub(split),
        )
    )


def gsm8k_answer(solution: str) -> str:
    """The worked solution on one line.

    >>> gsm8k_answer("2 + 2 = <<2+2=4>>4.\\n#### 4")
    '2 + 2 = <<2+2=4>>4. The answer is 4.'
    """
    return solution.replace("####", "The answer is").replace("\n", " ") + "."


def read_math(loader: Loader, args: Args) -> Iterator[Instance]:
    official = is_true(args, MATH_ARGS, "use_official_examples")
    return numbered(_math(loader, args, official=official, whole=False))


def read_math_chain_of_thought(loader: Loader, args: Args) -> Iterator[Instance]:
    return numbered(_math(loader, args, official=False, whole=True))


def _math(loader: Loader, args: Args, *, official: bool, whole: bool) -> Iterator[Draft]:
    subject = SUBJECTS[chosen(args, CHAIN_ARGS, "subject")]
    level = "Level " + chosen(args, CHAIN_ARGS, "level")
    if official:
        for problem, short in OFFICIAL_EXAMPLES:
            yield Draft(input=problem, references=answer(short), split="train")
    for split in _SPLITS[official:]:
        for row in _shuffled(list(_rows(loader, split))):
            if field(row, "type") == subject and field(row, "level") == level:
                solution = field(row, "solution")
                text = solution if whole else boxed(solution) or ""
                if not text:
                    raise bad(row, "field 'solution' should end in \\boxed{...} or \\fbox{...}")
                yield Draft(input=field(row, "problem"), references=answer(text), split=split)


def _rows(loader: Loader, split: Split) -> Iterator[Row]:
    return loader.rows(
        Local(path=f"math/{split}.jsonl"), Hub(path=_MATH, revision=_MATH_REVISION, split=split)
    )


def _shuffled(rows: list[Row]) -> Iterator[Row]:
    rows.sort(key=lambda row: field(row, "problem").encode())
    for index in np.random.default_rng(_SHUFFLE_SEED).permutation(len(rows)):
        yield rows[index]


def boxed(solution: str) -> str | None:
    r"""The content of the last ``\boxed{...}``, or ``\fbox{...}`` where there is none (github.com/hendrycks/math,
    ``last_boxed_only_string``); of ``\boxed 5``, which a few solutions have, what stands before the next ``$``.

    >>> boxed(r"So it is $\boxed{\frac{2}{3}}$.")
    '\\frac{2}{3}'
    """
    start = solution.rfind("\\boxed")
    if start < 0:
        start = solution.rfind("\\fbox")
    if start < 0:
        return None
    open_brace = start + len("\\boxed" if solution.startswith("\\boxed", start) else "\\fbox")
    if solution.startswith(" ", open_brace):
        return solution[open_brace + 1 :].split("$")[0]
    depth = 0
    for end in range(open_brace, len(solution)):
        depth += (solution[end] == "{") - (solution[end] == "}")
        if solution[end] == "}" and depth == 0:
            return solution[open_brace + 1 : end] if solution[open_brace] == "{" else None
    return None


def _prompt(*, output_prefix: str, output_suffix: str, max_tokens: int, stop: str) -> Adaptation:
    return Adaptation(
        method="generation",
        instructions="Given a mathematics problem, determine the answer. Simplify your answer as much as possible.\n",
        shots=8,
        temperature=0.0,
        stop=(stop,),
        max_tokens=max_tokens,
        input_prefix="Problem: ",
        input_suffix="\n",
        output_prefix=output_prefix,
        output_suffix=output_suffix,
        instance_prefix="###\n",
    )


GSM8K = Scenario(
    name="gsm",
    title="GSM8K",
    description="Word problems of grade-school mathematics; the last number of the answer counts.",
    source="https://github.com/openai/grade-school-math (Cobbe et al. 2021, arXiv 2110.14168)",
    licence="MIT",
    read=read_gsm8k,
    adaptation=generation(input_noun="Q", output_noun="A", shots=5, max_tokens=400, stop=("\n\n",)),
    main_metric="final_number_exact_match",
    metrics=("numeric",),
    tags=("targeted", "reasoning", "mathematics"),
)

MATH = Scenario(
    name="math",
    title="MATH",
    description="Problems of mathematics competitions; the answer alone is asked for.",
    source="https://github.com/hendrycks/math (Hendrycks et al. 2021, arXiv 2103.03874)",
    licence="MIT",
    read=read_math,
    adaptation=_prompt(output_prefix="Answer: $", output_suffix="$\n", max_tokens=20, stop="$"),
    main_metric="math_equiv",
    metrics=("math_equiv",),
    tags=("targeted", "reasoning", "mathematics"),
    args=MATH_ARGS,
)

MATH_CHAIN_OF_THOUGHT = Scenario(
    name="math_chain_of_thought",
    title="MATH (chain of thought)",
    description="Problems of mathematics competitions; the examples show worked solutions.",
    source=MATH.source,
    licence="MIT",
    read=read_math_chain_of_thought,
    adaptation=_prompt(output_prefix="Answer: ", output_suffix="\n", max_tokens=400, stop="###"),
    main_metric="math_equiv_chain_of_thought",
    metrics=("math_equiv",),
    tags=("targeted", "reasoning", "mathematics", "chain_of_thought"),
    args=CHAIN_ARGS,
)
