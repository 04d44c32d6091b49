"""Text to token ids where the caller says which parts are control tokens: nothing in a text ever becomes one.

A tokenizer recognizes its added tokens ("<|end|>", "<tool_call>") wherever their characters stand. Here a
copy without them encodes text, and control tokens are put between by their ids. Pieces are encoded as the
whole tokenizer would encode them: some put a space before the first word, or before each word after a control
token, and none within a text that was merely cut.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from commonweal.core.errors import ConfigError

Place = Literal["first", "after_control", "inside"]
Offset = tuple[int, int, int]
"""A token's id, and the characters of its piece that it covers (start, stop)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Control:
    """An added token: its characters and id; whether white space before or after it belongs to it."""

    text: str
    id: int
    lstrip: bool
    rstrip: bool


class PlainText:
    """Encodes text of one tokenizer with no token but those of its own model."""

    def __init__(self, tokenizer: Any) -> None:
        backend = getattr(tokenizer, "backend_tokenizer", None)
        if backend is None:
            raise ConfigError(
                "the tokenizer has no tokenizer.json", hint="save it as a fast tokenizer of transformers"
            )
        self.controls: dict[str, Control] = {
            token.content: Control(
                text=token.content, id=int(number), lstrip=token.lstrip, rstrip=token.rstrip
            )
            for number, token in backend.get_added_tokens_decoder().items()
            if token.content
        }
        longest_first = sorted(self.controls, key=len, reverse=True)
        self.pattern = re.compile("|".join(map(re.escape, longest_first)) or r"(?!)")
        self._ids = frozenset(control.id for control in self.controls.values())
        self._encoders = _encoders(json.loads(backend.to_str()), type(backend))

    def encode(self, text: str, place: Place) -> list[Offset]:
        """The tokens of a piece of text, control tokens in it as the characters that they are, and halves of
        surrogate pairs as U+FFFD."""
        text = whole_characters(text)
        found = self._tokens(text, place)
        if self._ids.isdisjoint(token for token, _, _ in found):
            return found
        # A vocabulary that holds its control tokens as plain pieces too (T5's): characters alone never make one.
        return [
            (token, at, at + 1)
            for at, letter in enumerate(text)
            for token, _, _ in self._tokens(letter, "inside")
            if token not in self._ids
        ]

    def _tokens(self, text: str, place: Place) -> list[Offset]:
        if not text:
            return []
        encoded = self._encoders[place].encode(text, add_special_tokens=False)
        return [(i, a, b) for i, (a, b) in zip(encoded.ids, encoded.offsets, strict=True)]


def whole_characters(text: str) -> str:
    """``text`` with U+FFFD for halves of surrogate pairs, which JSON can hold and UTF-8 cannot."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _encoders(settings: dict[str, Any], make: Any) -> dict[Place, Any]:
    """A copy of the tokenizer for each place; one for all where there is no difference."""
    made: dict[str, Any] = {}
    result: dict[Place, Any] = {}
    plain = {**settings, "added_tokens": [], "truncation": None, "padding": None}
    places: tuple[Place, ...] = ("first", "after_control", "inside")
    for place in places:
        text = json.dumps(_without_prefix(plain, place))
        if text not in made:
            made[text] = make.from_str(text)
        result[place] = made[text]
    return result


def _without_prefix(value: Any, place: Place) -> Any:
    """Settings in which nothing adds a space before a piece at ``place``."""
    if place == "first":
        return value
    if isinstance(value, list):
        return [_without_prefix(item, place) for item in value if not (place == "inside" and _prepends(item))]
    if not isinstance(value, Mapping):
        return value
    changed = {
        key: item if key == "model" else _without_prefix(item, place)  # its vocabulary is large and has none
        for key, item in value.items()
    }
    if changed.get("type") == "Metaspace" and (place == "inside" or changed["prepend_scheme"] == "first"):
        changed["prepend_scheme"] = "never"
    if place == "inside" and "add_prefix_space" in changed:
        changed["add_prefix_space"] = False
    if place == "inside" and _prepends(changed.get("normalizer")):
        changed["normalizer"] = None
    return changed


def _prepends(step: Any) -> bool:
    return isinstance(step, Mapping) and step.get("type") == "Prepend"
