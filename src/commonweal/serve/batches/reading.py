"""The input of a batch: one request a line, checked as a whole before any of it is asked.

Nothing here asks anybody. A line is read again when it is asked, so that a file of any length needs the memory of one
line.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

MOST_LINES = 50_000
LONGEST_LINE = 4 * 2**20
_MOST_ERRORS = 100
_LONGEST_ID = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One request. ``number`` is its line in the file, from 1."""

    number: int
    custom_id: str
    body: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class BadLine:
    """Why a line cannot be asked. ``line`` is None where the whole file is at fault."""

    code: str
    message: str
    line: int | None = None
    param: str | None = None

    def to_json(self) -> dict[str, Any]:
        return {"code": self.code, "message": self.message, "line": self.line, "param": self.param}


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """What a file comes to. ``model`` is the one that all lines name, if it is one."""

    total: int
    errors: tuple[BadLine, ...]
    model: str | None


def split(pieces: Iterable[bytes]) -> Iterator[tuple[int, bytes | None]]:
    """The lines of a file that comes in pieces, with their numbers; None for one that is too long. Empty lines are
    left out.

    >>> list(split([b"a\\n\\nb", b"c\\r\\nd"]))
    [(1, b'a'), (3, b'bc'), (4, b'd')]
    """
    number, kept, long = 0, b"", False
    for piece in pieces:
        *whole, rest = (kept + piece).split(b"\n")
        for text in whole:
            number += 1
            if long or len(text) > LONGEST_LINE:
                yield number, None
            elif text.strip():
                yield number, text.strip()
            long = False
        kept = rest
        if len(kept) > LONGEST_LINE:
            kept, long = b"", True
    if long:
        yield number + 1, None
    elif kept.strip():
        yield number + 1, kept.strip()


def read(number: int, text: bytes | None, endpoint: str) -> Line | BadLine:
    """One line."""
    if text is None:
        return BadLine(
            code="line_too_long", message=f"The line is longer than {LONGEST_LINE} bytes.", line=number
        )
    try:
        value = orjson.loads(text)
    except ValueError:
        return BadLine(
            code="invalid_json_line",
            message="This line is not parseable as valid JSON.",
            line=number,
        )
    if not isinstance(value, dict):
        return BadLine(code="invalid_json_line", message="This line is not a JSON object.", line=number)
    for param, right, code, message in _rules(value, endpoint):
        if not right:
            return BadLine(code=code, message=message, line=number, param=param)
    return Line(number=number, custom_id=value["custom_id"], body=value["body"])


def check(lines: Iterable[tuple[int, bytes | None]], endpoint: str) -> Input:
    """The whole input: how many requests, and what is wrong with them (the first hundred mistakes)."""
    total, errors, seen, models = 0, list[BadLine](), set[str](), set[str]()
    for number, text in lines:
        total += 1
        if total > MOST_LINES:
            errors.insert(
                0,
                BadLine(
                    code="too_many_requests",
                    message=f"The file has more than {MOST_LINES} requests.",
                    line=number,
                ),
            )
            break
        line = read(number, text, endpoint)
        if isinstance(line, Line) and line.custom_id in seen:
            line = BadLine(
                code="duplicate_custom_id",
                message=f"The custom_id '{line.custom_id[:80]}' is also that of an earlier line.",
                line=number,
                param="custom_id",
            )
        if isinstance(line, BadLine):
            errors.append(line)
            continue
        seen.add(line.custom_id)
        models.add(str(line.body.get("model")))
    if not total:
        errors.append(BadLine(code="empty_file", message="The input file has no requests."))
    return Input(
        total=total,
        errors=tuple(errors[:_MOST_ERRORS]),
        model=models.pop() if len(models) == 1 else None,
    )


def _rules(value: Mapping[str, Any], endpoint: str) -> Iterator[tuple[str, bool, str, str]]:
    """For each rule: the field, whether it is kept, and what is said if it is not."""
    missing = "missing_required_parameter"
    for name in ("custom_id", "method", "url", "body"):
        yield name, name in value, missing, f"Missing required parameter: '{name}'."
    custom_id, body = value["custom_id"], value["body"]
    named = isinstance(custom_id, str) and 0 < len(custom_id) <= _LONGEST_ID and "\0" not in custom_id
    yield (
        "custom_id",
        named,
        "invalid_custom_id",
        f"'custom_id' must be a text of 1 to {_LONGEST_ID} characters.",
    )
    yield "method", value["method"] == "POST", "invalid_method", "'method' must be 'POST'."
    yield (
        "url",
        value["url"] == endpoint,
        "mismatched_url",
        f"'url' is not the batch's endpoint, '{endpoint}'.",
    )
    yield "body", isinstance(body, dict), "invalid_body", "'body' must be a JSON object."
    yield (
        "body.stream",
        not body.get("stream"),
        "unsupported_parameter",
        "A batch does not stream: leave 'stream' out.",
    )
