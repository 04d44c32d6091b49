"""Instances from texts, with HELM's ids: ``id0``, ``id1``, ... in the order in which a scenario lists its instances,
examples first (HELM: ``with_instance_ids``). So a run here and one of HELM's name the same question alike.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from commonweal.evals.instance import Instance, Reference, Split


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """An instance that has no id yet."""

    input: str
    references: tuple[Reference, ...] = ()
    split: Split = "test"
    subset: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict)


def numbered(drafts: Iterable[Draft]) -> Iterator[Instance]:
    """The drafts as instances, numbered in their order."""
    for number, draft in enumerate(drafts):
        yield Instance(
            id=f"id{number}",
            input=draft.input,
            references=draft.references,
            split=draft.split,
            subset=draft.subset,
            extra=draft.extra,
        )


def answer(*texts: str) -> tuple[Reference, ...]:
    """References of which each is correct."""
    return tuple(Reference(text=text, correct=True) for text in texts)


def choices(texts: Iterable[str], correct: int) -> tuple[Reference, ...]:
    """References of which the one at index ``correct`` is correct."""
    return tuple(Reference(text=text, correct=index == correct) for index, text in enumerate(texts))


def matching(texts: Iterable[str], right: str) -> tuple[Reference, ...]:
    """References of which those with the text ``right`` are correct."""
    return tuple(Reference(text=text, correct=text == right) for text in texts)


def passage_question(passage: str, question: str, *, separator: str = "\n") -> str:
    """HELM's PassageQuestionInput.

    >>> passage_question("Ann left.", "Who left?")
    'Ann left.\\nQuestion: Who left?'
    """
    return f"{passage}{separator}Question: {question}"
