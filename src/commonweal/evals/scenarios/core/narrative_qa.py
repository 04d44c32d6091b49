"""NarrativeQA: questions about books and films, asked of their summaries (Kočiský et al. 2018)."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

from commonweal.evals.instance import Instance, Split
from commonweal.evals.loading import field
from commonweal.evals.scenario import Args, Hub, Loader, Local, Row, Scenario
from commonweal.evals.scenarios.building import answer, passage_question
from commonweal.evals.scenarios.helm_adaptations import OPEN_ENDED
from commonweal.evals.scenarios.prompting import generation
from commonweal.evals.scenarios.reading import table, tables

_SPLITS: tuple[tuple[Split, str], ...] = (("train", "train"), ("valid", "validation"), ("test", "test"))
_SEED = 0  # HELM's


@dataclass(frozen=True, slots=True, kw_only=True)
class _Question:
    document: str
    summary: str
    text: str
    answers: tuple[str, ...]


def read(loader: Loader, args: Args) -> Iterator[Instance]:
    """One question a document, drawn as HELM draws it: in the order of the questions' file, split by split."""
    draw = random.Random(_SEED)
    for split, name in _SPLITS:
        documents: dict[str, list[_Question]] = {}
        for question in _questions(loader, split, name):
            documents.setdefault(question.document, []).append(question)
        for document, questions in documents.items():
            drawn = draw.choice(questions)
            text = drawn.text if drawn.text.endswith("?") else drawn.text + "?"
            yield Instance(
                id=document,
                input=passage_question(drawn.summary, text),
                references=answer(*drawn.answers),
                split=split,
            )


def _questions(loader: Loader, split: Split, name: str) -> Iterator[_Question]:
    """From the authors' repository (two CSV files), else from the hub."""
    rows = loader.rows(
        Local(path="narrativeqa/qaps.csv"), Hub(path="deepmind/narrativeqa", revision="main", split=name)
    )
    summaries: dict[str, str] | None = None
    for row in rows:
        if summaries is None:
            summaries = _summaries(loader, split) if "document_id" in row else {}
        if row.get("set", split) == split:
            yield _question(row, summaries)


def _summaries(loader: Loader, split: Split) -> dict[str, str]:
    rows = loader.rows(
        Local(path="narrativeqa/third_party/wikipedia/summaries.csv"), Local(path="narrativeqa/summaries.csv")
    )
    return {field(row, "document_id"): field(row, "summary") for row in rows if row.get("set") == split}


def _question(row: Row, summaries: dict[str, str]) -> _Question:
    if "document" in row:
        document = table(row, "document")
        return _Question(
            document=field(document, "id"),
            summary=field(table(document, "summary"), "text").strip(),
            text=field(table(row, "question"), "text").strip(),
            answers=tuple(field(given, "text") for given in tables(row, "answers")),
        )
    document_id = field(row, "document_id")
    return _Question(
        document=document_id,
        summary=field(summaries, document_id).strip(),
        text=field(row, "question").strip(),
        answers=(field(row, "answer1"), field(row, "answer2")),
    )


NARRATIVE_QA = Scenario(
    name="narrative_qa",
    title="NarrativeQA",
    description="Questions about books and films, answered in a few words from a summary of the story.",
    source="Kočiský et al. 2018, https://aclanthology.org/Q18-1023",
    licence="Apache-2.0",
    read=read,
    adaptation=generation(input_noun="Passage", output_noun="Answer", max_tokens=100),
    main_metric="f1_score",
    metrics=OPEN_ENDED,
    tags=("core", "question_answering"),
)
