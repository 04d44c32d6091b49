"""What the community loop can be told: who moderates, who scrubs, what is accepted without a person, who evaluates."""

from __future__ import annotations

from dataclasses import dataclass, field

from commonweal.serve.community.guarding import Guards, NoGuards
from commonweal.serve.community.moderation import Moderator, phrase_moderator
from commonweal.serve.community.review import DEFAULT_RULES, Rules
from commonweal.serve.community.scrubbing import PatternScrubber, Scrubber


@dataclass(frozen=True, slots=True, kw_only=True)
class Community:
    moderator: Moderator = field(default_factory=phrase_moderator)
    scrubber: Scrubber = field(default_factory=PatternScrubber)
    rules: Rules = DEFAULT_RULES
    guards: Guards = field(default_factory=NoGuards)
