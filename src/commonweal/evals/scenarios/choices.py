"""Building the instances of questions: with choices, or with answers that are all correct.

A row without an id of its own is named by its split and its place there, ``test-17``, whatever file it came from.
"""

from __future__ import annotations

from collections.abc import Sequence

from commonweal.evals.instance import Instance, Reference, Split
from commonweal.evals.loading.fields import bad
from commonweal.evals.scenario import Row


def question(
    row: Row, text: str, choices: Sequence[str], correct: int, *, id: str, split: Split, subset: str = ""
) -> Instance:
    """A question with one correct choice. As in HELM, a choice with the correct one's very text is correct too.
    Raises DataError where ``correct`` is no choice."""
    if not 0 <= correct < len(choices):
        raise bad(row, f"the answer should be 0 to {len(choices) - 1}, but is {correct}")
    answer = choices[correct]
    references = tuple(Reference(text=choice, correct=choice == answer) for choice in choices)
    return Instance(id=id, input=text, references=references, split=split, subset=subset)


def letter(row: Row, key: str, choices: Sequence[str]) -> int:
    """The place of a choice that is named A, B, C ... or 1, 2, 3 ... Raises DataError.

    >>> letter({}, "C", ["x", "y", "z"])
    2
    """
    place = int(key) - 1 if key.isdigit() else ord(key) - ord("A") if len(key) == 1 else -1
    if not 0 <= place < len(choices):
        raise bad(row, f"the answer should name one of {len(choices)} choices, but is {key!r}")
    return place
