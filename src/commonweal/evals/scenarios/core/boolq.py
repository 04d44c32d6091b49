"""BoolQ: naturally asked yes/no questions about a passage (Clark et al. 2019), with contrast sets (Gardner et al.
2020)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from commonweal.core.errors import NotFound
from commonweal.evals.instance import Contrast, Instance, Split
from commonweal.evals.loading import examples, field
from commonweal.evals.loading.fields import bad
from commonweal.evals.scenario import Args, Hub, Loader, Local, Row, Scenario
from commonweal.evals.scenarios.arguments import is_true
from commonweal.evals.scenarios.building import answer, passage_question
from commonweal.evals.scenarios.helm_adaptations import CHOICE
from commonweal.evals.scenarios.prompting import generation
from commonweal.evals.scenarios.reading import tables

ARGS = {"only_contrast": ("False", "True")}
_MIRROR = "stanford-crfm/helm-scenarios"

Contrasts = Mapping[str, list[tuple[str, str]]]


def read(loader: Loader, args: Args) -> Iterator[Instance]:
    """Train and dev, from HELM's own mirror. The local file has dev alone."""
    only_contrast = is_true(args, ARGS, "only_contrast")
    for number, row in enumerate(
        examples(
            loader,
            Local(path="boolq/train.jsonl"),
            Hub(path=_MIRROR, revision="main", file="boolq/train.jsonl"),
        )
    ):
        yield _instance(row, number, "train", {})
    contrasts = _contrasts(loader)
    for number, row in enumerate(
        loader.rows(
            Local(path="boolq/dev.jsonl"),
            Local(path="boolq/boolq.jsonl"),
            Hub(path=_MIRROR, revision="main", file="boolq/dev.jsonl"),
        )
    ):
        instance = _instance(row, number, "valid", contrasts)
        if instance.contrasts or not only_contrast:
            yield instance


def _instance(row: Row, number: int, split: Split, contrasts: Contrasts) -> Instance:
    passage, question, label = _fields(row)
    return Instance(
        id=f"{split}-{number}",
        input=_input(passage, question),
        references=answer(label),
        split=split,
        contrasts=tuple(
            Contrast(input=_input(passage, changed), references=answer(other))
            for changed, other in contrasts.get(question, ())
        ),
    )


def _fields(row: Row) -> tuple[str, str, str]:
    """Passage, question without its mark, and "Yes" or "No"; the local file has them in one text."""
    if "query" not in row:
        return field(row, "passage"), field(row, "question"), "Yes" if field(row, "answer", bool) else "No"
    passage, found, question = field(row, "query").removeprefix("Passage: ").rpartition("\nQuestion: ")
    if not found:
        raise bad(row, "field 'query' should hold a passage and a question")
    return passage, question.removesuffix("?"), "Yes" if field(row, "gold", int) else "No"


def _input(passage: str, question: str) -> str:
    return passage_question(passage, question.strip().capitalize() + "?")


def _contrasts(loader: Loader) -> Contrasts:
    """For each question, its changed versions and their answers; those that keep the answer are left out. The first
    entry of the file is a form. None where the file is out of reach."""
    try:
        rows = loader.rows(
            Local(path="boolq/boolq_perturbed.json"), Local(path="boolq/boolq_contrast_sets.json")
        )
    except NotFound:
        return {}
    made: dict[str, list[tuple[str, str]]] = {}
    for entry in [entry for row in rows for entry in tables(row, "data")][1:]:
        original = _yes(entry)
        changed = [
            (field(other, "perturbed_q"), _yes(other)) for other in tables(entry, "perturbed_questions")
        ]
        made[field(entry, "question")] = [
            (text, label) for text, label in changed if text and label != original
        ]
    return made


def _yes(row: Row) -> str:
    return "Yes" if field(row, "answer") == "TRUE" else "No"


BOOLQ = Scenario(
    name="boolq",
    title="BoolQ",
    description="Yes/no questions that people asked a search engine, with a passage of Wikipedia that answers them.",
    source="Clark et al. 2019, https://aclanthology.org/N19-1300; contrast sets: Gardner et al. 2020",
    licence="CC-BY-SA-3.0",
    read=read,
    adaptation=generation(input_noun="Passage", output_noun="Answer"),
    main_metric="quasi_exact_match",
    metrics=CHOICE,
    tags=("core", "question_answering"),
    args=ARGS,
)
