"""A model's tokenizer as a batch needs it: how a choice is spelled, where it may end, and which form it must have."""

from __future__ import annotations

import secrets

import torch

from commonweal.core.completion import Request, Token
from commonweal.models.choosing import Top
from commonweal.models.engine.asking import Encoder
from commonweal.models.engine.calls import CallText, call_schema
from commonweal.models.engine.grammar import Grammar, Grammars
from commonweal.models.engine.spelling import Speller
from commonweal.models.engine.stops import StopStrings
from commonweal.models.engine.writing import Writing
from commonweal.models.text import LocalText

_HURRY = 2
"""A forced call is led to its end within the last half of its tokens, so that its arguments are whole."""


class Words:
    """Of one base model; ``ends`` are the tokens that end its texts."""

    def __init__(
        self,
        text: LocalText,
        encoder: Encoder,
        *,
        vocabulary: int,
        ends: frozenset[int],
        device: torch.device,
    ) -> None:
        self._ends = ends
        self._encoder = encoder
        self._speller = Speller(text.tokenizer)
        self._grammars = Grammars(text.tokenizer, vocabulary, ends)
        self._vocabulary = vocabulary
        self._device = device
        self._name = text.token_text

    def token(self, token: int, logprob: float | None, top: Top = ()) -> Token:
        """A token with its text. Of alternatives that look alike (parts of characters) the likeliest is kept."""
        likeliest = {self._name(other): number for other, number in reversed(top)} if top else {}
        return Token(text=self._name(token), id=token, logprob=logprob, top=likeliest)

    def ends(self, request: Request) -> frozenset[int]:
        return self._ends | self._encoder.ends(request)

    def writing(self, request: Request, index: int) -> Writing:
        calls = CallText(request.tools, _call_id) if _may_call(request) else None
        spelling = self._speller.spelling(special=calls is not None)
        return Writing(index, spelling, StopStrings(request.stop), calls)

    def grammar(self, request: Request) -> Grammar | None:
        """Raises CompletionFailed for a schema that cannot be used."""
        if request.tools and request.tool_choice not in ("auto", "none"):
            schema = call_schema(request.tools, request.tool_choice)
            return self._grammars.grammar(schema, hurry=max(1, request.max_tokens // _HURRY))
        return self._grammars.grammar(request.schema) if request.schema is not None else None

    def nothing_seen(self) -> torch.Tensor:
        return torch.zeros(self._vocabulary, device=self._device)


def _may_call(request: Request) -> bool:
    return bool(request.tools) and request.tool_choice != "none"


def _call_id() -> str:
    return f"call_{secrets.token_hex(12)}"
