"""A model's card: the README that lies among its files, in the format that Hugging Face has for it.

Reads the few lines of the head that a page shows and no YAML beyond them: plain values and plain lists at the first
level. All of it is its publisher's word, and text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from commonweal.core.blobs import Blobs
from commonweal.core.errors import CommonwealError
from commonweal.core.hashing import BlobHash

README = "README.md"
LARGEST = 2**18
_HEAD = re.compile(r"\A\ufeff?---[ \t]*\r?\n(.*?)^---[ \t]*$\r?\n?", re.DOTALL | re.MULTILINE)
_ENTRY = re.compile(r"([A-Za-z_][A-Za-z0-9_-]*):[ \t]*(.*)")
_ITEM = re.compile(r"[ \t]*-[ \t]+(.*)")
_TOLD = ("license", "license_name", "language", "datasets", "base_model", "pipeline_tag")
_LONGEST = 200
_MOST = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """``head`` are the known entries, each a list of words; ``text`` is what stands below it."""

    head: Mapping[str, Sequence[str]] = field(default_factory=dict)
    text: str = ""

    @property
    def licence(self) -> str:
        """Empty where none is given, or it is said to be unknown."""
        names = [*self.head.get("license_name", ()), *self.head.get("license", ())]
        found = next((name for name in names if name != "other"), names[0] if names else "")
        return "" if found.lower() == "unknown" else found


def parse(text: str) -> Card:
    r"""
    >>> card = parse("---\nlicense: mit\ndatasets:\n- a/b\n- 'c'\n---\n# Name\nWords.")
    >>> card.licence, card.head["datasets"], card.text
    ('mit', ['a/b', 'c'], '# Name\nWords.')
    """
    match = _HEAD.match(text)
    if match is None:
        return Card(text=text.strip())
    return Card(head=_entries(match[1]), text=text[match.end() :].strip())


def _entries(head: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    current: list[str] = []
    for line in head.splitlines():
        if entry := _ENTRY.fullmatch(line.rstrip()):
            current = []
            if entry[1] in _TOLD:
                current = found.setdefault(entry[1], [])
                current += _values(entry[2])
        elif item := _ITEM.fullmatch(line.rstrip()):
            current += _values(item[1])
    return {name: values[:_MOST] for name, values in found.items() if values}


def _values(told: str) -> list[str]:
    """A plain value, or several between brackets."""
    told = told.strip()
    several = told[1:-1].split(",") if told.startswith("[") and told.endswith("]") else [told]
    return [value for one in several if (value := one.strip().strip("'\"").strip()[:_LONGEST])]


def read(blobs: Blobs, files: Mapping[str, BlobHash]) -> Card:
    """The card among a model's files; an empty one where there is none, or none that can be read."""
    blob = files.get(README)
    if blob is None:
        return Card()
    try:
        data = b"".join(blobs.stream(blob, 0, min(LARGEST, blobs.size(blob))))
    except CommonwealError:  # the page is there without it
        return Card()
    return parse(data.decode("utf-8", "replace"))
