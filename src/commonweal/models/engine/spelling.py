"""Tokens as text while they are made: only what later tokens cannot change.

A token may hold a part of a character. Its bytes wait until the character is whole, or cannot become one any more and
is U+FFFD. Special tokens have no text unless they are asked for (calls of tools are marked by them in some models).
"""

from __future__ import annotations

import codecs
import re
from typing import Any, Protocol

_REPLACEMENT = "\ufffd"
_BYTE = re.compile(r"<0x([0-9A-F]{2})>")
_LONGEST = 4
"""Bytes of a character in UTF-8."""


class Spelling(Protocol):
    """The text of one choice."""

    def add(self, token: int) -> str:
        """What is final now that ``token`` was added."""
        ...

    def end(self) -> str:
        """The rest, when no more tokens come."""
        ...


class Speller:
    """Makes spellings for one tokenizer (transformers', fast)."""

    def __init__(self, tokenizer: Any) -> None:
        self._backend: Any = tokenizer.backend_tokenizer
        self._added: dict[int, Any] = dict(self._backend.get_added_tokens_decoder())
        self._bytewise = type(self._backend.decoder).__name__ == "ByteLevel"
        self._known: dict[int, bytes] = {}
        anchor: list[int] = self._backend.encode("a", add_special_tokens=False).ids
        self._anchor = anchor

    def spelling(self, *, special: bool = False) -> Spelling:
        """A new text; ``special`` shows special tokens too."""
        return _ByteSpelling(self, special) if self._bytewise else _WindowSpelling(self, special)

    def anchor(self) -> list[int]:
        return self._anchor

    def decoded(self, ids: list[int], special: bool) -> str:
        text: str = self._backend.decode(ids, skip_special_tokens=not special)
        return text

    def byte_of(self, token: int) -> bytes | None:
        """The byte that a token such as ``<0xE2>`` stands for."""
        match = _BYTE.fullmatch(self._backend.id_to_token(token) or "")
        return bytes([int(match[1], 16)]) if match else None

    def bytes_of(self, token: int, special: bool) -> bytes:
        added = self._added.get(token)
        if added is not None:
            return added.content.encode() if special or not added.special else b""
        known = self._known.get(token)
        if known is None:
            piece: str | None = self._backend.id_to_token(token)
            known = self._known[token] = b"" if piece is None else _raw(piece)
        return known


class _ByteSpelling:
    """Of a byte-level tokenizer: each token is known bytes."""

    def __init__(self, speller: Speller, special: bool) -> None:
        self._speller, self._special = speller, special
        self._decode = codecs.getincrementaldecoder("utf-8")("replace").decode

    def add(self, token: int) -> str:
        return self._decode(self._speller.bytes_of(token, self._special))

    def end(self) -> str:
        return self._decode(b"", True)


class _WindowSpelling:
    """Of any other tokenizer: a token's text is what it adds to the last tokens, decoded anew until it is final. Tokens
    that are a byte are put together here, since decoders make nothing of a run of bytes with a part of a character."""

    def __init__(self, speller: Speller, special: bool) -> None:
        self._speller, self._special = speller, special
        self._decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        self._before = speller.anchor()
        self._lead = speller.decoded(self._before, special)
        self._window: list[int] = []
        self._sent = 0

    def add(self, token: int) -> str:
        byte = self._speller.byte_of(token)
        if byte is not None:
            return self._window_end() + self._decode(byte)
        new = self._decode(b"", True)
        self._window.append(token)
        text = self._text()
        final = len(text)
        while final and text[final - 1] == _REPLACEMENT and len(text) - final < _LONGEST - 1:
            final -= 1
        new += text[self._sent : final]
        self._sent = max(self._sent, final)
        if final == len(text) and text:
            self._restart()
        return new

    def end(self) -> str:
        return self._window_end() + self._decode(b"", True)

    def _window_end(self) -> str:
        if not self._window:
            return ""
        rest = self._text()[self._sent :]
        self._restart()
        return rest

    def _restart(self) -> None:
        self._before = self._window
        self._lead = self._speller.decoded(self._before, self._special)
        self._window, self._sent = [], 0

    def _text(self) -> str:
        whole = self._speller.decoded([*self._before, *self._window], self._special)
        return whole[len(self._lead) :]


def _raw(piece: str) -> bytes:
    """The bytes that a byte-level token's letters stand for; letters that stand for none are themselves."""
    try:
        return bytes([_BYTES[letter] for letter in piece])
    except KeyError:
        return piece.encode()


def _byte_letters() -> dict[str, int]:
    """GPT-2's table: printable bytes are their own letter, the others follow from U+0100 on."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in set(printable)]
    letters = {chr(byte): byte for byte in printable}
    return letters | {chr(256 + index): byte for index, byte in enumerate(others)}


_BYTES = _byte_letters()
