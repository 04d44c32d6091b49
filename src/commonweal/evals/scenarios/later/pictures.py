"""Questions about pictures: easy-VQA, simple shapes of one colour. For models that see."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from commonweal.core.completion import Image
from commonweal.evals.adaptation import Adaptation
from commonweal.evals.instance import Instance, Reference
from commonweal.evals.loading.fields import bad
from commonweal.evals.scenario import Args, Loader, Local, Row, Scenario

_SHAPES = frozenset({"circle", "rectangle", "triangle"})


_GET = "github.com/vzhou842/easy-VQA: its folder easy_vqa/data, called easy_vqa here"


def _read(loader: Loader, args: Args) -> Iterator[Instance]:
    folder: Path = loader.path(Local(path="easy_vqa/test/images", get=_GET))
    number, picture = -1, Image(data=b"")
    for line, row in enumerate(loader.rows(Local(path="easy_vqa/test/questions.json"))):
        question, answer, wanted = _question(row)
        if wanted != number:  # questions on one picture stand together: its bytes are read and kept once
            number, picture = wanted, Image(data=(folder / f"{wanted}.png").read_bytes())
        yield Instance(
            id=str(line),
            input=question,
            references=(Reference(text=answer, correct=True),),
            subset=_kind(answer),
            images=(picture,),
        )


def _question(row: Row) -> tuple[str, str, int]:
    match row.get("value"):
        case [str(question), str(answer), int(number)]:
            return question, answer, number
    raise bad(row, "expected a question, its answer and the number of a picture")


def _kind(answer: str) -> str:
    if answer in ("yes", "no"):
        return "yes_no"
    return "shape" if answer in _SHAPES else "colour"


PICTURES = (
    Scenario(
        name="easy_vqa",
        title="easy-VQA",
        description="Questions on the shape and the colour in small pictures, answered in a word.",
        source="Zhou 2019, easy-VQA, github.com/vzhou842/easy-VQA",
        licence="MIT",
        read=_read,
        adaptation=Adaptation(
            ask="chat",
            instructions="Answer the question about the picture in one word, in lower case.\n",
            input_prefix="Question: ",
            output_prefix="Answer: ",
            shots=0,
            max_tokens=5,
        ),
        main_metric="quasi_exact_match",
        metrics=("exact_match", "efficiency"),
        tags=("images",),
        needs=("images",),
    ),
)
