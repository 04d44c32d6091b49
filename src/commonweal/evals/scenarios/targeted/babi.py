"""bAbI: twenty tasks of reasoning over short stories (Weston et al. 2015, arXiv 1502.05698).

The original text format: numbered lines; a line with a question has the question, its answer and the numbers of the
supporting facts between tabs; the number 1 begins a new story. HELM reads ``en-valid``, whose test questions are
those of ``en``; either is taken.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import chain

from commonweal.core.errors import NotFound
from commonweal.evals.instance import Instance, Split
from commonweal.evals.loading.fields import bad, field
from commonweal.evals.scenario import Args, Loader, Local, Row, Scenario
from commonweal.evals.scenarios.arguments import chosen
from commonweal.evals.scenarios.building import Draft, answer, numbered, passage_question
from commonweal.evals.scenarios.prompting import generation
from commonweal.evals.scenarios.reading import mirror

ARGS = {"task": ("all", *map(str, range(1, 21)))}

_SPLITS: tuple[Split, ...] = ("train", "valid", "test")
_HUB = "Muennighoff/babi"
_SEPARATOR = re.compile(r"[\t|]")  # a copy in circulation has bars for tabs in the first task
_PATH_FINDING = 19
_DIRECTIONS = {"s": "south", "n": "north", "e": "east", "w": "west"}


def read(loader: Loader, args: Args) -> Iterator[Instance]:
    asked = chosen(args, ARGS, "task")
    tasks = range(1, 21) if asked == "all" else (int(asked),)
    return numbered(draft for task in tasks for split in _SPLITS for draft in _split(loader, task, split))


def _split(loader: Loader, task: int, split: Split) -> Iterator[Draft]:
    origins = (
        Local(path=f"babi/en-valid/qa{task}_{split}.txt"),
        Local(path=f"babi/en/qa{task}_*_{split}.txt"),
        mirror(_HUB, split=split),
    )
    try:
        rows = loader.rows(*origins)
    except NotFound:
        if split == "valid":  # the folder ``en`` has none
            return
        raise
    first = next(rows, None)
    if first is None:
        return
    told = _stories if "line" in first else _mirrored
    yield from told(chain([first], rows), task, split)


def _stories(rows: Iterable[Row], task: int, split: Split) -> Iterator[Draft]:
    story: list[str] = []
    for row in rows:
        number, _, fact = field(row, "line").partition(" ")
        if not number.isdecimal() or not fact:
            raise bad(row, f"field 'line' should be a number and a sentence, but is {field(row, 'line')!r}")
        if number == "1":
            story = []
        if "?" not in fact:
            story.append(fact + "\n")
            continue
        parts = _SEPARATOR.split(fact)
        if len(parts) < 2:
            raise bad(row, "field 'line': a question should be followed by a tab and its answer")
        yield _draft("".join(story), parts[0].strip(), parts[1].strip(), task, split, row)


def _mirrored(rows: Iterable[Row], task: int, split: Split) -> Iterator[Draft]:
    for row in rows:
        if field(row, "task", int) == task:
            yield _draft(
                field(row, "passage"), field(row, "question"), field(row, "answer"), task, split, row
            )


def _draft(passage: str, question: str, text: str, task: int, split: Split, row: Row) -> Draft:
    return Draft(
        input=passage_question(passage, question, separator=""),
        references=answer(verbal_path(text, row) if task == _PATH_FINDING else text),
        split=split,
        subset=f"task {task}",
    )


def verbal_path(path: str, row: Row) -> str:
    """The answers of task 19 in words, as HELM asks for them.

    >>> verbal_path("s,w", {})
    'south west'
    """
    steps = path.split(",")
    if not all(step in _DIRECTIONS for step in steps):
        if all(word in _DIRECTIONS.values() for word in path.split()):
            return path
        raise bad(row, f"a path should be letters of n, e, s, w between commas, but is {path!r}")
    return " ".join(_DIRECTIONS[step] for step in steps)


BABI = Scenario(
    name="babi_qa",
    title="bAbI",
    description="Questions about short generated stories, twenty kinds of reasoning.",
    source="http://www.thespermwhale.com/jaseweston/babi/tasks_1-20_v1-2.tar.gz (Weston et al. 2015, arXiv 1502.05698)",
    licence="CC-BY-3.0",
    read=read,
    adaptation=generation(input_noun="Passage", output_noun="Answer"),
    main_metric="quasi_exact_match",
    metrics=("exact_match",),
    tags=("targeted", "reasoning", "question_answering"),
    args=ARGS,
)
