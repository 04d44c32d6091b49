"""Where sentences begin. A rule of our own; IFEval's is NLTK's trained Punkt model, which is a download of its own.

A sentence ends after '.', '!' or '?' (and closing quotes or brackets) before white space, unless the full stop ends a
known abbreviation or a single initial, or the next word begins in lower case. White space alone ends none: a list
without full stops is one sentence, as it is for Punkt.
"""

from __future__ import annotations

import re

_END = re.compile(r"[.!?]+[\"'”’)\]]*\s+|[。！？।]+\s*")
_ABBREVIATIONS = """
    adj adm adv al approx apr asst aug ave bldg capt cf ch cmdr co col corp dec dept dr e.g ed eds eq est etc feb fig
    figs fri gen gov hon i.e inc jan jr jul jun lt ltd maj mar max messrs min mon mr mrs ms mt no nos nov oct op p pp
    ph.d prof rep rev sat sen sep sept sgt sr st sun thu tue u.k u.n u.s vol vols vs wed
"""
_ABBREVIATED = frozenset(_ABBREVIATIONS.split())
_LAST_WORD = re.compile(r"[\w.]+$")


def sentence_starts(text: str) -> list[int]:
    """The index of the first character of each sentence; none for a text of white space.

    >>> sentence_starts("Dr. Lee left. Why? She was tired.")
    [0, 14, 19]
    """
    first = len(text) - len(text.lstrip())
    if first == len(text):
        return []
    starts = [first]
    for end in _END.finditer(text):
        if end.end() < len(text) and _ends(text, end):
            starts.append(end.end())
    return starts


def count_sentences(text: str) -> int:
    """How many sentences a text has."""
    return len(sentence_starts(text))


def _ends(text: str, end: re.Match[str]) -> bool:
    mark = end.group()
    if not mark.startswith(".") or mark.startswith(".."):
        return not (mark.startswith("..") and text[end.end()].islower())
    if text[end.end()].islower():
        return False
    word = _LAST_WORD.search(text, max(0, end.start() - 20), end.start())
    if word is None:
        return True
    last = word.group().lower()
    return last not in _ABBREVIATED and not (len(last) == 1 and last.isalpha() and last != "i")
