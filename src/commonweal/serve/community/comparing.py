"""Blind comparison: two answers to one question, and nobody is told whose is which before the choice.

Which of the two comes first is drawn by a seed that is kept and told after the choice, so the order can be checked.
Both are asked for at once and shown when both are there: speed would tell the models apart.
"""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, replace
from typing import Any, Literal

import sqlalchemy as sa

from commonweal.core.errors import Conflict, NotFound
from commonweal.core.ids import new_id
from commonweal.serve.community import conversations, feedback
from commonweal.serve.community.answering import Answering
from commonweal.serve.community.asking import Flagged, Question, flag
from commonweal.serve.community.feedback import Feedback, choice
from commonweal.serve.community.moderation import Moderator
from commonweal.serve.community.records import Turn
from commonweal.serve.community.review import Rules
from commonweal.serve.community.schema import comparisons
from commonweal.serve.community.schema import conversations as conversation_rows

Choice = Literal["first", "second", "tie"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """``first`` and ``second`` are messages, as they are shown. ``seed`` decided the order."""

    id: str
    conversation: str
    first: str
    second: str
    seed: int
    choice: Choice | None
    created: float
    chosen: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Drafts:
    comparison: Comparison
    turns: tuple[Turn, Turn]


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """``turns`` with their models, the first draft first."""

    comparison: Comparison
    turns: tuple[Turn, Turn]
    feedback: Feedback


def swapped(seed: int) -> bool:
    """Whether the second model's answer is shown first."""
    return random.Random(seed).random() < 0.5


async def compare(answering: Answering, question: Question, *, seed: int, trusted: bool = False) -> Drafts:
    """Ask for both answers and write them down. Raises what the desk raises (and then nothing is written), and Flagged
    where one of them may not be shown."""
    name = new_id("cmp")
    asked = [
        asyncio.ensure_future(
            answering.whole(question, index, id=new_id("msg"), drafts=name, trusted=trusted)
        )
        for index in (0, 1)
    ]
    try:
        first, second = await asyncio.gather(*asked)
    finally:
        for task in asked:
            task.cancel()
    if swapped(seed):
        first, second = second, first
    # Written at one moment, in the order in which they are shown: neither tells who was faster.
    turns = (replace(first, created=second.created), second)
    return await asyncio.to_thread(_write, answering, question, name, turns, seed)


def _write(
    answering: Answering, question: Question, name: str, turns: tuple[Turn, Turn], seed: int
) -> Drafts:
    now = answering.clock.now()
    flagged = [turn for turn in turns if turn.flags]
    comparison = Comparison(
        id=name,
        conversation=question.conversation.id,
        first=turns[0].id,
        second=turns[1].id,
        seed=seed,
        choice=None,
        created=now,
        chosen=None,
    )
    with answering.database.transaction() as connection:
        if flagged:  # there is nothing to compare any more: they are two answers
            conversations.say(connection, [replace(turn, drafts=None) for turn in turns], now)
        else:
            conversations.say(connection, turns, now)
            row = {field: getattr(comparison, field) for field in Comparison.__dataclass_fields__}
            connection.execute(sa.insert(comparisons).values(row))
        for turn in flagged:
            flag(connection, question.conversation, turn, now)
    if flagged:
        raise Flagged(
            "one of the two drafts was flagged and is withheld until a person has looked at it",
            hint="ask again, or ask one model",
        )
    return Drafts(comparison=comparison, turns=turns)


def choose(
    connection: sa.Connection,
    comparison: str,
    account: str,
    choice_made: Choice,
    *,
    comment: str,
    moderator: Moderator,
    rules: Rules,
    now: float,
) -> Chosen:
    """Say which draft is better. Raises NotFound, also for another's, and Conflict where that was said already."""
    found = find(connection, comparison, account)
    if found.choice is not None:
        raise Conflict(f"this comparison was decided: {found.choice}", hint="the models are known now")
    first, second = (conversations.find_turn(connection, one, account) for one in (found.first, found.second))
    better, worse = (second, first) if choice_made == "second" else (first, second)
    made = choice(better, worse, account, tie=choice_made == "tie", comment=comment, now=now)
    values = {"choice": choice_made, "chosen": now}
    connection.execute(sa.update(comparisons).where(comparisons.c.id == found.id).values(values))
    given = feedback.give(connection, made, moderator=moderator, rules=rules, now=now)
    return Chosen(
        comparison=replace(found, choice=choice_made, chosen=now), turns=(first, second), feedback=given
    )


def find(connection: sa.Connection, comparison: str, account: str) -> Comparison:
    """Raises NotFound. Locks it: of two choices at once one is too late."""
    statement = (
        sa.select(comparisons)
        .join(conversation_rows, conversation_rows.c.id == comparisons.c.conversation)
        .where(comparisons.c.id == comparison, conversation_rows.c.account == account)
        .with_for_update(of=comparisons)
    )
    row = connection.execute(statement).first()
    if row is None:
        raise NotFound(f"no comparison '{comparison[:80]}'", hint="it may have been deleted")
    return _comparison(row)


def of_conversation(connection: sa.Connection, conversation: str) -> tuple[Comparison, ...]:
    rows = sa.select(comparisons).where(comparisons.c.conversation == conversation)
    return tuple(_comparison(row) for row in connection.execute(rows.order_by(comparisons.c.created)))


def _comparison(row: Any) -> Comparison:
    return Comparison(**row._mapping)
