"""What is wrong with a fine-tuning file: a code, the line and the field, and what to do. Codes are stable.

The first :data:`KEPT` problems are kept as they are and all of them are counted, so that a file of a million
bad lines is answered in a page. An *error* keeps the file from being used, a *warning* does not.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from commonweal.core.errors import DataError

KEPT = 50

Code = Literal[
    "empty_file",
    "not_utf8",
    "not_json",
    "data_type",
    "mixed_formats",
    "wrong_format",
    "unrecognized_key",
    "missing_messages_list",
    "missing_key",
    "message_not_an_object",
    "message_missing_key",
    "message_unrecognized_key",
    "unrecognized_role",
    "missing_content",
    "wrong_type",
    "example_missing_assistant_message",
    "last_message_not_assistant",
    "invalid_weight",
    "nothing_to_train",
    "invalid_tool",
    "invalid_tool_call",
    "unsupported_content",
    "identical_outputs",
    "refused_by_template",
    "too_long",
    "too_few_examples",
    "truncated",
    "duplicate_example",
]

WARNINGS: frozenset[Code] = frozenset({"truncated", "duplicate_example"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing that is wrong. ``line`` counts from 1 (0: the whole file), ``field`` is a path such as
    ``messages[2].role``."""

    code: Code
    line: int
    field: str
    message: str

    @property
    def is_warning(self) -> bool:
        return self.code in WARNINGS

    def __str__(self) -> str:
        where = f"line {self.line}" if self.line else "the file"
        return f"{where}: {self.field}: {self.message}" if self.field else f"{where}: {self.message}"


@dataclass(slots=True, kw_only=True)
class Problems:
    """Collects problems. ``counts`` are of all, ``first`` the first of them, errors before warnings."""

    counts: dict[Code, int] = field(default_factory=dict)
    _errors: list[Problem] = field(default_factory=list)
    _warnings: list[Problem] = field(default_factory=list)

    def add(self, code: Code, line: int, field: str, message: str) -> None:
        self.counts[code] = self.counts.get(code, 0) + 1
        kept = self._warnings if code in WARNINGS else self._errors
        if len(kept) < KEPT:
            kept.append(Problem(code=code, line=line, field=field, message=message))

    @property
    def first(self) -> tuple[Problem, ...]:
        return (*self._errors, *self._warnings)

    @property
    def warnings(self) -> tuple[Problem, ...]:
        return tuple(self._warnings)

    @property
    def errors(self) -> int:
        """How many keep the file from being used."""
        return sum(count for code, count in self.counts.items() if code not in WARNINGS)

    def check(self) -> None:
        """Raise :class:`BadFile` if there is an error."""
        if self.errors:
            raise BadFile(self)


class BadFile(DataError):
    """A fine-tuning file that cannot be used. ``code`` is the first problem's; ``problems`` has the others."""

    code = "invalid_training_file"

    def __init__(self, problems: Problems) -> None:
        first, more = problems.first[0], problems.errors - 1
        others = f" (and {more} more)" if more else ""
        super().__init__(f"{first}{others}", hint="each line is one JSON object; see docs/finetuning.md")
        self.code = first.code
        self.problems = problems
