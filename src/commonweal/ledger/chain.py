"""The chain: each journal sealed with the hash of the one before, so that the past cannot be changed unseen.

A chain needs an order. Ordering journals as they are posted would make every payment of the pool wait for the
one before it to commit. So a journal only queues for its seal when it is posted, and :func:`seal`, called
every few seconds in a short transaction of its own, gives all committed ones their place. Sealers wait for
each other; nobody who pays waits for a sealer. The price: a journal is part of the chain some seconds after
it was made.

Within a batch the order is that of the ids, and so is a possible order of the payments (see
:mod:`commonweal.ledger.schema`): a replay in chain order never sees a balance below zero.

The head (position and seal) commits to everything before it. Whoever wrote down a head can check that a later
export still contains it; so publish it, and sign it.
"""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

from commonweal.core.hashing import content_hash
from commonweal.ledger.schema import journals, seals

GENESIS = "0" * 64

_SEALING = 0x6C656467  # the advisory lock of sealers

_FILL = sa.text(
    """
    update ledger_seals as s set position = line.position, hash = line.hash
    from unnest(cast(:ids as bigint[]), cast(:positions as bigint[]), cast(:hashes as text[]))
        as line (journal_id, position, hash)
    where s.journal_id = line.journal_id
    """
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """The last sealed journal: how many there are, and the seal that commits to all of them."""

    position: int = 0
    seal: str = GENESIS


def next_seal(previous: str, journal_hash: str) -> str:
    """The seal of a journal that follows ``previous`` in the chain."""
    return content_hash(f"{previous}{journal_hash}".encode())


def head(conn: sa.Connection) -> Head:
    """The end of the chain."""
    last = sa.select(seals.c.position, seals.c.hash).where(seals.c.position.is_not(None))
    row = conn.execute(last.order_by(seals.c.position.desc()).limit(1)).one_or_none()
    return Head(position=row.position, seal=row.hash) if row else Head()


def seal(conn: sa.Connection, *, limit: int = 10_000) -> Head:
    """Seal up to ``limit`` committed journals that wait for it; returns the new head.

    Call it in a transaction of its own (READ COMMITTED) and commit soon: other sealers wait meanwhile.
    """
    conn.execute(sa.select(sa.func.pg_advisory_xact_lock(_SEALING)))
    waiting = (
        sa.select(journals.c.id, journals.c.hash)
        .join(seals, seals.c.journal_id == journals.c.id)
        .where(seals.c.position.is_(None))
        .order_by(journals.c.id)
        .limit(limit)
    )
    last = head(conn)
    ids, positions, hashes = [], [], []
    for journal_id, digest in conn.execute(waiting):
        last = Head(position=last.position + 1, seal=next_seal(last.seal, digest))
        ids.append(journal_id)
        positions.append(last.position)
        hashes.append(last.seal)
    if ids:
        conn.execute(_FILL, {"ids": ids, "positions": positions, "hashes": hashes})
    return last
