"""Counting tokens, so that a prompt fits the context window.

Who has the model's tokenizer counts exactly (a local completer gives its own counter). Of a remote model nobody here
knows the tokenizer, so :class:`Estimate` counts too many rather than too few: a prompt that loses an example for
nothing costs less than one that the server refuses.
"""

from __future__ import annotations

from typing import Protocol

_CHEAP = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ "
_BYTES_A_TOKEN = 3


class TokenCounter(Protocol):
    """Counts in the tokens of one model."""

    def count(self, text: str) -> int:
        """How many tokens the model makes of ``text`` as a prompt of its own, with those that it always puts in
        front (``<s>``)."""
        ...

    def truncate(self, text: str, tokens: int) -> str:
        """The longest beginning of ``text`` that has at most so many tokens; "" where ``tokens`` is 0 or less.

        It is a prefix of ``text``: characters are not split, and nothing is normalised.
        """
        ...


class Estimate:
    """A conservative estimate from bytes: letters and spaces at three a token, any other byte a token of its own.

    English has four to five bytes a token in today's vocabularies; numbers, code and other scripts have fewer.

    >>> Estimate().count("The sky is blue.")
    6
    >>> Estimate().truncate("The sky is blue.", 3)
    'The sky i'
    """

    def count(self, text: str) -> int:
        data = text.encode("utf-8", "surrogatepass")
        others = len(data.translate(None, _CHEAP))
        return others + -(-(len(data) - others) // _BYTES_A_TOKEN)

    def truncate(self, text: str, tokens: int) -> str:
        low, high = 0, min(len(text), max(0, tokens) * _BYTES_A_TOKEN)
        while low < high:
            middle = (low + high + 1) // 2
            if self.count(text[:middle]) <= tokens:
                low = middle
            else:
                high = middle - 1
        return text[:low]


def certainly_fits(text: str, tokens: int) -> bool:
    """Whether ``text`` has at most so many tokens in any vocabulary, without counting: a token stands for at least one
    byte, but for two that a tokenizer may put in front."""
    size = len(text)
    if size + 2 > tokens:
        return False
    return text.isascii() or len(text.encode("utf-8", "surrogatepass")) + 2 <= tokens
