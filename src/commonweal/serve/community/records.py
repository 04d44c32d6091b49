"""A conversation and its messages, as records.

Messages form a tree: who regenerates an answer gets a sibling of it, and who edits a question starts a branch. What was
asked can be told from the record alone: the path from the root, the system prompt, the model's hash, the sampling
parameters and the seed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from commonweal.core.completion import ToolCall
from commonweal.core.errors import NotFound
from commonweal.serve.community.terms import Terms

Finish = Literal["stop", "length", "tool_calls", "content_filter", "error", "stopped"]
"""How an answer ended; ``stopped`` is by the reader."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversation:
    id: str
    account: str
    title: str
    terms: Terms
    created: float
    updated: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Which model answered: the name asked, its hash, and for an adapter its own name and that of its base."""

    model: str
    identity: str
    adapter: str | None = None
    base: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """Tokens, micro-credits and seconds of an answer, as the hub counted them. Of an answer that was stopped the
    prompt's tokens and the cost are not known here (the books have what was paid)."""

    prompt_tokens: int | None
    completion_tokens: int
    microcredits: int | None
    first_token_seconds: float | None
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """A message of a conversation. ``flags`` are what moderation said of it; it is ``withheld`` while it has flags and
    no operator said that it is fine. ``drafts`` is the blind comparison that it belongs to. ``tool_runs`` are the calls
    that the hub ran for an answer and ``passages`` what it looked up. Of a user's message
    ``source``, ``sampling``, ``finish`` and ``spent`` are not set."""

    id: str
    conversation: str
    parent: str | None
    role: Literal["user", "assistant"]
    content: str
    terms: Terms
    created: float
    withheld: bool = False
    flags: tuple[str, ...] = ()
    drafts: str | None = None
    source: Source | None = None
    system: str | None = None
    sampling: Mapping[str, Any] = field(default_factory=dict)
    seed: int | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    tool_runs: tuple[Mapping[str, Any], ...] = ()
    passages: tuple[Mapping[str, Any], ...] = ()
    finish: Finish | None = None
    spent: Spent | None = None


def path(turns: Mapping[str, Turn], leaf: str | None) -> tuple[Turn, ...]:
    """The messages from the root to ``leaf``, both included; none for None. Raises NotFound for a leaf that is none of
    ``turns``."""
    found: list[Turn] = []
    while leaf is not None:
        if leaf not in turns:
            raise NotFound(f"no message '{leaf[:80]}' in this conversation")
        found.append(turns[leaf])
        leaf = turns[leaf].parent
    return tuple(reversed(found))
