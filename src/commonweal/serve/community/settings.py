"""``commonweal hub --community FILE``: who looks at what users say, and who takes personal data out of it.

scrub = "presidio"            # or "patterns", the default
language = "en"               # Presidio's

[phrases]                     # beside the default ones; a kind of the default's is replaced
rivals = ["\\bacme\\b"]
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Literal

from commonweal.serve.community.moderation import PHRASES, phrase_moderator
from commonweal.serve.community.parts import Community
from commonweal.serve.community.presidio import presidio_scrubber
from commonweal.serve.community.scrubbing import PatternScrubber


@dataclass(frozen=True, slots=True, kw_only=True)
class CommunitySettings:
    """``phrases``: regular expressions by kind of harm, matched in lower case without accents."""

    scrub: Literal["patterns", "presidio"] = "patterns"
    language: str = "en"
    phrases: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for kind, patterns in self.phrases.items():
            if not isinstance(patterns, list) or not all(isinstance(each, str) for each in patterns):
                raise ValueError(f"phrases.{kind}: not a list of texts")
            for pattern in patterns:
                try:
                    re.compile(pattern)
                except re.error as error:
                    raise ValueError(
                        f"phrases.{kind}: {pattern!r} is no regular expression: {error}"
                    ) from None


def parts(settings: CommunitySettings) -> Community:
    """Raises ConfigError where Presidio is wanted and not installed."""
    scrubber = presidio_scrubber(settings.language) if settings.scrub == "presidio" else PatternScrubber()
    return Community(moderator=phrase_moderator({**PHRASES, **settings.phrases}), scrubber=scrubber)
