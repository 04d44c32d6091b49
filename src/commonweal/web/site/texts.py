"""The texts of a page of instances: whole where there is room, in part where there is not, and what they begin with in
common set apart.

Invariants: nothing is lost (what is not shown stands in a file of plain text that the page links to); which texts are
in part depends on the page's own texts alone, so a page is the same on every export.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from commonweal.evals.summary.runs import SavedRun
from commonweal.web.site import addresses
from commonweal.web.site.beginnings import LEAST, shared_beginnings
from commonweal.web.site.page import File
from commonweal.web.site.samples import Detail

LONGEST = 20_000
ROOM = 400_000
"""Characters of one text, and of all texts on a page."""

TOKENS = 4_000
"""Tokens with their log-probabilities on a page."""

_STEPS = (LONGEST, 10_000, 5_000, 2_000, 1_000, 500)
_BEGINNING, _END = 0.6, 0.1


@dataclass(
    slots=True, kw_only=True
)  # not frozen, as a site has millions of them: that takes three times as long
class Text:
    """A text, or where it is long its beginning and end; ``left_out`` characters are between, and all of it is at
    ``path``. ``shared`` is the number of the page's beginning that comes before, 0 for none."""

    beginning: str
    end: str = ""
    left_out: int = 0
    path: str = ""
    shared: int = 0


class Texts:
    """Of one page. ``files`` fill up as texts are shown."""

    def __init__(self, run: SavedRun, number: int, details: Sequence[Detail]) -> None:
        self._run, self._number = run, number
        requests = [row for one in details for row in one.requests]
        found = shared_beginnings(row["prompt"] for row in requests if row["prompt"])
        self.beginnings = list(found.values())
        self._numbers = {head: n for n, head in enumerate(found, 1)}
        self._cut = {text: self._before(text) for text in {row["prompt"] or "" for row in requests}}
        self._longest = _longest(self._sizes(details, requests))
        asked = sum(row["tokens"] is not None for row in requests)
        self.tokens = max(20, TOKENS // asked) if asked else 0
        self.files: list[File] = []

    def _sizes(self, details: Sequence[Detail], requests: Sequence[Mapping[str, Any]]) -> list[int]:
        """The characters of the texts, without what is shown once for all."""
        rows = [row for one in details for row in one.instances]
        samples = [row for one in details for row in one.samples]
        sizes = [len(row["input"] or "") for row in rows] + [len(row["output"] or "") for row in samples]
        sizes += [len(row["completion"] or "") for row in requests]
        return sizes + [
            len(self._cut[row["prompt"]][1]) if row["prompt"] else len(row["messages"] or "")
            for row in requests
        ]

    def _before(self, text: str) -> tuple[int, str]:
        """The number of what a text begins with, and the rest of it."""
        number = self._numbers.get(text[:LEAST], 0)
        if number and text.startswith(self.beginnings[number - 1]):
            return number, text[len(self.beginnings[number - 1]) :]
        return 0, text

    def shown(self, text: str, name: str) -> Text:
        """``name`` is that of the file with all of it, where it is shown in part."""
        if len(text) <= self._longest:
            return Text(beginning=text)
        return self._in_part(text, text, name, 0)

    def prompt(self, text: str, name: str) -> Text:
        """A text that may begin as others do."""
        number, rest = self._cut[text]
        if len(rest) <= self._longest:
            return Text(beginning=rest, shared=number)
        return self._in_part(text, rest, name, number)

    def shows(self, prompt: str, part: str) -> bool:
        """Whether ``part`` is seen, once, where ``prompt`` is shown."""
        _, rest = self._cut[prompt]
        return len(rest) <= self._longest and rest.count(part) == 1

    def _in_part(self, text: str, rest: str, name: str, shared: int) -> Text:
        path = addresses.text(self._run.model, self._run.name, self._number, name)
        self.files.append(
            File(path=path, data=text.encode("utf-8", "replace"), media_type="text/plain; charset=utf-8")
        )
        beginning, end = int(self._longest * _BEGINNING), int(self._longest * _END)
        return Text(
            beginning=rest[:beginning],
            end=rest[-end:],
            left_out=len(rest) - beginning - end,
            path=path,
            shared=shared,
        )


def _longest(sizes: Sequence[int]) -> int:
    """How long a text of a page may be, so that all of them have room.

    >>> _longest([300] * 100), _longest([9_000] * 100), _longest([900_000] * 2)
    (20000, 2000, 20000)
    """
    if sum(sizes) <= ROOM:
        return LONGEST
    return next((step for step in _STEPS if sum(min(size, step) for size in sizes) <= ROOM), _STEPS[-1])
