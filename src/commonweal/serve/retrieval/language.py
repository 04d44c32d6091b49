"""Which of PostgreSQL's text search configurations suits a text: what its words' stems are depends on it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import import_module
from typing import Any

_CONFIGURATIONS: Mapping[str, str] = {
    "ar": "arabic",
    "ca": "catalan",
    "da": "danish",
    "de": "german",
    "el": "greek",
    "en": "english",
    "es": "spanish",
    "fi": "finnish",
    "fr": "french",
    "hi": "hindi",
    "hu": "hungarian",
    "id": "indonesian",
    "it": "italian",
    "lt": "lithuanian",
    "ne": "nepali",
    "nl": "dutch",
    "no": "norwegian",
    "pt": "portuguese",
    "ro": "romanian",
    "ru": "russian",
    "sv": "swedish",
    "ta": "tamil",
    "tr": "turkish",
}
OTHER = "simple"
"""Words as they are: for languages without a stemmer here, and where none is clear."""

_READ = 4000
_SHORT = 60
"""Characters: less than that has no clear language."""
_SURE = 0.9


def configuration_of(text: str) -> str:
    """The configuration for a text, by the language that most of its beginning is in (langdetect, Nakatani 2010). A
    short one is taken for English where its letters are."""
    if len(text) < _SHORT:
        return "english" if text.isascii() else OTHER
    langdetect = _langdetect()
    try:
        best = langdetect.detect_langs(text[:_READ])[0]
    except langdetect.LangDetectException:  # no letters
        return OTHER
    return _CONFIGURATIONS.get(best.lang, OTHER) if best.prob >= _SURE else OTHER


@cache
def _langdetect() -> Any:
    """Loads its profiles, so late. It draws random numbers; seeded, the same text is always in the same language."""
    langdetect = import_module("langdetect")
    langdetect.DetectorFactory.seed = 0
    return langdetect
