"""The word lists that perturbations are made of, each read once, each with its version, source and licence.

The files lie in ``words/`` beside this module; ``{"version", "source", "licence", "words"}``, and ``words`` is what the
perturbation of that name expects.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class WordList:
    """``words`` is plain JSON, in the order of its source."""

    name: str
    version: str
    source: str
    licence: str
    words: Mapping[str, Any]


@cache
def word_list(name: str) -> WordList:
    """The packaged list. A name that does not exist is a defect of ours."""
    text = (files(__package__) / "words" / f"{name}.json").read_text(encoding="utf-8")
    return WordList(name=name, **json.loads(text))
