"""QuAC: a question in a dialogue about a section of Wikipedia (Choi et al. 2018)."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from commonweal.evals.instance import Instance, Split
from commonweal.evals.loading import field
from commonweal.evals.loading.fields import bad
from commonweal.evals.scenario import Args, Hub, Loader, Local, Row, Scenario
from commonweal.evals.scenarios.building import answer
from commonweal.evals.scenarios.helm_adaptations import ANSWER
from commonweal.evals.scenarios.prompting import generation
from commonweal.evals.scenarios.reading import rows_if_any, table, tables, texts

_NO_ANSWER = "CANNOTANSWER"
_OTHER_WORDS = ("Not enough information", "Cannot answer", "Do not know")
_SEED = 0  # HELM's: where in a dialogue the model is asked


@dataclass(frozen=True, slots=True, kw_only=True)
class _Turn:
    question: str
    answer: str
    accepted: tuple[str, ...]


def read(loader: Loader, args: Args) -> Iterator[Instance]:
    """One question a dialogue, after at least one that is answered; drawn in HELM's order, train before val. Where
    there is no train file the draws are other ones."""
    draw = random.Random(_SEED)
    for row in rows_if_any(loader, *_origins("train", "train")):
        yield from _dialogues(row, "train", draw)
    for row in loader.rows(*_origins("val", "validation")):
        yield from _dialogues(row, "valid", draw)


def _origins(name: str, hub: str) -> tuple[Local, Hub]:
    return Local(path=f"quac/{name}_v0.2.json"), Hub(path="allenai/quac", revision="main", split=hub)


def _dialogues(row: Row, split: Split, draw: random.Random) -> Iterator[Instance]:
    for sample in tables(row, "data") if "data" in row else (row,):
        yield _instance(sample, split, draw)


def _instance(sample: Row, split: Split, draw: random.Random) -> Instance:
    id, context, turns = _original(sample) if "paragraphs" in sample else _from_hub(sample)
    if len(turns) < 3:
        raise bad(sample, f"a dialogue should have at least 3 questions, but has {len(turns)}")
    asked = draw.randint(3, len(turns)) - 1
    # HELM's loop leaves out the turn just before the one that is asked; the prompts are compared with HELM's.
    told = "".join(f"Question: {turn.question}\nAnswer: {turn.answer}\n\n" for turn in turns[: asked - 1])
    accepted = tuple(dict.fromkeys(turns[asked].accepted))
    return Instance(
        id=id,
        input=(
            f"Title: {_title(sample)}\n\nBackground: {field(sample, 'background')}\n\n"
            f"Section: {field(sample, 'section_title')}\nPassage: {context.removesuffix(' ' + _NO_ANSWER)}\n\n"
            f"{told}Question: {turns[asked].question}"
        ),
        references=answer(*accepted, *(_OTHER_WORDS if accepted == (_NO_ANSWER,) else ())),
        split=split,
    )


def _title(sample: Row) -> str:
    return field(sample, "title" if "title" in sample else "wikipedia_page_title")


def _original(sample: Row) -> tuple[str, str, Sequence[_Turn]]:
    dialogue = tables(sample, "paragraphs")[0]
    turns = [
        _Turn(
            question=field(asked, "question"),
            answer=field(table(asked, "orig_answer"), "text"),
            accepted=tuple(field(given, "text") for given in tables(asked, "answers")),
        )
        for asked in tables(dialogue, "qas")
    ]
    return field(dialogue, "id"), field(dialogue, "context"), turns


def _from_hub(sample: Row) -> tuple[str, str, Sequence[_Turn]]:
    originals = texts(table(sample, "orig_answers"), "texts")
    accepted = field(table(sample, "answers"), "texts", list)
    turns = [
        _Turn(question=question, answer=original, accepted=tuple(given))
        for question, original, given in zip(texts(sample, "questions"), originals, accepted, strict=True)
    ]
    return field(sample, "dialogue_id"), field(sample, "context"), turns


QUAC = Scenario(
    name="quac",
    title="QuAC",
    description="A student's next question in a dialogue about a section of Wikipedia; some have no answer there.",
    source="Choi et al. 2018, https://aclanthology.org/D18-1241",
    licence="CC-BY-SA-4.0",
    read=read,
    adaptation=generation(input_noun=None, output_noun="Answer", max_tokens=100),
    main_metric="f1_score",
    metrics=ANSWER,
    tags=("core", "question_answering", "dialogue"),
)
