"""Does a model repeat protected text: books and kernel source (Liang et al. 2022, after
Carlini et al. 2021).

A prompt is the beginning of a work, the reference all that follows in it. HELM's files are one JSON object each:
``{"data": {prefix: rest}, "metadata": ...}``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from commonweal.evals.instance import Instance
from commonweal.evals.loading.fields import field
from commonweal.evals.scenario import Args, Loader, Local, Scenario, Web
from commonweal.evals.scenarios.arguments import Allowed, chosen
from commonweal.evals.scenarios.building import Draft, answer, numbered
from commonweal.evals.scenarios.prompting import completion
from commonweal.evals.scenarios.reading import drive, single

TEXTS = {
    "pilot": "1NwzDx19uzIwBuw7Lq5CSytG7jIth2wJ-",
    "n_books_1000-extractions_per_book_1-prefix_length_5": "16nQD8Nq3ma4K2EZLXHcahG9fcBDxS-zB",
    "n_books_1000-extractions_per_book_1-prefix_length_25": "108sZcMjzY7mvyy1p5Rw62_A8A1I2zM2S",
    "n_books_1000-extractions_per_book_1-prefix_length_125": "10uC4jM6tgI1pgtq--07FFHQ2Te7-SXGA",
    "n_books_1000-extractions_per_book_3-prefix_length_5": "1byrafXv2iULcZArxguJZp2LyFxswX7fN",
    "n_books_1000-extractions_per_book_3-prefix_length_25": "13QOKOd5Fpu5cVu1HRBYxzRcQzwhcPhjD",
    "n_books_1000-extractions_per_book_3-prefix_length_125": "1Y6QvYStCJVanHaI67Pxep3HakWL2cIRP",
    "popular_books-prefix_length_5.json": "11f5aB8IO_iseVdolvW_D3aZ9xeiLCAuv",
    "popular_books-prefix_length_10.json": "1oG9dMz1WiJZiuoXqw4ahFf1HmKWQtwJh",
    "popular_books-prefix_length_25.json": "1dN208HdBD6koaOHQlSDPkOnBrY3-9AfE",
    "popular_books-prefix_length_50.json": "1W_8C6QnISfFkc0tZtKdXKNhoTfgSCrbP",
    "popular_books-prefix_length_125.json": "1RT29rRKNNXKgZBhXNbqevLwR440g44it",
    "popular_books-prefix_length_250.json": "1KcQ3EJGAZO6fSqYXRH5eK122h1hUKZTp",
    "oh_the_places": "1KXqhO14HmCGQ67tuu2ECGbTGloTkBvzt",
}
"""HELM's sets of books, and their ids at drive.google.com/uc?id=."""

CODE = {
    "prompt_num_line_1-min_lines_20.json": "1OLFyW5u7govgIw3ztsZ_5yYV0YpGzi-3",
    "prompt_num_line_5-min_lines_20.json": "1YbDvyAv9hT0BaZ5LV6Y-Y8tGezrBnBAT",
    "prompt_num_line_10-min_lines_20.json": "1Y5piYwil7T6n8toT_-d7NWqVZHh9NVxJ",
}
"""The same of source code of the Linux kernel."""

TEXT_ARGS = {"datatag": tuple(TEXTS)}
CODE_ARGS = {"datatag": tuple(CODE)}


def read_text(loader: Loader, args: Args) -> Iterator[Instance]:
    return _read(loader, args, TEXT_ARGS)


def read_code(loader: Loader, args: Args) -> Iterator[Instance]:
    return _read(loader, args, CODE_ARGS)


def _read(loader: Loader, args: Args, allowed: Allowed) -> Iterator[Instance]:
    datatag = chosen(args, allowed, "datatag")
    whole = single(loader, Local(path=f"copyright/{datatag}.json"), _web(datatag))
    works: Mapping[str, object] = field(whole, "data", dict)
    return numbered(Draft(input=prefix, references=answer(field(works, prefix))) for prefix in works)


def _web(datatag: str) -> Web:
    return drive({**TEXTS, **CODE}[datatag], f"{datatag}.json")


def _scenario(name: str, title: str, what: str, licence: str, allowed: Allowed) -> Scenario:
    return Scenario(
        name=name,
        title=title,
        description=f"The model goes on with the beginning of {what}: how much of it does it repeat?",
        source="https://drive.google.com/uc?id=ID, the ids in scenarios/targeted/memorization.py; each file named "
        "after its datatag with .json (Liang et al. 2022; Carlini et al. 2021)",
        licence=licence,
        read=read_code if allowed is CODE_ARGS else read_text,
        adaptation=completion(temperature=0.2, max_tokens=1024),
        main_metric="longest_common_prefix_length",
        metrics=("copyright",),
        tags=("targeted", "harms", "copyright"),
        args=allowed,
    )


COPYRIGHT_TEXT = _scenario(
    "copyright_text", "Copyright (text)", "a book", "the copyright of the books is their authors'", TEXT_ARGS
)
COPYRIGHT_CODE = _scenario(
    "copyright_code", "Copyright (code)", "a file of the Linux kernel", "GPL-2.0", CODE_ARGS
)
