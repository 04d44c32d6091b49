"""From feedback to a model's next version: what each stage does with a data set. Nothing here asks, trains or writes.

A version is always trained from the model itself, on all feedback that may be used now, and compared with the latest
version: what was withdrawn since is no part of it, and nothing is learned twice.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from commonweal.core.completion import Choice
from commonweal.core.errors import UserError
from commonweal.serve.community.datasets import DataSet
from commonweal.serve.community.gate import GateRules
from commonweal.serve.community.heldout import Question, questions, value
from commonweal.serve.tuning.recipe import Method

_METHODS: Final[tuple[tuple[str, Method], ...]] = (("dpo", "dpo"), ("sft", "supervised"), ("kto", "kto"))
"""The formats of a data set, the one that says most first (pairs), and how each is learned."""

SUFFIX: Final = "feedback"
"""In the name of every candidate."""


class TooLittleFeedback(UserError):
    """Nothing was trained: it could not be told whether it is better."""

    code = "too_little_feedback"


def described(dataset: DataSet) -> str:
    """A line for people."""
    counts = {name: file["examples"] for name, file in dataset.manifest["files"].items()}
    return f"data set {dataset.id}: " + ", ".join(f"{name} {n}" for name, n in sorted(counts.items()))


def training_side(dataset: DataSet) -> tuple[str, Method]:
    """The file to be trained on, and how. Raises TooLittleFeedback where there is none."""
    for format, method in _METHODS:
        if f"{format}.train.jsonl" in dataset.files:
            return f"{format}.train.jsonl", method
    raise TooLittleFeedback(
        "there is nothing to train on: all feedback stands on the held-out side",
        hint="collect feedback from more conversations",
    )


def held_out_side(dataset: DataSet, read: Callable[[DataSet, str], bytes]) -> list[Question]:
    """What both versions are measured by."""
    return [
        question
        for name in dataset.files
        if name.endswith(".heldout.jsonl")
        for question in questions(name, read(dataset, name))
    ]


def enough(held_out: Sequence[Question], rules: GateRules) -> None:
    """Raises TooLittleFeedback where the gate could only refuse."""
    counts = {format: sum(q.format == format for q in held_out) for format, _ in _METHODS}
    if max(counts.values()) < rules.fewest_held_out:
        there = ", ".join(f"{n} {format}" for format, n in counts.items() if n) or "none"
        raise TooLittleFeedback(
            f"{len(held_out)} held-out examples ({there}) are too few to tell whether a candidate is better",
            hint=f"at least {rules.fewest_held_out} of one kind are needed, and a fifth of all conversations is held"
            " out: collect more feedback",
        )


def values(found: Sequence[Question], scored: Sequence[Sequence[Choice]]) -> dict[str, dict[str, float]]:
    """By format, the value of every question that could be scored; ``scored`` has each question's answers."""
    made: dict[str, dict[str, float]] = {}
    for question, choices in zip(found, scored, strict=True):
        number = value(question, choices)
        if number is not None:
            made.setdefault(question.format, {})[question.id] = number
    return made
