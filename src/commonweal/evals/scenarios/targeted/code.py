"""Programs from descriptions: HumanEval (Chen et al. 2021) and APPS (Hendrycks et al. 2021).

The unit tests stand in ``extra`` and are run in a sandbox only. HumanEval: ``test`` (Python that defines
``check(candidate)``), ``entry_point`` and ``prompt``, as the data set has them. APPS: ``tests`` with ``inputs``,
``outputs`` and, for a function in place of a program, ``fn_name``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from commonweal.evals.instance import Instance, Split
from commonweal.evals.loading.fields import bad, field
from commonweal.evals.scenario import Args, Hub, Loader, Local, Row, Scenario
from commonweal.evals.scenarios.arguments import chosen
from commonweal.evals.scenarios.building import Draft, answer, numbered
from commonweal.evals.scenarios.prompting import completion
from commonweal.evals.scenarios.reading import one_of
from commonweal.evals.scenarios.targeted.indentation import with_tabs

DIFFICULTIES = ("introductory", "interview", "competition")
APPS_ARGS = {"difficulty": ("all", *DIFFICULTIES)}

_HUMANEVAL = "openai/openai_humaneval"
_HUMANEVAL_REVISION = "7dce6050a7d6d172f3cc5c32aa97f52fa1a2e544"
_APPS = "codeparrot/apps"
_APPS_REVISION = "21e74ddf8de1a21436da12e3e653065c5213e9d1"
_LONGEST = 150_000  # characters of a text, as in the authors' code
_SPLITS: tuple[Split, ...] = ("train", "test")


def read_humaneval(loader: Loader, args: Args) -> Iterator[Instance]:
    rows = loader.rows(
        Local(path="humaneval/HumanEval.jsonl"),
        Local(path="humaneval/HumanEval.jsonl.gz"),
        Hub(path=_HUMANEVAL, revision=_HUMANEVAL_REVISION, config="openai_humaneval"),
    )
    return numbered(
        Draft(
            input=field(row, "prompt"),
            references=answer(field(row, "canonical_solution")),
            extra={
                "task_id": field(row, "task_id"),
                "prompt": field(row, "prompt"),
                "test": field(row, "test"),
                "entry_point": field(row, "entry_point"),
            },
        )
        for row in rows
    )


def read_apps(loader: Loader, args: Args) -> Iterator[Instance]:
    difficulty = chosen(args, APPS_ARGS, "difficulty")
    return numbered(
        draft for split in _SPLITS for draft in _apps(loader, split) if difficulty in ("all", draft.subset)
    )


def _apps(loader: Loader, split: Split) -> Iterator[Draft]:
    for row in loader.rows(
        Local(path=f"apps/{split}.jsonl"),
        Local(path=f"apps/{split}.jsonl.gz"),
        Hub(path=_APPS, revision=_APPS_REVISION, file=f"{split}.jsonl"),
    ):
        solutions, tests = _json(row, "solutions", list), _json(row, "input_output", dict)
        if (split == "train" and not solutions) or (split == "test" and not tests):
            continue  # nothing to show, nothing to test by
        texts = [with_tabs(solution)[:_LONGEST] for solution in solutions] or [""]
        yield Draft(
            input=apps_prompt(field(row, "question"), field(row, "starter_code")),
            references=answer(*texts),
            split=split,
            subset=one_of(row, "difficulty", *DIFFICULTIES),
            extra={"tests": tests},
        )


def apps_prompt(question: str, starter_code: str) -> str:
    """The authors' prompt, with HELM's "in Python"."""
    answer_type = "\nUse Call-Based format\n" if starter_code else "\nUse Standard Input format\n"
    return f"\nQUESTION:\n{question[:_LONGEST]}\n{starter_code[:_LONGEST]}\n{answer_type}\nANSWER in Python code:\n"


def _json(row: Row, name: str, kind: type[Any]) -> Any:
    """The JSON text of a field, empty where the field is. Some tests have numbers of thousands of digits, more than
    ``int`` reads: such a number stays text."""
    text = field(row, name)
    try:
        value = json.loads(text, parse_int=_number) if text.strip() else kind()
    except json.JSONDecodeError as error:
        raise bad(row, f"field '{name}' should be JSON: {error.msg} (column {error.colno})") from None
    if not isinstance(value, kind):
        raise bad(row, f"field '{name}' should hold a JSON {kind.__name__}, but holds {value!r:.60}")
    return value


def _number(digits: str) -> int | str:
    return int(digits) if len(digits) <= 4000 else digits


HUMANEVAL = Scenario(
    name="code_humaneval",
    title="HumanEval",
    description="Completes a Python function from its signature and docstring; unit tests decide.",
    source="https://github.com/openai/human-eval (Chen et al. 2021, arXiv 2107.03374)",
    licence="MIT",
    read=read_humaneval,
    adaptation=completion(temperature=0.2, stop=("\nclass", "\ndef", "\nif", "\nprint"), max_tokens=600),
    main_metric="pass",
    metrics=("code",),
    tags=("targeted", "reasoning", "code"),
    needs=("sandbox",),
)

APPS = Scenario(
    name="code_apps",
    title="APPS",
    description="Programs for tasks of programming competitions; tests of input and output decide.",
    source="https://github.com/hendrycks/apps (Hendrycks et al. 2021, arXiv 2105.09938)",
    licence="MIT",
    read=read_apps,
    adaptation=completion(shots=2, temperature=0.2, stop=("'''", "---", '"""', "\n\n\n"), max_tokens=600),
    main_metric="test_avg",
    metrics=("code",),
    tags=("targeted", "reasoning", "code"),
    args=APPS_ARGS,
    needs=("sandbox",),
)
