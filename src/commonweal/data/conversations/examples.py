"""What a line of a fine-tuning file can be, once it is read: plain values, no JSON and no tokens.

``supervised`` files hold :class:`Chat`, :class:`Completed` or :class:`Document`, ``dpo`` files
:class:`Preference`, ``kto`` files :class:`Labelled`. A file holds one of them throughout.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from commonweal.core.completion import Message, Tool

Method = Literal["supervised", "dpo", "kto"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """A message and how much of its loss counts: 0 to 1, and 0 for everybody's but the assistant's."""

    message: Message
    weight: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Chat:
    """A conversation whose assistant's turns are learned."""

    turns: tuple[Turn, ...]
    tools: tuple[Tool, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Completed:
    """A text that is given, and how it goes on: only that is learned."""

    prompt: str
    completion: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A text that is learned as a whole."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Preference:
    """A conversation and two ways to go on, of which one is preferred."""

    messages: tuple[Message, ...]
    preferred: tuple[Turn, ...]
    rejected: tuple[Turn, ...]
    tools: tuple[Tool, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Labelled:
    """A conversation whose last turn was found good or bad."""

    turns: tuple[Turn, ...]
    label: bool
    tools: tuple[Tool, ...] = ()


Example = Chat | Completed | Document | Preference | Labelled


@dataclass(frozen=True, slots=True, kw_only=True)
class Numbered:
    """An example and the line that it stands on, from 1."""

    line: int
    example: Example
