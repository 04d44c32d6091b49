"""Prompts with in-context examples, byte for byte as HELM builds them, fitted to the context window as HELM fits them.

A method says how one instance is written (:class:`Form`); this module puts the examples in front. What stands before
the question is made once for each trial's examples and used again for every instance. Nothing here knows a request.

Fitting (HELM, ``in_context_learning_adapter.py``, after Hendrycks et al. 2021): examples are dropped from the end
until prompt and completion fit the window; if it does not fit without any, the prompt is cut at its right end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from commonweal.core.completion import CompletionFailed
from commonweal.evals.adaptation import Adaptation
from commonweal.evals.adapters.tokens import TokenCounter, certainly_fits
from commonweal.evals.instance import Instance

_REMEMBERED = 16
"""Sets of examples whose text is kept: one for each trial, and some for callers that make new ones."""

_SEAM = 8
"""Tokens that text may have more when two pieces are tokenized together than each by itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """A question (its output prefix unstripped) and the answer to it."""

    question: str
    answer: str


class Form(Protocol):
    """How a method writes instances."""

    def shown(self, instance: Instance) -> Sequence[Turn]:
        """An example: one turn, or one for each passage to be ranked."""
        ...


@dataclass(slots=True, kw_only=True)
class Shown:
    """Examples as text. ``heads[k]`` is all that stands before the question when ``k`` examples are shown, ``turns[k]``
    what the k-th example is in a chat. ``counts`` are the heads' tokens, as far as they were needed."""

    examples: Sequence[Instance]
    heads: tuple[str, ...]
    turns: tuple[Sequence[Turn], ...]
    counts: dict[int, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """A prompt that fits: how many examples are left, and whether its end was cut off."""

    text: str
    shots: int
    truncated: bool = False


class Prompts:
    """Builds prompts of one adaptation in one form. It remembers the examples' text, nothing of an instance."""

    def __init__(self, adaptation: Adaptation, form: Form, tokens: TokenCounter) -> None:
        self._adaptation = adaptation
        self._form = form
        self._tokens = tokens
        self._known: dict[int, Shown] = {}

    def shown(self, examples: Sequence[Instance]) -> Shown:
        """The examples as text, made once."""
        known = self._known.get(id(examples))
        if known is not None and known.examples is examples:
            return known
        if len(self._known) >= _REMEMBERED:
            self._known.clear()
        made = self._show(examples)
        self._known[id(examples)] = made
        return made

    def _show(self, examples: Sequence[Instance]) -> Shown:
        adaptation = self._adaptation
        turns = tuple(self._form.shown(example) for example in examples)
        blocks = [adaptation.instructions] if adaptation.instructions else []
        heads = [self._head(blocks)]
        for example in turns:
            blocks.append(
                adaptation.instance_prefix.join(
                    turn.question + turn.answer + adaptation.output_suffix for turn in example
                )
            )
            heads.append(self._head(blocks))
        return Shown(examples=examples, heads=tuple(heads), turns=turns)

    def _head(self, blocks: Sequence[str]) -> str:
        adaptation = self._adaptation
        text = "".join(block + adaptation.instance_prefix for block in blocks)
        return adaptation.global_prefix + text

    def fit(self, shown: Shown, block: str, budget: int | None, *, least: int | None) -> Fitted:
        """The prompt for the question ``block`` in at most ``budget`` tokens (None: any).

        ``least`` is how many characters of the block must be left when its end is cut off; None forbids the cut.
        Raises CompletionFailed("too_long").
        """
        end = block + self._adaptation.global_suffix
        most = len(shown.turns)
        if budget is None:
            return Fitted(text=shown.heads[most] + end, shots=most)
        for shots in range(most, -1, -1):
            text = shown.heads[shots] + end
            if self._fits(shown, shots, text, end, budget):
                return Fitted(text=text, shots=shots)
        return self._cut(shown.heads[0], end, budget, least)

    def _fits(self, shown: Shown, shots: int, text: str, end: str, budget: int) -> bool:
        if certainly_fits(text, budget):
            return True
        head = shown.counts.get(shots)
        if head is None:
            head = shown.counts[shots] = self._tokens.count(shown.heads[shots])
        if head + self._tokens.count(end) + _SEAM <= budget:
            return True
        return self._tokens.count(text) <= budget

    def _cut(self, head: str, end: str, budget: int, least: int | None) -> Fitted:
        if least is not None and budget > 0:
            text = self._tokens.truncate(head + end, budget)
            if len(text) > len(head) + least:
                return Fitted(text=text, shots=0, truncated=True)
        raise too_long(self._tokens.count(head + end), budget)


def too_long(tokens: int, budget: int) -> CompletionFailed:
    room = f"has room for {budget}" if budget > 0 else "is full with the tokens that the answer may take"
    return CompletionFailed(
        "too_long",
        f"the input has {tokens} tokens without any example, the context window {room}",
        hint="ask a model with a longer window, or allow fewer output tokens",
    )
