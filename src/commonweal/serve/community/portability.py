"""Everything that is kept of an account, for itself to take along: plain JSON, nothing left out but which model wrote a
draft that is still blind."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import sqlalchemy as sa

from commonweal.serve.community import conversations, feedback
from commonweal.serve.community.records import Conversation
from commonweal.serve.community.schema import comparisons, dataset_items, reviews
from commonweal.serve.community.schema import conversations as conversation_rows
from commonweal.serve.community.sight import blind, seen

VERSION = 1


def everything(connection: sa.Connection, account: str, now: float) -> dict[str, Any]:
    """The account's conversations with messages, feedback, comparisons, reviews and the data sets that have them."""
    mine = sa.select(conversation_rows.c.id).where(conversation_rows.c.account == account)
    ids = connection.execute(mine.order_by(conversation_rows.c.created)).scalars().all()
    return {
        "version": VERSION,
        "account": account,
        "at": now,
        "conversations": [
            _conversation(connection, conversations.find(connection, one, account)) for one in ids
        ],
    }


def _conversation(connection: sa.Connection, found: Conversation) -> dict[str, Any]:
    hidden = blind(connection, found.id)
    return asdict(found) | {
        "messages": [seen(turn, hidden) for turn in conversations.turns(connection, found.id)],
        "feedback": [asdict(given) for given in feedback.of_conversation(connection, found.id)],
        "comparisons": [
            {name: value for name, value in row._mapping.items() if row.choice or name != "seed"}
            for row in connection.execute(
                sa.select(comparisons).where(comparisons.c.conversation == found.id)
            )
        ],
        "reviews": [
            dict(row._mapping)
            for row in connection.execute(sa.select(reviews).where(reviews.c.conversation == found.id))
        ],
        "datasets": list(
            connection.execute(
                sa.select(dataset_items.c.dataset)
                .where(dataset_items.c.conversation == found.id)
                .distinct()
                .order_by(dataset_items.c.dataset)
            ).scalars()
        ),
    }
