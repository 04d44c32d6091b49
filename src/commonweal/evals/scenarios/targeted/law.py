"""Legal reasoning by multiple choice: LSAT's analytical questions (Zhong et al. 2021) and LegalSupport (Liang et al.
2022, which of two cases supports a passage)."""

from __future__ import annotations

from collections.abc import Iterator

from commonweal.evals.instance import Instance, Split
from commonweal.evals.loading.fields import bad, field
from commonweal.evals.scenario import Args, Loader, Local, Row, Scenario
from commonweal.evals.scenarios.arguments import chosen
from commonweal.evals.scenarios.building import Draft, choices, matching, numbered, passage_question
from commonweal.evals.scenarios.prompting import joint
from commonweal.evals.scenarios.reading import mirror, one_of, table, tables, texts

MAIN_TYPES = {
    "in/out grouping": "grouping",
    "distribution grouping": "grouping",
    "simple ordering": "ordering",
    "relative ordering": "ordering",
    "complex ordering": "ordering",
    "determined assignment": "assignment",
    "undetermined assignment": "assignment",
}
"""AR-LSAT's types of questions, and HELM's larger ones."""

LSAT_ARGS = {"task": ("all", "grouping", "ordering", "assignment", "miscellaneous")}

_LSAT_SPLITS: tuple[tuple[str, str, Split], ...] = (
    ("Training", "train", "train"),
    ("Development", "validation", "valid"),
    ("Test", "test", "test"),
)
_SUPPORT_SPLITS: tuple[tuple[str, str, Split], ...] = (
    ("train", "train", "train"),
    ("dev", "validation", "valid"),
    ("test", "test", "test"),
)


def read_lsat(loader: Loader, args: Args) -> Iterator[Instance]:
    return numbered(_lsat(loader, chosen(args, LSAT_ARGS, "task")))


def _lsat(loader: Loader, task: str) -> Iterator[Draft]:
    for name, hub_split, split in _LSAT_SPLITS:
        local = Local(path=f"lsat/AR_{name}Data.json")
        for row in loader.rows(local, mirror("lighteval/lsat_qa", config=task, split=hub_split)):
            if "questions" in row:
                yield from _asked(row, task, split)
            else:
                options, index = texts(row, "references"), field(row, "gold_index", int)
                yield _question(row, field(row, "passage"), options, index, split, task)


def _asked(row: Row, task: str, split: Split) -> Iterator[Draft]:
    passage = field(row, "passage")
    for question in tables(row, "questions"):
        kinds = question_types(question)
        if task == "all" or task in kinds:
            options = texts(question, "options")
            index = ord(one_of(question, "answer", *"ABCDE")) - ord("A")
            yield _question(question, passage, options, index, split, kinds[-1])


def _question(row: Row, passage: str, options: list[str], index: int, split: Split, subset: str) -> Draft:
    if not 0 <= index < len(options):
        raise bad(row, f"the answer is number {index + 1} of {len(options)} options")
    return Draft(
        input=passage_question(passage, field(row, "question")),
        references=choices(options, index),
        split=split,
        subset=subset,
    )


def question_types(question: Row) -> list[str]:
    """The type of a question (its third tag) and, where it has one, the larger type."""
    tags = texts(question, "tags")
    if len(tags) < 3:
        raise bad(question, f"field 'tags' should have three texts, but has {len(tags)}")
    kind = tags[2].replace("grouping (distribution)", "distribution grouping") or "miscellaneous"
    made = [kind.replace(" ", "_").replace("/", "_")]
    return [*made, MAIN_TYPES[kind]] if kind in MAIN_TYPES else made


def read_legal_support(loader: Loader, args: Args) -> Iterator[Instance]:
    return numbered(
        _case(row, split)
        for name, hub_split, split in _SUPPORT_SPLITS
        for row in loader.rows(
            Local(path=f"legal_support/{name}.jsonl"), mirror("lighteval/legal_support", split=hub_split)
        )
    )


def _case(row: Row, split: Split) -> Draft:
    options = [field(table(row, f"citation_{letter}"), "parenthetical") for letter in "ab"]
    return Draft(
        input=field(row, "context"),
        references=matching(options, options["ab".index(one_of(row, "label", "a", "b"))]),
        split=split,
    )


LSAT = Scenario(
    name="lsat_qa",
    title="LSAT",
    description="Analytical reasoning of the Law School Admission Test: assignments under constraints, five choices.",
    source="https://github.com/zhongwanjun/AR-LSAT data/ (Zhong et al. 2021, arXiv 2104.06598)",
    licence="MIT (the repository)",
    read=read_lsat,
    adaptation=joint(
        instructions="The following are multiple choice questions (with answers).", input_noun="Passage"
    ),
    main_metric="quasi_exact_match",
    metrics=("exact_match", "calibration"),
    tags=("targeted", "reasoning", "law"),
    args=LSAT_ARGS,
)

LEGAL_SUPPORT = Scenario(
    name="legal_support",
    title="LegalSupport",
    description="Which of two case summaries supports a passage of a legal argument best?",
    source="https://docs.google.com/uc?export=download&id=1PVoyddrCHChMxYrLhsI-zu7Xzs5S8N77 (Liang et al. 2022, 4.6)",
    licence="not stated",
    read=read_legal_support,
    adaptation=joint(
        instructions="Which statement best supports the passage?", input_noun="Passage", shots=3
    ),
    main_metric="quasi_exact_match",
    metrics=("exact_match", "calibration"),
    tags=("targeted", "reasoning", "law"),
)
