"""Following instructions: IFEval (checked by rules) and MT-Bench (two turns, judged)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from commonweal.evals.adaptation import Adaptation
from commonweal.evals.instance import Instance, Reference
from commonweal.evals.loading.fields import bad, field
from commonweal.evals.scenario import Args, Hub, Loader, Local, Scenario
from commonweal.evals.scenarios.arguments import chosen
from commonweal.evals.scenarios.reading import github

_TEMPERATURES = {"writing": 0.7, "roleplay": 0.7, "stem": 0.1, "humanities": 0.1}
_CATEGORIES = ("writing", "roleplay", "extraction", "math", "coding", "reasoning", "stem", "humanities")
_ARGS = {"category": ("all", *_CATEGORIES)}


_QUESTIONS, _ANSWERS = (
    github(
        "lm-sys/FastChat",
        "0e6d3e4beaab66f4d3f93db72541a4abab8af28d",
        f"fastchat/llm_judge/data/mt_bench/{name}.jsonl",
        sha256,
    )
    for name, sha256 in (
        ("question", "119565adbab82227089cefdb44c8d7e2cf04dc0a0ec233634c82e7d4e2a944f7"),
        ("reference_answer/gpt-4", "f957a5bc977badb66885ec970e6cd08527845780313f0995764260e5777b9b3f"),
    )
)


def _ifeval(loader: Loader, args: Args) -> Iterator[Instance]:
    rows = loader.rows(
        Local(path="ifeval/input_data.jsonl"),
        Hub(path="google/IFEval", revision="966cd89545d6b6acfd7638bc708b98261ca58e84", split="train"),
    )
    for row in rows:
        kinds, given = field(row, "instruction_id_list", list), field(row, "kwargs", list)
        if len(kinds) != len(given):
            raise bad(row, f"{len(kinds)} instructions, but arguments for {len(given)}")
        prompt = field(row, "prompt")
        yield Instance(
            id=f"id{row.get('key')}",
            input=prompt.strip(),
            extra={
                "prompt": prompt,
                "instructions": list(kinds),
                "arguments": [_given(one) for one in given],
            },
        )


def _given(arguments: dict[str, Any] | None) -> dict[str, Any]:
    """Without the nulls by which the data set's Parquet form fills up each row."""
    return {key: value for key, value in (arguments or {}).items() if value is not None}


def _mt_bench(loader: Loader, args: Args) -> Iterator[Instance]:
    wanted = chosen(args, _ARGS, "category")
    known = {
        field(row, "question_id", int): field(row, "choices", list)[0]["turns"]
        for row in loader.rows(Local(path="mt_bench/mt_bench_reference_gpt-4.jsonl"), _ANSWERS)
    }
    for row in loader.rows(Local(path="mt_bench/mt_bench_question.jsonl"), _QUESTIONS):
        category, turns = field(row, "category"), field(row, "turns", list)
        if wanted in ("all", category):
            number = field(row, "question_id", int)
            yield Instance(
                id=str(number),
                input=turns[0],
                turns=tuple(turns[1:]),
                references=tuple(Reference(text=text, correct=True) for text in known.get(number, ())),
                subset=category,
            )


def _warm(adaptation: Adaptation, args: Args) -> Adaptation:
    """FastChat's temperature for a category; questions of all categories together are asked at 0."""
    return replace(adaptation, temperature=_TEMPERATURES.get(args.get("category", "all"), 0.0))


INSTRUCTIONS = (
    Scenario(
        name="ifeval",
        title="IFEval",
        description="Requests with instructions that a rule can check (at least 300 words, no commas, ...).",
        source="Zhou et al. 2023, Instruction-Following Evaluation, arXiv 2311.07911",
        licence="Apache-2.0",
        read=_ifeval,
        adaptation=Adaptation(
            ask="prefer_chat", input_prefix="", output_prefix="", shots=0, max_tokens=4096, stop=()
        ),
        main_metric="ifeval_strict_accuracy",
        metrics=("ifeval", "ifeval_instructions", "efficiency"),
        tags=("instructions",),
    ),
    Scenario(
        name="mt_bench",
        title="MT-Bench",
        description="80 questions with a second turn, rated from 1 to 10 by a judge model.",
        source="Zheng et al. 2023, Judging LLM-as-a-Judge with MT-Bench and Chatbot Arena, arXiv 2306.05685",
        licence="CC-BY-4.0",
        read=_mt_bench,
        adaptation=Adaptation(
            ask="chat",
            input_prefix="",
            input_suffix="",
            output_prefix="",
            output_suffix="",
            shots=0,
            max_tokens=1024,
            stop=(),
        ),
        main_metric="judge_score",
        metrics=("judge", "efficiency"),
        tags=("instructions", "judged"),
        args=_ARGS,
        needs=("judge",),
        vary=_warm,
    ),
)
