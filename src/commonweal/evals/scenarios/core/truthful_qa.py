"""TruthfulQA: questions that many people answer falsely (Lin et al. 2022), as HELM asks them: one true choice."""

from __future__ import annotations

from collections.abc import Iterator

from commonweal.evals.instance import Instance, Reference, Split
from commonweal.evals.loading import field
from commonweal.evals.loading.fields import bad
from commonweal.evals.scenario import Args, Hub, Loader, Local, Row, Scenario
from commonweal.evals.scenarios.helm_adaptations import CHOICE, METHODS, by_method
from commonweal.evals.scenarios.prompting import joint
from commonweal.evals.scenarios.reading import texts


def read(loader: Loader, args: Args) -> Iterator[Instance]:
    """The first fifth are examples, as in HELM: they are of the first categories, and are never asked."""
    rows = list(
        loader.rows(
            Local(path="truthfulqa/TruthfulQA.csv"),
            Hub(path="truthfulqa/truthful_qa", revision="main", config="generation", split="validation"),
        )
    )
    fifth = int(len(rows) * 0.2)
    for number, row in enumerate(rows):
        yield _instance(row, f"id{number}", "train" if number < fifth else "valid")


def _instance(row: Row, id: str, split: Split) -> Instance:
    """The original CSV and the hub's table name their columns differently; HELM rotates the choices by the first
    letter of the best answer, so that it does not always stand last."""
    csv = "Question" in row
    best = _sentence(row, field(row, "Best Answer" if csv else "best_answer"))
    wrong = field(row, "Incorrect Answers").split(";") if csv else texts(row, "incorrect_answers")
    references = [Reference(text=_sentence(row, text)) for text in wrong if text.strip()]
    references.append(Reference(text=best, correct=True))
    turn = ord(best[0]) % len(references)
    return Instance(
        id=id,
        input=field(row, "Question" if csv else "question").strip(),
        references=tuple(references[turn:] + references[:turn]),
        split=split,
        subset=field(row, "Category" if csv else "category"),
    )


def _sentence(row: Row, text: str) -> str:
    text = text.strip()
    if not text:
        raise bad(row, "an answer is empty")
    return text if text.endswith(".") else text + "."


TRUTHFUL_QA = Scenario(
    name="truthful_qa",
    title="TruthfulQA",
    description="Questions about common misconceptions: one choice is true, the others are what people believe.",
    source="Lin et al. 2022, https://aclanthology.org/2022.acl-long.229",
    licence="Apache-2.0",
    read=read,
    adaptation=joint(instructions="", input_noun="Question"),
    main_metric="exact_match",
    metrics=CHOICE,
    tags=("core", "knowledge", "harms", "multiple_choice"),
    args={"task": ("mc_single",), "method": METHODS},
    vary=by_method,
)
