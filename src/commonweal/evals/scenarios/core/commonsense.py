"""Common sense and science: HellaSwag (Zellers et al. 2019), OpenBookQA (Mihaylov et al. 2018), ARC (Clark et al.
2018). HELM has the first two, under "commonsense"; ARC is asked as HELM asks those.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from commonweal.evals.instance import Instance, Split
from commonweal.evals.loading import examples, field
from commonweal.evals.loading.fields import bad
from commonweal.evals.scenario import Args, Hub, Loader, Local, Row, Scenario
from commonweal.evals.scenarios.arguments import chosen
from commonweal.evals.scenarios.choices import letter, question
from commonweal.evals.scenarios.helm_adaptations import CHOICE, METHODS, by_method
from commonweal.evals.scenarios.prompting import joint
from commonweal.evals.scenarios.reading import table, texts

_COMMON_SENSE = joint(
    instructions="The following are multiple choice questions (with answers) about common sense.",
    input_noun="Question",
)


def read_hellaswag(loader: Loader, args: Args) -> Iterator[Instance]:
    """Train and validation; the test set has no labels. The local sample is of the validation set."""
    hub = "Rowan/hellaswag"
    for row in examples(
        loader, Local(path="hellaswag/hellaswag_train.jsonl"), Hub(path=hub, revision="main", split="train")
    ):
        yield _hellaswag(row, "train")
    for row in loader.rows(
        Local(path="hellaswag/hellaswag_val.jsonl"),
        Local(path="hellaswag/hellaswag_val_1000.jsonl"),
        Hub(path=hub, revision="main", split="validation"),
    ):
        yield _hellaswag(row, "valid")


def _hellaswag(row: Row, split: Split) -> Instance:
    start = field(row, "ctx_b")
    text = f"{field(row, 'activity_label')}: {field(row, 'ctx_a')} {start[:1].upper() + start[1:]}"
    id = f"{split}-{field(row, 'ind', int)}"
    return question(row, text, texts(row, "endings"), field(row, "label", int), id=id, split=split)


_INSTRUCT = re.compile(
    r"Please choose the correct answer to the question: (.*)\n\n"
    r"Answer1: (.*) Answer2: (.*) Answer3: (.*) Answer4: (.*)\n\nAnswer format: .*",
    re.DOTALL,
)


def read_openbookqa(loader: Loader, args: Args) -> Iterator[Instance]:
    """Train and test, as HELM. The local train file is the original in the wording of an instruction."""
    hub = "allenai/openbookqa"
    train = (
        Local(path="openbookqa/train.jsonl"),
        Local(path="openbookqa/openbookqa_train_instruct.json"),
        Hub(path=hub, revision="main", config="main", split="train"),
    )
    for number, row in enumerate(examples(loader, *train)):
        yield _science(row, number, "train")
    for number, row in enumerate(
        loader.rows(
            Local(path="openbookqa/test.jsonl"),
            Local(path="openbookqa/openbook_qa.jsonl"),
            Hub(path=hub, revision="main", config="main", split="test"),
        )
    ):
        yield _science(row, number, "test")


def read_arc(loader: Loader, args: Args) -> Iterator[Instance]:
    """Train and test of the easy or the challenge set. There is no train split among the local files."""
    name = chosen(args, ARC_ARGS, "set")
    hub, config = "allenai/ai2_arc", f"ARC-{name.capitalize()}"
    for number, row in enumerate(
        examples(
            loader,
            Local(path=f"arc/{config}-Train.jsonl"),
            Hub(path=hub, revision="main", config=config, split="train"),
        )
    ):
        yield _science(row, number, "train", subset=name)
    for number, row in enumerate(
        loader.rows(
            Local(path=f"arc/{config}-Test.jsonl"),
            Local(path=f"arc/arc_{name}.jsonl"),
            Hub(path=hub, revision="main", config=config, split="test"),
        )
    ):
        yield _science(row, number, "test", subset=name)


def _science(row: Row, number: int, split: Split, subset: str = "") -> Instance:
    """A question in any of the forms in which the two sets are handed on."""
    form = next((form for key, form in _FORMS.items() if key in row), None)
    if form is None:
        raise bad(row, f"no question in it: expected one of the fields {', '.join(_FORMS)}")
    text, choices, correct = form(row)
    id = str(row["id"]) if "id" in row else f"{split}-{number}"
    return question(row, text, choices, correct, id=id, split=split, subset=subset)


_Asked = tuple[str, list[str], int]


def _foundry(row: Row) -> _Asked:
    return field(row, "query").removeprefix("Question: "), texts(row, "choices"), field(row, "gold", int)


def _instructed(row: Row) -> _Asked:
    match = _INSTRUCT.fullmatch(field(row, "instruction"))
    if match is None:
        raise bad(row, "field 'instruction' should hold a question and four answers")
    text, *choices = match.groups()
    return text, choices, letter(row, field(row, "answer").removeprefix("answer"), choices)


def _original(row: Row) -> _Asked:
    asked = table(row, "question")
    choices = [str(choice["text"]) for choice in field(asked, "choices", list)]
    labels = [str(choice["label"]) for choice in asked["choices"]]
    return field(asked, "stem"), choices, _labelled(row, labels)


def _hub(row: Row) -> _Asked:
    if not isinstance(row.get("choices"), dict):
        return _original(row)
    choices = table(row, "choices")
    text = field(row, "question_stem" if "question_stem" in row else "question")
    return text, texts(choices, "text"), _labelled(row, texts(choices, "label"))


def _labelled(row: Row, labels: list[str]) -> int:
    key = field(row, "answerKey")
    if key not in labels:
        raise bad(row, f"field 'answerKey' should be one of {', '.join(labels)}, but is {key!r}")
    return labels.index(key)


_FORMS: dict[str, Callable[[Row], _Asked]] = {
    "query": _foundry,
    "instruction": _instructed,
    "question_stem": _hub,
    "question": _hub,
}

HELLASWAG = Scenario(
    name="hellaswag",
    title="HellaSwag",
    description="How does a described situation go on? Four endings, of which machines wrote three.",
    source="Zellers et al. 2019, https://aclanthology.org/P19-1472",
    licence="MIT",
    read=read_hellaswag,
    adaptation=_COMMON_SENSE,
    main_metric="exact_match",
    metrics=CHOICE,
    tags=("core", "common_sense", "multiple_choice"),
    args={"method": METHODS},
    vary=by_method,
)

OPENBOOKQA = Scenario(
    name="openbookqa",
    title="OpenBookQA",
    description="Elementary science questions that take a fact and common sense: four choices.",
    source="Mihaylov et al. 2018, https://aclanthology.org/D18-1260",
    licence="Apache-2.0",
    read=read_openbookqa,
    adaptation=_COMMON_SENSE,
    main_metric="exact_match",
    metrics=CHOICE,
    tags=("core", "common_sense", "science", "multiple_choice"),
    args={"method": METHODS},
    vary=by_method,
)

ARC_ARGS = {"set": ("challenge", "easy"), "method": METHODS}

ARC = Scenario(
    name="arc",
    title="ARC",
    description="Grade-school science questions, the challenge set being those that simple methods got wrong.",
    source="Clark et al. 2018, https://arxiv.org/abs/1803.05457",
    licence="CC-BY-SA-4.0",
    read=read_arc,
    adaptation=joint(
        instructions="The following are multiple choice questions (with answers) about science.",
        input_noun="Question",
    ),
    main_metric="exact_match",
    metrics=CHOICE,
    tags=("science", "multiple_choice"),
    args=ARC_ARGS,
    vary=by_method,
)
