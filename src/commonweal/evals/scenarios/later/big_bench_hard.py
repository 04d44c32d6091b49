"""BIG-Bench Hard: 27 tasks that were hard for models in 2022, with the authors' chain-of-thought prompts.

The prompt is theirs, byte for byte: the task's description and three worked examples, then the question. It is the
instance's input, because each task has its own; so the examples do not shrink to fit a small window.
"""

from __future__ import annotations

from collections.abc import Iterator

from commonweal.core.errors import DataError
from commonweal.evals.instance import Instance, Reference
from commonweal.evals.loading.fields import bad, field
from commonweal.evals.scenario import Args, Loader, Local, Scenario
from commonweal.evals.scenarios.arguments import chosen
from commonweal.evals.scenarios.prompting import completion

TASKS = (
    "boolean_expressions",
    "causal_judgement",
    "date_understanding",
    "disambiguation_qa",
    "dyck_languages",
    "formal_fallacies",
    "geometric_shapes",
    "hyperbaton",
    "logical_deduction_five_objects",
    "logical_deduction_seven_objects",
    "logical_deduction_three_objects",
    "movie_recommendation",
    "multistep_arithmetic_two",
    "navigate",
    "object_counting",
    "penguins_in_a_table",
    "reasoning_about_colored_objects",
    "ruin_names",
    "salient_translation_error_detection",
    "snarks",
    "sports_understanding",
    "temporal_sequences",
    "tracking_shuffled_objects_five_objects",
    "tracking_shuffled_objects_seven_objects",
    "tracking_shuffled_objects_three_objects",
    "web_of_lies",
    "word_sorting",
)
_ARGS = {"task": ("all", *TASKS)}
_CANARY_END = "-----\n"


def _read(loader: Loader, args: Args) -> Iterator[Instance]:
    task = chosen(args, _ARGS, "task")
    for name in TASKS if task == "all" else (task,):
        prompt = _prompt(loader, name)
        for row in loader.rows(Local(path=f"bbh/bbh/{name}.json")):
            for number, example in enumerate(field(row, "examples", list)):
                if not isinstance(example, dict):
                    raise bad(row, f"example {number}: expected an object with input and target")
                where = {"__file__": row["__file__"], "__line__": number, **example}
                yield Instance(
                    id=f"{name}-{number}",
                    input=f"{prompt}\n\nQ: {field(where, 'input')}",
                    references=(Reference(text=field(where, "target").strip(), correct=True),),
                    subset=name,
                )


def _prompt(loader: Loader, task: str) -> str:
    path = loader.path(Local(path=f"bbh/cot-prompts/{task}.txt"))
    text: str = path.read_text(encoding="utf-8")
    if _CANARY_END not in text:
        raise DataError(f"{path}: expected a line '-----' before the prompt")
    return text.split(_CANARY_END, 1)[1]


BIG_BENCH_HARD = (
    Scenario(
        name="bbh",
        title="BIG-Bench Hard",
        description="27 tasks of reasoning, each with three worked examples; the answer is read after 'the answer is'.",
        source="Suzgun et al. 2022, Challenging BIG-Bench Tasks, arXiv 2210.09261",
        licence="MIT",
        read=_read,
        adaptation=completion(
            output_prefix="\nA: Let's think step by step.", max_tokens=1024, stop=("\n\nQ:", "</s>")
        ),
        main_metric="final_answer_match",
        metrics=("final_answer", "efficiency"),
        tags=("reasoning",),
        args=_ARGS,
    ),
)
