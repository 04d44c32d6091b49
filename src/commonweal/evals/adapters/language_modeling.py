"""Language modelling: every token of the input is scored once (HELM, ``language_modeling_adapter.py``, after
EleutherAI's lm_perplexity).

A text longer than the window is scored in windows. The first is scored from its beginning. Each later one takes as
much new text as fits beside one token of what stands before it, so that only the last, which is shorter, has a long
context. References and examples play no part.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from commonweal.core.completion import CompletionFailed
from commonweal.evals.adapters.asking import Asking
from commonweal.evals.adapters.tokens import TokenCounter, certainly_fits
from commonweal.evals.instance import Instance
from commonweal.evals.sample import Answer, Ask, Sample

_MOST_CHARACTERS = 32
"""No token is taken to be longer; it only bounds how much text is tokenized for one window."""


class LanguageModelingAdapter:
    """One request a window."""

    def __init__(self, asking: Asking) -> None:
        self._asking = asking

    def asks(
        self, instance: Instance, examples: Sequence[Instance], answers: Sequence[Answer]
    ) -> tuple[Ask, ...]:
        if answers or not instance.input:
            return ()
        pieces = windows(instance.input, self._asking.budget(0), self._asking.tokens)
        return tuple(
            Ask(role=f"window {number}", request=self._asking.score(context, text))
            for number, (context, text) in enumerate(pieces)
        )

    def sample(self, instance: Instance, trial: int, answers: Sequence[Answer]) -> Sample:
        return Sample(
            instance=instance, adaptation=self._asking.adaptation, trial=trial, answers=tuple(answers)
        )


def windows(text: str, size: int | None, tokens: TokenCounter) -> Iterator[tuple[str, str]]:
    """Pairs of context and text to score, each pair of at most ``size`` tokens. The texts together are ``text``.

    Raises CompletionFailed("too_long") where not even one character fits.
    """
    if size is None or certainly_fits(text, size):
        yield "", text
        return
    at = _taken(text, 0, size, tokens)
    yield "", text[:at]
    while at < len(text):
        end = at + _taken(text, at, size - 1, tokens)
        yield _last(text[:at], size - tokens.count(text[at:end]), tokens), text[at:end]
        at = end


def _taken(text: str, at: int, size: int, tokens: TokenCounter) -> int:
    taken = len(tokens.truncate(text[at : at + _MOST_CHARACTERS * max(1, size)], size))
    if not taken:
        raise CompletionFailed("too_long", f"no character of the text fits into {size} tokens")
    return taken


def _last(text: str, size: int, tokens: TokenCounter) -> str:
    """An end of ``text`` of at most ``size`` tokens (at least one character of it)."""
    near = text[-_MOST_CHARACTERS * max(1, size) :]
    start = len(tokens.truncate(near, tokens.count(near) - size))
    while start < len(near) - 1 and tokens.count(near[start:]) > size:
        start += 1
    return near[start:]
