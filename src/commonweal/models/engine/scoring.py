"""Log-probabilities of given tokens, and embeddings: requests that a forward pass or two answer.

Used by echo, by evaluation through the API, and by audits, which score anew what a worker says that it wrote.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from commonweal.core.completion import CompletionFailed, Token
from commonweal.core.streaming import Ended, Piece, Usage, Vector
from commonweal.models.engine.asking import Asked
from commonweal.models.engine.lora import Adapters
from commonweal.models.engine.words import Words
from commonweal.models.local_model import LocalModel, Scores


class Scoring:
    """Answers requests that generate nothing."""

    def __init__(self, model: Any, adapters: Adapters, words: Words, now: Callable[[], float]) -> None:
        self._model = LocalModel(model)
        self._body = model.base_model
        self._device: torch.device = model.device
        self._adapters = adapters
        self._words = words
        self._now = now

    def answer(self, asked: Sequence[Asked], began: float) -> None:
        """All are of one kind and one adapter. Prompts that are equal, and what all begin with, are read once."""
        self._adapters.select([asked[0].adapter])
        if asked[0].request.kind == "embed":
            self._embed(asked, began)
        else:
            self._score(asked, began)

    def _score(self, asked: Sequence[Asked], began: float) -> None:
        wanted = max(one.request.logprobs or 0 for one in asked)
        scores = self._model.score([one.encoded for one in asked], alternatives=wanted)
        for one, score in zip(asked, scores, strict=True):
            tokens = self._tokens(one, score)
            one.answer.put(Piece(tokens=tokens))
            one.answer.put(Ended(greedy=all(score.greedy) and not one.encoded.unscored))
            self._end(one, began)

    def _tokens(self, one: Asked, score: Scores) -> tuple[Token, ...]:
        wanted = one.request.logprobs or 0
        made = [
            self._words.token(token, logprob, top[:wanted])
            for token, logprob, top in zip(one.encoded.continuation, score.logprobs, score.top, strict=True)
        ]
        if one.encoded.unscored:
            made.insert(0, self._words.token(one.encoded.prompt[0], None))
        return tuple(made)

    @torch.inference_mode()
    def _embed(self, asked: Sequence[Asked], began: float) -> None:
        """The last hidden state, averaged over the tokens and divided by its length."""
        rows = [one.prompt for one in asked]
        width = max(map(len, rows))
        ids_BT = torch.tensor([row + [0] * (width - len(row)) for row in rows], device=self._device)
        hidden_BTD = self._body(input_ids=ids_BT, use_cache=False, return_dict=True).last_hidden_state.float()
        for i, one in enumerate(asked):
            mean_D = hidden_BTD[i, : len(one.prompt)].mean(dim=0)
            values = torch.nn.functional.normalize(mean_D, dim=0).tolist()
            if any(value != value for value in values):
                raise CompletionFailed("server_error", "the model's numbers are none (NaN)")
            one.answer.put(Vector(values=tuple(values)))
            self._end(one, began)

    def _end(self, one: Asked, began: float) -> None:
        read = len(one.prompt) + len(one.encoded.continuation)
        seconds = self._now() - began
        one.answer.put(Usage(prompt_tokens=read, completion_tokens=0, seconds=seconds))
