"""One choice as it is written: tokens in, events out.

A token goes out with the text that it completes, once that text is final: stop strings are found across tokens and
cut, characters come whole, and what may become a call of a tool is held back (its tokens are not). What a stop string
took is neither text nor a token of the answer.
"""

from __future__ import annotations

from collections import deque
from typing import Protocol

from commonweal.core.completion import Finish, Token, ToolCall
from commonweal.core.streaming import Ended, Piece
from commonweal.models.engine.spelling import Spelling
from commonweal.models.engine.stops import StopStrings


class Held(Protocol):
    """A last filter of the text, which may find calls in it."""

    def add(self, text: str) -> str: ...

    def end(self) -> tuple[str, tuple[ToolCall, ...]]: ...


class Writing:
    """Choice ``index``. ``stopped`` says that a stop string was found, ``count`` how many tokens went out."""

    def __init__(self, index: int, spelling: Spelling, stops: StopStrings, calls: Held | None = None) -> None:
        self.index = index
        self.count = 0
        self._spelling = spelling
        self._stops = stops
        self._calls = calls
        self._waiting: deque[tuple[int, int, Token]] = deque()
        self._spelled = 0
        self._final = 0

    @property
    def stopped(self) -> bool:
        return self._stops.found

    def add(self, token: Token) -> Piece | None:
        """A token was made. What can go out now."""
        assert token.id is not None
        text = self._spelling.add(token.id)
        begin = self._spelled
        self._spelled += len(text)
        self._waiting.append((begin, self._spelled, token))
        return self._out(self._stops.add(text))

    def end(self, finish: Finish) -> list[Piece | Ended]:
        """No more tokens come: the rest, and how it ended."""
        rest = self._spelling.end()
        self._spelled += len(rest)
        text = self._stops.add(rest)
        if not self._stops.found:
            text += self._stops.end()
        piece = self._out(text)
        held, calls = self._calls.end() if self._calls is not None else ("", ())
        made: list[Piece | Ended] = [] if piece is None else [piece]
        if held:
            made.append(Piece(index=self.index, text=held))
        if self._stops.found:
            finish = "stop"
        made.append(Ended(index=self.index, finish="tool_calls" if calls else finish, tool_calls=calls))
        return made

    def _out(self, text: str) -> Piece | None:
        self._final += len(text)
        tokens = []
        while self._waiting and self._goes(*self._waiting[0][:2]):
            tokens.append(self._waiting.popleft()[2])
        self.count += len(tokens)
        if self._calls is not None:
            text = self._calls.add(text)
        return Piece(index=self.index, text=text, tokens=tuple(tokens)) if text or tokens else None

    def _goes(self, begin: int, end: int) -> bool:
        return end <= self._final or (self._stops.found and begin < self._final)
