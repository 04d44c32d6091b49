"""A message as its user sees it: what is withheld has no text, and a draft that is still blind no model, nor anything
that could give it away (its tokens, its cost, its seconds)."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import sqlalchemy as sa

from commonweal.serve.community.records import Turn
from commonweal.serve.community.schema import comparisons

_GIVE_AWAY = ("source", "spent", "sampling", "seed")


def blind(connection: sa.Connection, conversation: str) -> frozenset[str]:
    """The comparisons of a conversation that nobody has decided yet."""
    open_ones = sa.select(comparisons.c.id).where(
        comparisons.c.conversation == conversation, comparisons.c.choice.is_(None)
    )
    return frozenset(connection.execute(open_ones).scalars())


def seen(turn: Turn, blind: frozenset[str] = frozenset()) -> dict[str, Any]:
    """``blind`` are comparisons that are not decided."""
    made = asdict(turn)
    if turn.withheld:
        made |= {"content": "", "tool_calls": (), "tool_runs": (), "passages": ()}
    if turn.drafts in blind:
        made |= dict.fromkeys(_GIVE_AWAY)
    return made
