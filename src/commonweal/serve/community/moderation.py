"""What may not be shown or trained on before a person has looked: a protocol, and a default of fixed phrases.

The default, :class:`PhraseModerator`, is a list of English patterns and nothing more. It finds blunt forms of a few
kinds of harm. It does not understand a text: it misses paraphrase, other languages, spelling tricks beyond case,
accents and invisible characters, and it flags quotations and questions about the subject. A hub that is open to
strangers should pass a classifier of its own.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

Side = Literal["prompt", "answer"]


class Moderator(Protocol):
    """Says of a text what is wrong with it: the kinds of harm, none if it may pass."""

    def flags(self, text: str, side: Side) -> tuple[str, ...]: ...


_YOU = r"(?:you|u|him|her|them|everyone|everybody|all of (?:you|them))"
_MINOR = r"(?:child(?:ren)?|kids?|minors?|toddlers?|pre-?teens?|underage (?:girls?|boys?))"
_SEXUAL = r"(?:porn(?:ograph(?:y|ic))?|nudes?|sex(?:ual(?:ly|ised|ized)?)?|erotic(?:a)?)"
_GROUP = r"(?:jews|muslims|christians|blacks|black people|whites|gays|immigrants|refugees|women|foreigners)"
_MAKE = r"(?:make|build|synthesi[sz]e|cook|produce|assemble)"
_WEAPON = r"(?:(?:pipe|nail|dirty|fertili[sz]er|car) bombs?|bombs?|sarin|vx|nerve agents?|ricin|mustard gas)"

PHRASES: Mapping[str, Sequence[str]] = {
    "threat": (
        rf"\bi(?:'ll| will| am going to|'m going to| wanna| want to) (?:kill|murder|stab|shoot) {_YOU}\b",
        rf"\b{_YOU} (?:will|shall|are going to) (?:all )?die (?:tonight|tomorrow|soon)\b",
    ),
    "self_harm": (
        r"\b(?:go )?(?:kill yourself|kys|hang yourself|slit your wrists)\b",
        r"\bhow (?:to|do i|can i) (?:kill myself|commit suicide|hang myself|end my (?:own )?life)\b",
    ),
    "minors": (
        rf"\b{_SEXUAL}\b.{{0,40}}\b{_MINOR}\b",
        rf"\b{_MINOR}\b.{{0,40}}\b(?:porn(?:ograph(?:y|ic))?|nudes?|erotica?)\b",
    ),
    "hate": (
        rf"\b(?:kill|gas|exterminate|deport|lynch) (?:all )?(?:the )?{_GROUP}\b",
        rf"\b(?:all )?{_GROUP} (?:are|is) (?:vermin|subhuman|animals|parasites|cockroaches|filth)\b",
    ),
    "weapons": (
        rf"\bhow (?:to|do i|can i) {_MAKE} (?:a |an |some )?{_WEAPON}\b",
        rf"\b(?:instructions|steps|recipe) (?:to|for) (?:{_MAKE}|making|building|synthesi[sz]ing) "
        rf"(?:a |an |some )?{_WEAPON}\b",
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class PhraseModerator:
    """Flags a text that has one of the phrases of a kind, in prompts and answers alike."""

    phrases: Mapping[str, tuple[re.Pattern[str], ...]]

    def flags(self, text: str, side: Side) -> tuple[str, ...]:
        plain = folded(text)
        return tuple(
            kind
            for kind, patterns in self.phrases.items()
            if any(pattern.search(plain) for pattern in patterns)
        )


def phrase_moderator(phrases: Mapping[str, Sequence[str]] = PHRASES) -> PhraseModerator:
    """A moderator of regular expressions by kind, matched in :func:`folded` text."""
    return PhraseModerator(
        phrases={kind: tuple(re.compile(pattern) for pattern in found) for kind, found in phrases.items()}
    )


def folded(text: str) -> str:
    """A text as the phrases see it: lower case, without accents, format characters, and runs of white space.

    >>> folded("K\\u200bILL  Yöurself")
    'kill yourself'
    """
    if text.isascii():  # most are, and this runs for every word of an answer
        return " ".join(text.lower().split())
    apart = unicodedata.normalize("NFKD", text.replace("’", "'"))
    seen = "".join(c for c in apart if unicodedata.category(c) not in ("Mn", "Cf"))
    return " ".join(seen.casefold().split())
