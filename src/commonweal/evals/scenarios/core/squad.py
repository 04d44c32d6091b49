"""SQuAD 1.1: a span of a paragraph of Wikipedia answers a question (Rajpurkar et al. 2016). Asked as HELM asks its
questions about a passage. The local file is XQuAD (Artetxe et al. 2020): 1,190 questions of SQuAD's dev set, also in
professional translations."""

from __future__ import annotations

from collections.abc import Iterator

from commonweal.evals.instance import Instance, Split
from commonweal.evals.loading import examples, field
from commonweal.evals.scenario import Args, Hub, Loader, Local, Origin, Row, Scenario
from commonweal.evals.scenarios.arguments import chosen
from commonweal.evals.scenarios.building import answer, passage_question
from commonweal.evals.scenarios.helm_adaptations import ANSWER
from commonweal.evals.scenarios.prompting import generation
from commonweal.evals.scenarios.reading import table, tables, texts

ARGS = {"language": ("en", "ar", "de", "es", "zh")}

_HUB = "rajpurkar/squad"


def read(loader: Loader, args: Args) -> Iterator[Instance]:
    """Train (English alone) and dev. XQuAD has no train split."""
    language = chosen(args, ARGS, "language")
    dev: list[Origin] = [Local(path=f"xquad/xquad.{language}.json")]
    if language == "en":
        train = (Local(path="squad/train-v1.1.json"), Hub(path=_HUB, revision="main", split="train"))
        for row in examples(loader, *train):
            yield from _instances(row, "train", "")
        dev = [Local(path="squad/dev-v1.1.json"), *dev, Hub(path=_HUB, revision="main", split="validation")]
    else:
        dev.append(Hub(path="google/xquad", revision="main", config=f"xquad.{language}", split="validation"))
    for row in loader.rows(*dev):
        yield from _instances(row, "valid", language)


def _instances(row: Row, split: Split, language: str) -> Iterator[Instance]:
    """Of a whole file in the authors' format, or of one question of the hub's table."""
    if "data" not in row:
        yield _instance(row, field(row, "context"), texts(table(row, "answers"), "text"), split, language)
        return
    for article in tables(row, "data"):
        for paragraph in tables(article, "paragraphs"):
            for asked in tables(paragraph, "qas"):
                spans = [field(span, "text") for span in tables(asked, "answers")]
                yield _instance(asked, field(paragraph, "context"), spans, split, language)


def _instance(asked: Row, context: str, spans: list[str], split: Split, language: str) -> Instance:
    return Instance(
        id=field(asked, "id"),
        input=passage_question(context, field(asked, "question").strip()),
        references=answer(*dict.fromkeys(spans)),
        split=split,
        subset=language,
    )


SQUAD = Scenario(
    name="squad",
    title="SQuAD",
    description="A question about a paragraph of Wikipedia, answered by a span of it.",
    source="Rajpurkar et al. 2016, https://aclanthology.org/D16-1264; XQuAD: Artetxe et al. 2020",
    licence="CC-BY-SA-4.0",
    read=read,
    adaptation=generation(input_noun="Passage", output_noun="Answer", max_tokens=50),
    main_metric="f1_score",
    metrics=ANSWER,
    tags=("question_answering",),
    args=ARGS,
)
