"""Which language a text is in, by langdetect (Nakatani 2010): the detector that IFEval's authors use.

langdetect draws random numbers; they are seeded, so a text is always found to be in the same language.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import Any


@cache
def _langdetect() -> Any:
    langdetect = import_module("langdetect")  # loads its profiles: late; has no types
    langdetect.DetectorFactory.seed = 0
    return langdetect


def language_of(text: str) -> str | None:
    """An ISO 639-1 code (Chinese: zh-cn, zh-tw), None where the text has nothing to tell it by."""
    langdetect = _langdetect()
    try:
        return str(langdetect.detect(text))
    except langdetect.LangDetectException:
        return None


def is_language(text: str, language: str) -> bool:
    """Whether a text is in a language; a text that tells nothing is taken to be, as the authors do."""
    return language_of(text) in (None, language)
