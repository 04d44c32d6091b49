"""One answer in a conversation: asked of the desk, screened while it comes, written down however it ends.

An answer that its reader stops is kept as far as it came, with ``finish`` stopped; one that fails in the middle
likewise, and the error goes on. Of one that moderation flags the rest is not asked for: it is kept, withheld, and
reviewed.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, Protocol, cast

import anyio

from commonweal.core.clock import Clock
from commonweal.core.completion import CompletionFailed, ToolCall
from commonweal.core.database import Database
from commonweal.core.ids import new_id
from commonweal.core.streaming import Ended, Event, Piece, Usage
from commonweal.serve.catalogue import ServedModel
from commonweal.serve.community import conversations
from commonweal.serve.community.asking import Question, flag
from commonweal.serve.community.moderation import Moderator
from commonweal.serve.community.records import Finish, Spent, Turn
from commonweal.serve.community.screening import Screen
from commonweal.serve.desk import Ask, Desk


@dataclass(frozen=True, slots=True, kw_only=True)
class Began:
    """``answer`` is the id that the answer will have."""

    user: Turn
    answer: str


@dataclass(frozen=True, slots=True, kw_only=True)
class More:
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    turn: Turn


Told = Began | More | Finished


class Aid(Desk, Protocol):
    """A desk with the hub's tools on it. ``told`` has ``tool_runs`` and ``passages`` of what was asked."""

    def told(self) -> dict[str, Any]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Answering:
    """The parts that answer."""

    desk: Desk
    database: Database
    clock: Clock
    moderator: Moderator

    async def stream(
        self, question: Question, *, trusted: bool = False, aid: Aid | None = None
    ) -> AsyncGenerator[Told, None]:
        """The first answer of ``question``, of ``aid`` if there is one. Closing it stops the answer. Raises what the
        desk raises."""
        id = new_id("msg")
        yield Began(user=question.user, answer=id)
        making = Making(Screen(self.moderator), began=self.clock.now(), aid=aid)
        written = False
        try:
            async with aclosing(_generator(aid or self.desk, question, 0, id, trusted)) as events:
                async for event in events:
                    if shown := making.take(event, self.clock.now()):
                        yield More(text=shown)
                    if making.flagged:
                        break
            if rest := making.end():
                yield More(text=rest)
            turn = making.turn(question, 0, id=id, now=self.clock.now())
            await asyncio.to_thread(self._write, question, [turn])
            written = True
            yield Finished(turn=turn)
        except Exception:
            making.finish = "error"
            raise
        finally:
            if not written and making.screen.text:
                making.end()
                turn = making.turn(question, 0, id=id, now=self.clock.now())
                with anyio.CancelScope(shield=True):  # the reader is gone: what there is is kept all the same
                    await asyncio.to_thread(self._write, question, [turn])

    async def whole(
        self, question: Question, index: int, *, id: str, drafts: str, trusted: bool = False
    ) -> Turn:
        """One of several answers, complete and not yet written down."""
        making = Making(Screen(self.moderator), began=self.clock.now())
        async with aclosing(_generator(self.desk, question, index, id, trusted)) as events:
            async for event in events:
                making.take(event, self.clock.now())
        making.end()
        return making.turn(question, index, id=id, now=self.clock.now(), drafts=drafts)

    def _write(self, question: Question, turns: list[Turn]) -> None:
        now = self.clock.now()
        with self.database.transaction() as connection:
            conversations.say(connection, turns, now)
            for turn in turns:
                if turn.flags:
                    flag(connection, question.conversation, turn, now)


def _generator(desk: Desk, question: Question, index: int, id: str, trusted: bool) -> Any:
    """The desk's iterator, which may be closed."""
    request = question.requests[index]
    ask = Ask(id=id, account=question.conversation.account, request=request, trusted=trusted)
    return cast(Any, desk.stream(ask))


@dataclass(slots=True)
class Making:
    """An answer as it comes."""

    screen: Screen
    began: float
    aid: Aid | None = None
    first: float | None = None
    pieces: int = 0
    usage: Usage | None = None
    finish: Finish = "stopped"
    tool_calls: tuple[ToolCall, ...] = field(default=())

    @property
    def flagged(self) -> bool:
        return bool(self.screen.flags)

    def take(self, event: Event, now: float) -> str:
        """What may be shown of it."""
        match event:
            case Piece(text="", tokens=()):
                pass
            case Piece(text=text, tokens=tokens):
                self.first = now if self.first is None else self.first
                self.pieces += len(tokens) or 1
                return self.screen.more(text)
            case Ended(finish=finish, tool_calls=calls):
                self.finish, self.tool_calls = finish, calls
            case Usage():
                self.usage = event
            case _:
                raise CompletionFailed("malformed", "an embedding came as an answer")
        return ""

    def end(self) -> str:
        rest = self.screen.end()
        if self.flagged:
            self.finish = "content_filter"
        return rest

    def turn(self, question: Question, index: int, *, id: str, now: float, drafts: str | None = None) -> Turn:
        told = {} if self.aid is None else self.aid.told()
        return question.answer(
            index,
            id=id,
            created=now,
            content=self.screen.text,
            flags=self.screen.flags,
            withheld=self.flagged,
            drafts=drafts,
            tool_calls=self.tool_calls,
            tool_runs=tuple(told.get("tool_runs", ())),
            passages=tuple(told.get("passages", ())),
            finish=self.finish,
            spent=self._spent(question.models[index], now),
        )

    def _spent(self, model: ServedModel, now: float) -> Spent:
        usage = self.usage
        return Spent(
            prompt_tokens=usage.prompt_tokens if usage else None,
            completion_tokens=usage.completion_tokens if usage else self.pieces,
            microcredits=model.cost(usage.prompt_tokens, usage.completion_tokens) if usage else None,
            first_token_seconds=None if self.first is None else self.first - self.began,
            seconds=now - self.began,
        )
