"""Tokens as the hub counts them: from what it saw, never from what a worker says it did.

Of the completion, the tokens of the events. A worker could invent tokens that say nothing, so no more count than the
answer has bytes (a token writes at least one), but for a few; and no more than were asked for. Of the prompt, what a
tokenizer of the hub counts; else the worker's word, bounded by the bytes that were sent.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from commonweal.core.completion import Request
from commonweal.core.streaming import Ended, Event, Piece, Usage

_SILENT = 16
"""Tokens of a choice that may write nothing: ends of turns, and what a stop string took back."""
_AROUND_PROMPT, _AROUND_MESSAGE, _IMAGE = 64, 16, 2048


@dataclass(slots=True)
class Tally:
    """What was seen of one answer so far."""

    request: Request
    tokens: int = 0
    written: int = 0
    claimed: int | None = None

    def add(self, event: Event) -> None:
        if isinstance(event, Piece):
            self.tokens += len(event.tokens) or (1 if event.text else 0)
            self.written += _bytes(event.text)
        elif isinstance(event, Ended):
            self.written += sum(_bytes(call.name) + _bytes(call.arguments) for call in event.tool_calls)
        elif isinstance(event, Usage):
            self.claimed = event.prompt_tokens

    @property
    def completion(self) -> int:
        if self.request.kind != "generate":
            return 0
        silent = _SILENT * self.request.n
        return min(self.tokens, self.written + silent, most_completion(self.request))

    def prompt(self, counted: int | None) -> int:
        """``counted`` by a tokenizer of the hub's, if it has one. Of an answer that was cut off the worker told no
        count: then one for every four bytes, as in English text."""
        if counted is not None:
            return counted
        most = most_prompt(self.request)
        return most // 4 if self.claimed is None else min(self.claimed, most)


def most_completion(request: Request) -> int:
    """The most tokens that are ever paid for."""
    return request.max_tokens * request.n if request.kind == "generate" else 0


def most_prompt(request: Request) -> int:
    """The most tokens that a prompt of so many bytes can have, with what a chat template puts around it."""
    written = _AROUND_PROMPT + _bytes(request.prompt or "") + _bytes(request.continuation) + len(request.ids)
    for message in request.messages or ():
        written += _AROUND_MESSAGE + _bytes(message.content) + _IMAGE * len(message.images)
        written += sum(_bytes(call.name) + _bytes(call.arguments) + 32 for call in message.tool_calls)
    for tool in request.tools:
        written += 32 + _bytes(tool.name) + _bytes(tool.description) + len(json.dumps(dict(tool.parameters)))
    return written


def _bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
