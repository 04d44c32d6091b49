"""What anybody may know of serving: who serves now, and how much was answered in the last minute.

Invariant: no account, no prompt, no price. One statement for the processes, one for the answers of the machines that
are connected to them, by an index: however much was ever answered costs nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

from commonweal.serve.billing.schema import usage
from commonweal.serve.router.schema import hubs

MINUTE = 60.0
_ALIVE_SECONDS = 15.0
"""A hub process that has said nothing for so long is gone, and its workers with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """``machines`` are connected to be asked; ``running`` answers are under way; ``answers`` of ``tokens`` were given
    in the last minute."""

    machines: int = 0
    running: int = 0
    answers: int = 0
    tokens: int = 0


def served(connection: sa.Connection, now: float) -> Served:
    """Of all hub processes on this database."""
    moment = sa.cast(sa.func.extract("epoch", sa.func.clock_timestamp()), sa.Double)
    alive = sa.select(hubs.c.workers).where(hubs.c.seen >= moment - _ALIVE_SECONDS)
    workers = [
        worker for row in connection.execute(alive).scalars() for worker in row if not worker["judges"]
    ]
    members = {str(worker["lender"]["member"]) for worker in workers}
    if not members:
        return Served()
    given = sa.select(
        sa.func.count(), sa.func.coalesce(sa.func.sum(usage.c.completion_tokens), 0).cast(sa.BigInteger)
    ).where(usage.c.member.in_(members), usage.c.at > now - MINUTE, usage.c.outcome == "done")
    answers, tokens = connection.execute(given).one()
    return Served(
        machines=len(members),
        running=sum(int(worker["running"]) for worker in workers),
        answers=answers,
        tokens=tokens,
    )
