"""Examples as tokens with weights: what is read, and how much each token's loss counts.

A token of weight 0 is only read. The first token of a sequence has nothing before it and is never learned.
What is longer than the model's window is cut at its end; an example of which nothing would be learned then is
refused.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from commonweal.core.completion import Message, Tool
from commonweal.core.errors import DataError
from commonweal.data.conversations.examples import (
    Chat,
    Completed,
    Document,
    Example,
    Labelled,
    Numbered,
    Preference,
    Turn,
)
from commonweal.data.conversations.problems import Problems


class SpanLike(Protocol):
    """The tokens of one message's content."""

    @property
    def message(self) -> int: ...
    @property
    def start(self) -> int: ...
    @property
    def stop(self) -> int: ...


class RenderedLike(Protocol):
    """A chat as tokens."""

    @property
    def ids(self) -> Sequence[int]: ...
    @property
    def spans(self) -> Sequence[SpanLike]: ...


class Encoder(Protocol):
    """A model's tokenizer, as far as examples need it. No text ever becomes a control token."""

    def chat(self, messages: Sequence[Message], tools: Sequence[Tool]) -> RenderedLike: ...

    def text(self, text: str, *, continued: bool = False) -> list[int]:
        """Plain text; ``continued``: after other text."""
        ...

    @property
    def end_of_text(self) -> int: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Weighted:
    """Token ids and as many weights."""

    ids: tuple[int, ...]
    weights: tuple[float, ...]

    @property
    def trained(self) -> int:
        """How many tokens are learned."""
        return sum(weight > 0 for weight in self.weights)


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoded:
    """One example: one sequence, or the preferred and the rejected one. ``label`` is 1 for good, -1 for bad."""

    line: int
    sequences: tuple[Weighted, ...]
    label: float = 1.0

    @property
    def tokens(self) -> int:
        return sum(len(sequence.ids) for sequence in self.sequences)

    @property
    def trained(self) -> int:
        return sum(sequence.trained for sequence in self.sequences)


def encode_examples(
    examples: Sequence[Numbered], encoder: Encoder, problems: Problems, *, window: int
) -> list[Encoded]:
    """``examples`` for a model that reads ``window`` tokens at once. What cannot be used goes to
    ``problems``."""
    encoded = []
    for numbered in examples:
        one = _encode(numbered, encoder, problems)
        fitted = None if one is None else _fit(one, problems, window)
        if fitted is not None:
            encoded.append(fitted)
    return encoded


def _encode(numbered: Numbered, encoder: Encoder, problems: Problems) -> Encoded | None:
    example = numbered.example
    try:
        sequences = _ENCODERS[type(example)](example, encoder)
    except DataError as error:
        problems.add("refused_by_template", numbered.line, "messages", error.message)
        return None
    label = -1.0 if isinstance(example, Labelled) and not example.label else 1.0
    if all(sequence.trained for sequence in sequences):
        return Encoded(line=numbered.line, sequences=sequences, label=label)
    said = "the model's chat template leaves nothing of it to learn"
    problems.add("nothing_to_train", numbered.line, "messages", said)
    return None


def _fit(one: Encoded, problems: Problems, window: int) -> Encoded | None:
    longest = max(len(sequence.ids) for sequence in one.sequences)
    if longest <= window:
        return one
    said = f"{longest} tokens, the model reads {window}"
    cut = tuple(Weighted(ids=s.ids[:window], weights=s.weights[:window]) for s in one.sequences)
    if all(sequence.trained for sequence in cut):
        problems.add("truncated", one.line, "", f"{said}: its end is cut off")
        return Encoded(line=one.line, sequences=cut, label=one.label)
    problems.add("too_long", one.line, "", f"{said}, and what is to be learned comes after them")
    return None


def _turns(turns: Sequence[Turn], tools: Sequence[Tool], encoder: Encoder) -> Weighted:
    rendered = encoder.chat([turn.message for turn in turns], tools)
    weights = [0.0] * len(rendered.ids)
    for span in rendered.spans:
        weight = turns[span.message].weight
        if weight:
            weights[span.start : span.stop] = [weight] * (span.stop - span.start)
    return _weighted(rendered.ids, weights)


def _weighted(ids: Sequence[int], weights: Sequence[float]) -> Weighted:
    return Weighted(ids=tuple(ids), weights=(0.0, *weights[1:]))


def _chat(example: Chat | Labelled, encoder: Encoder) -> tuple[Weighted, ...]:
    return (_turns(example.turns, example.tools, encoder),)


def _completed(example: Completed, encoder: Encoder) -> tuple[Weighted, ...]:
    before = encoder.text(example.prompt)
    after = [*encoder.text(example.completion, continued=bool(before)), encoder.end_of_text]
    return (_weighted([*before, *after], [0.0] * len(before) + [1.0] * len(after)),)


def _document(example: Document, encoder: Encoder) -> tuple[Weighted, ...]:
    ids = [*encoder.text(example.text), encoder.end_of_text]
    return (_weighted(ids, [1.0] * len(ids)),)


def _preference(example: Preference, encoder: Encoder) -> tuple[Weighted, ...]:
    given = [Turn(message=message, weight=0.0) for message in example.messages]
    outputs = (example.preferred, example.rejected)
    return tuple(_turns([*given, *output], example.tools, encoder) for output in outputs)


_ENCODERS: dict[type[Example], Callable[..., tuple[Weighted, ...]]] = {
    Chat: _chat,
    Labelled: _chat,
    Completed: _completed,
    Document: _document,
    Preference: _preference,
}
