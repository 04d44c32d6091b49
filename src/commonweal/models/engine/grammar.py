"""Answers that fit a JSON schema: which tokens may come next, by llguidance.

A schema is compiled once for a model and copied for each answer. JSON is written in one form, with a space after
``:`` and ``,`` and no other white space, so that no answer is lost in blanks.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Iterable
from typing import Any

import llguidance
import numpy as np

from commonweal.core.completion import CompletionFailed

_KEPT = 64
_CLOSERS = ('"', "}", "]", ",", ":")
_LIMITS = {"max_grammar_size": 500_000, "step_max_items": 50_000, "initial_lexer_fuel": 1_000_000}
_LONGEST = 1 << 18


class Grammars:
    """The grammars of one model; ``tokenizer`` is transformers', ``vocabulary`` the number of its logits."""

    def __init__(self, tokenizer: Any, vocabulary: int, ends: Iterable[int]) -> None:
        self._tokenizer = tokenizer
        self._vocabulary = vocabulary
        self._ends = sorted(ends)
        self._tokens: Any = None
        self._compiled: OrderedDict[str, Any] = OrderedDict()
        self._closers: list[int] = []

    def grammar(self, schema: str, *, hurry: int = 0) -> Grammar:
        """A new answer that fits ``schema`` (JSON text; ``{}`` is any JSON). Within its last ``hurry`` tokens it is led
        to its end. Raises CompletionFailed where the schema is none, or cannot be kept to."""
        found = self._compiled.get(schema)
        if found is None:
            found = self._compile(schema)
            self._compiled[schema] = found
            if len(self._compiled) > _KEPT:
                self._compiled.popitem(last=False)
        self._compiled.move_to_end(schema)
        return Grammar(found.deep_copy(), self._vocabulary, self._closers, frozenset(self._ends), hurry)

    def _compile(self, schema: str) -> Any:
        try:
            value = json.loads(schema) if len(schema) <= _LONGEST else None
        except (ValueError, RecursionError) as error:
            raise CompletionFailed("bad_request", f"the schema is not JSON: {error}") from None
        if not isinstance(value, dict):
            raise CompletionFailed("bad_request", "the schema must be a JSON object, and not a huge one")
        matcher = self._matcher(value)
        if matcher.is_error():
            raise CompletionFailed(
                "bad_request", f"the schema cannot be used: {_reason(matcher.get_error())}"
            )
        return matcher

    def _matcher(self, value: dict[str, Any]) -> Any:
        tokens = self._prepared()
        style = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
        try:
            text = llguidance.LLMatcher.grammar_from_json_schema(json.dumps(value), overrides=style)
            limits = llguidance.LLParserLimits(**_LIMITS)
            return llguidance.LLMatcher(tokens, text, log_level=0, limits=limits)
        except ValueError as error:
            raise CompletionFailed("bad_request", f"the schema cannot be used: {error}") from None

    def _prepared(self) -> Any:
        """llguidance's view of the tokenizer, made when the first schema comes (a second for large vocabularies)."""
        if self._tokens is None:
            from llguidance.hf import from_tokenizer

            size = max(self._vocabulary, len(self._tokenizer))
            self._tokens = from_tokenizer(self._tokenizer, n_vocab=size, eos_token=self._ends or None)
            found = [self._tokens.tokenize_str(text) for text in _CLOSERS]
            self._closers = [ids[0] for ids in found if len(ids) == 1]
        return self._tokens


class Grammar:
    """One answer under way."""

    def __init__(
        self, matcher: Any, vocabulary: int, closers: list[int], ends: frozenset[int], hurry: int
    ) -> None:
        self._matcher = matcher
        self._vocabulary = vocabulary
        self._closers = closers
        self._ends = ends
        self._hurry = hurry

    def allowed(self, left: int) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """(V,) which tokens may come, ``left`` being how many there can be. Raises CompletionFailed."""
        bits = self._matcher.compute_bitmask()
        if self._matcher.is_error():
            raise CompletionFailed(
                "bad_request", f"the schema cannot be kept to: {_reason(self._matcher.get_error())}"
            )
        made = np.unpackbits(np.frombuffer(bits, np.uint8), bitorder="little")
        mask: np.ndarray[Any, np.dtype[np.bool_]] = made[: self._vocabulary].astype(bool)
        if left <= self._hurry:
            self._lead_out(mask)
        return mask

    def take(self, token: int) -> bool:
        """``token`` was chosen. Whether the answer is complete and nothing can follow."""
        if token in self._ends:
            return True
        self._matcher.consume_token(token)
        stopped: bool = self._matcher.is_stopped()
        return stopped

    def _lead_out(self, mask: np.ndarray[Any, np.dtype[np.bool_]]) -> None:
        """Leave the one token that brings the answer nearest to its end: an end, else what closes a text, an object, a
        list, else what goes on to the next part of it."""
        for token in (*self._ends, *self._closers):
            if token < len(mask) and mask[token]:
                mask[:] = False
                mask[token] = True
                return


def _reason(message: str) -> str:
    return (message.strip().splitlines() or ["it is not supported"])[0][:300]
