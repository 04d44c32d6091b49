"""Microsoft Presidio in place of the default scrubber, for hubs that install it (with a spaCy model for names):

    pip install presidio-analyzer && python -m spacy download en_core_web_lg

It finds names, places and many national numbers by a language model, at some milliseconds a text and with mistakes of
its own; the default's patterns run first, as their check digits make no such mistakes.
"""

from __future__ import annotations

import importlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from commonweal.core.errors import ConfigError
from commonweal.serve.community.scrubbing import PatternScrubber, Scrubbed, Scrubber


class Entity(Protocol):
    """What the analyzer found: from ``start`` to ``end``."""

    entity_type: str
    start: int
    end: int
    score: float


class Analyzer(Protocol):
    """The one method of ``presidio_analyzer.AnalyzerEngine`` that is used."""

    def analyze(self, text: str, language: str) -> Sequence[Entity]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class PresidioScrubber:
    """``surest``: entities below this score are left."""

    analyzer: Analyzer
    language: str = "en"
    surest: float = 0.5
    before: Scrubber = field(default_factory=PatternScrubber)

    def scrub(self, text: str) -> Scrubbed:
        first = self.before.scrub(text)
        found, text = Counter(first.found), first.text
        for entity in self._apart(text):
            text = f"{text[: entity.start]}[{entity.entity_type}]{text[entity.end :]}"
            found[entity.entity_type] += 1
        return Scrubbed(text=text, found=dict(found))

    def _apart(self, text: str) -> list[Entity]:
        """The entities from the last to the first, none over another, none in what was replaced before."""
        kept: list[Entity] = []
        sure = [
            entity for entity in self.analyzer.analyze(text, self.language) if entity.score >= self.surest
        ]
        for entity in sorted(sure, key=lambda e: (-e.score, e.start)):
            inside = text[: entity.start].rfind("[") > text[: entity.start].rfind("]")
            if not inside and all(entity.end <= k.start or entity.start >= k.end for k in kept):
                kept.append(entity)
        return sorted(kept, key=lambda e: -e.start)


def presidio_scrubber(language: str = "en") -> PresidioScrubber:
    """Raises ConfigError where Presidio is not installed."""
    try:
        module: Any = importlib.import_module("presidio_analyzer")
    except ImportError:
        raise ConfigError(
            "presidio-analyzer is not installed", hint="pip install presidio-analyzer, and a spaCy model"
        ) from None
    return PresidioScrubber(analyzer=module.AnalyzerEngine(), language=language)
