"""An answer as it is kept for its audit: what was asked, and what the worker said it chose and how likely that was."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from commonweal.core.completion import Request, Token
from commonweal.core.streaming import Event, Piece
from commonweal.serve.gateway.frames import ModelSpec
from commonweal.serve.router.worker import Lender

MOST_TOKENS = 2048
"""Of an answer are scored: more would tell little more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A finished generation. ``request`` is as the worker saw it, ``events`` as it came."""

    ask: str
    lender: Lender
    model: ModelSpec
    request: Request
    events: Sequence[Event]
    at: float

    def chosen(self) -> tuple[Token, ...]:
        """The tokens of the first choice, the first of them."""
        made = [
            token
            for event in self.events
            if isinstance(event, Piece) and event.index == 0
            for token in event.tokens
        ]
        return tuple(made[:MOST_TOKENS])


def scoring(answer: Answer, chosen: Sequence[Token]) -> Request:
    """The request that has these tokens scored after the same prompt: one forward pass, no generation. Sampling is kept
    in it, so that an engine whose log-probabilities are those it samples from answers alike."""
    return replace(
        answer.request,
        kind="score",
        ids=tuple(token.id for token in chosen if token.id is not None),
        continuation="",
        logprobs=1,
        n=1,
        stop=(),
        max_tokens=0,
    )
