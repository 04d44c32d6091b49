"""NaturalQuestions: what people asked a search engine, answered from Wikipedia (Kwiatkowski et al. 2019).

As in HELM only the short answers count, and only the dev set is read: of the questions with a short answer, every
second one is an example. Closed book, with the long answer, or with the whole page.
"""

from __future__ import annotations

import html
import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from commonweal.evals.adaptation import Adaptation
from commonweal.evals.instance import Instance, Split
from commonweal.evals.loading import field
from commonweal.evals.loading.fields import FILE
from commonweal.evals.scenario import Args, Hub, Loader, Local, Origin, Row, Scenario
from commonweal.evals.scenarios.arguments import chosen
from commonweal.evals.scenarios.building import answer
from commonweal.evals.scenarios.helm_adaptations import ANSWER
from commonweal.evals.scenarios.prompting import generation
from commonweal.evals.scenarios.reading import table, tables, texts

ARGS = {"mode": ("closedbook", "openbook_longans", "openbook_wiki")}

_ORIGINS: tuple[Origin, ...] = (
    Local(path="natural_questions/nq-dev-*.jsonl.gz"),
    Local(path="natural_questions/nq-dev-*.jsonl"),
    Hub(path="google-research-datasets/natural_questions", revision="main", config="dev", split="validation"),
)
_QUESTIONS_ALONE = Local(path="nq_open/NQ-open.dev.jsonl")
_TAG = re.compile(r"<([^>]*)>")
_SEED = 0  # HELM's: which of several short answers an example shows


@dataclass(frozen=True, slots=True, kw_only=True)
class _Question:
    """``short`` and ``long`` answers stand at the same places."""

    id: str
    text: str
    title: str = ""
    page: str = ""
    short: Sequence[str]
    long: Sequence[str] = ()


def read(loader: Loader, args: Args) -> Iterator[Instance]:
    mode = chosen(args, ARGS, "mode")
    draw = random.Random(_SEED)
    number, file = 0, None
    for row in loader.rows(*_ORIGINS, *((_QUESTIONS_ALONE,) if mode == "closedbook" else ())):
        if row.get(FILE) != file:  # HELM counts from 0 in each of its five files
            number, file = 0, row.get(FILE)
        question = _question(row, number, whole=mode == "openbook_wiki")
        if question.short:
            yield _instance(question, mode, "valid" if number % 2 else "train", draw)
            number += 1


def _instance(question: _Question, mode: str, split: Split, draw: random.Random) -> Instance:
    place = draw.randint(0, len(question.short) - 1)
    shown = question.short[place : place + 1] if split == "train" else dict.fromkeys(question.short)
    text = question.text.capitalize()
    text = text if text.endswith("?") else text + "?"
    if mode == "openbook_wiki":
        text = f"Title: {question.title}\n\nPassage: {question.page}\n\nQuestion: {text}"
    elif mode == "openbook_longans":
        text = f"Passage: {question.long[place]}\n\nQuestion: {text}"
    return Instance(id=question.id, input=text, references=answer(*shown), split=split)


def _question(row: Row, number: int, *, whole: bool) -> _Question:
    if "answer" in row:
        return _Question(id=f"nq-open-{number}", text=field(row, "question"), short=texts(row, "answer"))
    return _original(row, whole) if "document_html" in row else _from_hub(row, whole)


def _original(row: Row, whole: bool) -> _Question:
    page = field(row, "document_html").encode()
    short, long = [], []
    for given in tables(row, "annotations"):
        context = _span(page, table(given, "long_answer"))
        for span in tables(given, "short_answers"):
            short.append(_span(page, span))
            long.append(context)
    tokens = [field(token, "token") for token in tables(row, "document_tokens")] if whole else []
    return _Question(
        id=str(row.get("example_id")),
        text=field(row, "question_text"),
        title=field(row, "document_title"),
        page=_joined(tokens),
        short=short,
        long=long,
    )


def _from_hub(row: Row, whole: bool) -> _Question:
    document, annotations = table(row, "document"), table(row, "annotations")
    page = field(document, "html").encode()
    short, long = [], []
    for context, spans in zip(
        tables(annotations, "long_answer"), tables(annotations, "short_answers"), strict=True
    ):
        for start, end in zip(spans["start_byte"], spans["end_byte"], strict=True):
            short.append(_span(page, {"start_byte": start, "end_byte": end}))
            long.append(_span(page, context))
    return _Question(
        id=field(row, "id"),
        text=field(table(row, "question"), "text"),
        title=field(document, "title"),
        page=_joined(texts(table(document, "tokens"), "token")) if whole else "",
        short=short,
        long=long,
    )


def _span(page: bytes, span: Row | dict[str, Any]) -> str:
    """The text between two bytes of the page, without tags."""
    piece = page[field(span, "start_byte", int) : field(span, "end_byte", int)]
    return _TAG.sub("", html.unescape(piece.replace(b"\xc2\xa0", b" ").decode(errors="replace")))


def _joined(tokens: Sequence[str]) -> str:
    return " ".join(_TAG.sub("", html.unescape(token.replace(" ", "_"))) for token in tokens)


def _vary(adaptation: Adaptation, args: Args) -> Adaptation:
    return _CLOSED if chosen(args, ARGS, "mode") == "closedbook" else _OPEN


_CLOSED = generation(input_noun="Question", output_noun="Answer", max_tokens=300)
_OPEN = generation(input_noun=None, output_noun="Answer", max_tokens=300)

NATURAL_QA = Scenario(
    name="natural_qa",
    title="NaturalQuestions",
    description="Questions that people asked a search engine: from memory, or with the passage of Wikipedia.",
    source="Kwiatkowski et al. 2019, https://aclanthology.org/Q19-1026",
    licence="CC-BY-SA-3.0",
    read=read,
    adaptation=_CLOSED,
    main_metric="f1_score",
    metrics=ANSWER,
    tags=("core", "question_answering", "knowledge"),
    args=ARGS,
    vary=_vary,
)
