"""Conversations in the database: opened, found by their owner only, spoken in, changed.

Another's conversation is not found, just as one that does not exist.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

import sqlalchemy as sa

from commonweal.core.completion import ToolCall
from commonweal.core.errors import NotFound, Refused
from commonweal.core.ids import new_id
from commonweal.serve.community.records import Conversation, Source, Spent, Turn
from commonweal.serve.community.schema import conversations, messages
from commonweal.serve.community.terms import Terms

LONGEST_TITLE = 120
MOST_MESSAGES = 2000

_SOURCE = ("model", "identity", "adapter", "base")
_SPENT = ("prompt_tokens", "completion_tokens", "microcredits", "first_token_seconds", "seconds")
_PLAIN = (
    "id",
    "conversation",
    "parent",
    "role",
    "content",
    "created",
    "withheld",
    "drafts",
    "system",
    "seed",
)


def open_conversation(
    connection: sa.Connection, account: str, *, terms: Terms, title: str, now: float
) -> Conversation:
    made = Conversation(
        id=new_id("conv"), account=account, title=titled(title), terms=terms, created=now, updated=now
    )
    row = {"id": made.id, "account": account, "title": made.title, "created": now, "updated": now}
    connection.execute(sa.insert(conversations).values(row | asdict(terms)))
    return made


def find(connection: sa.Connection, conversation: str, account: str) -> Conversation:
    """Raises NotFound, also for another's."""
    row = connection.execute(sa.select(conversations).where(_mine(conversation, account))).first()
    if row is None:
        raise NotFound(f"no conversation '{conversation[:80]}'", hint="it may have been deleted")
    return _conversation(row)


def of_account(
    connection: sa.Connection, account: str, *, limit: int, before: float | None = None
) -> tuple[Conversation, ...]:
    """The latest conversations of an account, those spoken in last first."""
    statement = sa.select(conversations).where(conversations.c.account == account)
    if before is not None:
        statement = statement.where(conversations.c.updated < before)
    ordered = statement.order_by(conversations.c.updated.desc(), conversations.c.id).limit(limit)
    return tuple(_conversation(row) for row in connection.execute(ordered))


def change(
    connection: sa.Connection, found: Conversation, *, title: str | None, terms: Terms | None, now: float
) -> Conversation:
    """Another title, or other terms for all that was said."""
    after = replace(
        found,
        title=found.title if title is None else titled(title),
        terms=terms or found.terms,
        updated=now,
    )
    values = {"title": after.title, "updated": now} | asdict(after.terms)
    connection.execute(sa.update(conversations).where(conversations.c.id == found.id).values(values))
    if after.terms != found.terms:
        spoken = sa.update(messages).where(messages.c.conversation == found.id)
        connection.execute(spoken.values(asdict(after.terms)))
    return after


def turns(connection: sa.Connection, conversation: str) -> tuple[Turn, ...]:
    """All messages, in the order in which they were written."""
    rows = sa.select(messages).where(messages.c.conversation == conversation).order_by(messages.c.number)
    return tuple(_turn(row) for row in connection.execute(rows))


def find_turn(connection: sa.Connection, message: str, account: str) -> Turn:
    """Raises NotFound, also for a message in another's conversation."""
    statement = (
        sa.select(messages)
        .join(conversations, conversations.c.id == messages.c.conversation)
        .where(messages.c.id == message, conversations.c.account == account)
    )
    row = connection.execute(statement).first()
    if row is None:
        raise NotFound(f"no message '{message[:80]}'", hint="it may have been deleted")
    return _turn(row)


def say(connection: sa.Connection, spoken: Sequence[Turn], now: float) -> None:
    """Write messages down. Raises NotFound where the conversation was deleted meanwhile, Refused where it is full."""
    conversation = spoken[0].conversation
    there = connection.execute(
        sa.update(conversations).where(conversations.c.id == conversation).values(updated=now)
    )
    if not there.rowcount:
        raise NotFound(f"no conversation '{conversation}'", hint="it was deleted meanwhile")
    count = sa.select(sa.func.count()).where(messages.c.conversation == conversation)
    if connection.execute(count).scalar_one() + len(spoken) > MOST_MESSAGES:
        raise Refused(f"a conversation has at most {MOST_MESSAGES} messages", hint="begin a new one")
    for turn in spoken:  # one by one: they are numbered in this order
        connection.execute(sa.insert(messages).values(_row(turn)))


def titled(text: str) -> str:
    """A title from a text: its first words on one line.

    >>> titled("  What is\\n a tensor?  ")
    'What is a tensor?'
    """
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line if len(line) <= LONGEST_TITLE else line[: LONGEST_TITLE - 1].rstrip() + "…"


def _mine(conversation: str, account: str) -> sa.ColumnElement[bool]:
    return sa.and_(conversations.c.id == conversation, conversations.c.account == account)


def _conversation(row: Any) -> Conversation:
    return Conversation(
        id=row.id,
        account=row.account,
        title=row.title,
        terms=Terms(consent=row.consent, licence=row.licence),
        created=row.created,
        updated=row.updated,
    )


def _row(turn: Turn) -> dict[str, Any]:
    source = dict.fromkeys(_SOURCE) if turn.source is None else asdict(turn.source)
    spent = dict.fromkeys(_SPENT) if turn.spent is None else asdict(turn.spent)
    plain = {name: getattr(turn, name) for name in _PLAIN}
    kept = {
        "flags": list(turn.flags),
        "sampling": dict(turn.sampling),
        "tool_calls": [asdict(call) for call in turn.tool_calls],
        "tool_runs": [dict(run) for run in turn.tool_runs],
        "passages": [dict(passage) for passage in turn.passages],
        "finish": turn.finish,
    }
    return plain | source | spent | asdict(turn.terms) | kept


def _turn(row: Any) -> Turn:
    values = row._mapping
    source = None if row.model is None else Source(**{name: values[name] for name in _SOURCE})
    spent = None if row.seconds is None else Spent(**{name: values[name] for name in _SPENT})
    return Turn(
        **{name: values[name] for name in _PLAIN},
        terms=Terms(consent=row.consent, licence=row.licence),
        flags=tuple(row.flags),
        sampling=row.sampling,
        tool_calls=tuple(ToolCall(**call) for call in row.tool_calls),
        tool_runs=tuple(row.tool_runs),
        passages=tuple(row.passages),
        finish=row.finish,
        source=source,
        spent=spent,
    )
