"""MBPP: short Python problems, judged by running their tests. The prompt is that of lm-evaluation-harness 0.4 (Austin
et al. 2021, section 2.1): three worked tasks (2, 3, 4), then the task with its three tests."""

from __future__ import annotations

from collections.abc import Iterator

from commonweal.evals.adaptation import Adaptation
from commonweal.evals.instance import Instance, Reference, Split
from commonweal.evals.loading.fields import bad, field
from commonweal.evals.scenario import Args, Loader, Local, Scenario
from commonweal.evals.scenarios.reading import github

_WEB = github(
    "deepseek-ai/DeepSeek-Coder",
    "2f9fd85927c669dae3c0fbb2d607274023af243e",
    "Evaluation/MBPP/data/mbpp.jsonl",
    "ccf64ceae9c5403bf50a044cb6d505bfd2a2963ee58338ba268fd65beab92a9f",
)
"""A copy of the authors' file."""


def _mbpp(loader: Loader, args: Args) -> Iterator[Instance]:
    for row in loader.rows(Local(path="mbpp/mbpp.jsonl"), _WEB):
        number, tests = field(row, "task_id", int), field(row, "test_list", list)
        split = _split(number)
        if split is None:
            continue
        if len(tests) < 3:
            raise bad(row, f"task {number}: expected three tests, found {len(tests)}")
        shown = "\n".join(tests[:3])
        yield Instance(
            id=str(number),
            input=f"{field(row, 'text')} Your code should pass these tests:\n\n{shown}",
            references=(Reference(text=field(row, "code"), correct=True),),
            split=split,
            extra={"tests": {"test_list": tests, "test_setup_code": field(row, "test_setup_code")}},
        )


def _split(number: int) -> Split | None:
    """The paper's: 1-10 for prompts (of which 2 to 4 are used), 11-510 test, 511-600 validation, the rest training."""
    if 2 <= number <= 4:
        return "train"
    if 11 <= number <= 510:
        return "test"
    return "valid" if 511 <= number <= 600 else None


PROGRAMS = (
    Scenario(
        name="mbpp",
        title="MBPP",
        description="Basic Python problems in a sentence and three tests; the program is run in a sandbox.",
        source="Austin et al. 2021, Program Synthesis with Large Language Models, arXiv 2108.07732",
        licence="CC-BY-4.0",
        read=_mbpp,
        adaptation=Adaptation(
            input_prefix="You are an expert Python programmer, and here is your task: ",
            input_suffix="\n[BEGIN]\n",
            output_prefix="",
            output_suffix="\n[DONE]\n",
            shots=3,
            sample_train=False,
            max_tokens=512,
            stop=("[DONE]",),
        ),
        main_metric="pass@1",
        metrics=("code", "efficiency"),
        tags=("code",),
        needs=("sandbox",),
    ),
)
