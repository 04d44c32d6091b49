"""The audit: proves that the books in the database are what they claim to be.

Every journal is replayed (see :mod:`commonweal.ledger.replay`), and the running totals that payments rely on
are compared with the postings. Each check is one statement and so sees one moment of the books: it runs
beside payments, takes no locks, and raises no false alarm.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import sqlalchemy as sa

from commonweal.ledger.chain import Head
from commonweal.ledger.export import read
from commonweal.ledger.replay import Replay

_TOTALS = sa.text(
    "select count(*), coalesce(-sum(available) filter (where kind = 'issuance'), 0) from ledger_accounts"
)

_WRONG_BALANCES = sa.text(
    """
    with posted as (
        select account,
            coalesce(sum(microcredits) filter (where bucket = 'available'), 0) as available,
            coalesce(sum(microcredits) filter (where bucket = 'held'), 0) as held,
            coalesce(sum(microcredits) filter (where bucket = 'escrow'), 0) as escrow
        from ledger_postings group by account
    ), compared as (
        select a.account, a.kind, bucket.*
        from ledger_accounts a left join posted p using (account) cross join lateral (values
            ('available', a.available, coalesce(p.available, 0)),
            ('held', a.held, coalesce(p.held, 0)),
            ('escrow', a.escrow, coalesce(p.escrow, 0))
        ) as bucket (name, stored, posted)
    )
    select account, name, stored, posted from compared
    where stored <> posted or (stored < 0 and (kind <> 'issuance' or name <> 'available'))
    order by account, name
    """
)

_WRONG_HOLDS = sa.text(
    """
    with posted as (
        select j.hold as key, sum(p.microcredits) as remaining
        from ledger_journals j join ledger_postings p on p.journal_id = j.id
        where j.hold is not null and p.bucket = 'held' group by j.hold
    )
    select key, h.remaining as stored, p.remaining as posted
    from ledger_holds h full join posted p using (key)
    where h.remaining is distinct from p.remaining order by key
    """
)

_WRONG_HELD = sa.text(
    """
    select a.account, a.held, coalesce(sum(h.remaining), 0) as remaining
    from ledger_accounts a left join ledger_holds h using (account)
    group by a.account, a.held having a.held <> coalesce(sum(h.remaining), 0) order by a.account
    """
)

_UNQUEUED = sa.text(
    """
    select j.key from ledger_journals j left join ledger_seals s on s.journal_id = j.id
    where s.journal_id is null order by j.id
    """
)

_WHOLE = sa.text("select coalesce(sum(available + held + escrow), 0)::bigint from ledger_accounts")


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """``unsealed`` journals wait for their place in the chain; ``issued`` is what the issuance owes."""

    ok: bool
    journals: int
    unsealed: int
    accounts: int
    issued: int
    head: Head
    problems: tuple[str, ...]


def verify(conn: sa.Connection) -> Verification:
    """Prove the books: each journal sums to zero and is unchanged, the chain is intact, balances are the sums
    of their postings, holds are what remains of them, nothing but the issuance is negative, the whole is
    zero."""
    replay, unsealed = Replay(), 0
    for stored in read(conn):
        if stored.position is None:
            unsealed += 1
            replay.unsealed(stored.journal, stored.hash)
        else:
            replay.sealed(stored.journal, stored.hash, stored.position, stored.seal)
    for problem in _problems(conn):
        replay.report(problem)
    count, issued = conn.execute(_TOTALS).one()
    return Verification(
        ok=not replay.problems,
        journals=replay.journals,
        unsealed=unsealed,
        accounts=count,
        issued=int(issued),
        head=replay.head,
        problems=tuple(replay.problems),
    )


def _problems(conn: sa.Connection) -> Iterator[str]:
    """Where the running totals are not what the postings say."""
    for row in conn.execute(_WRONG_BALANCES):
        yield f"account '{row.account}' has {row.stored} {row.name}, and its postings sum to {row.posted}"
    for row in conn.execute(_WRONG_HOLDS):
        yield f"hold '{row.key}' has {row.stored} left, and its journals leave {row.posted}"
    for row in conn.execute(_WRONG_HELD):
        yield f"account '{row.account}' has {row.held} held, and its holds have {row.remaining} left"
    for row in conn.execute(_UNQUEUED):
        yield f"journal '{row.key}' is not queued for its seal"
    if total := conn.scalar(_WHOLE):
        yield f"all accounts together have {total} micro-credits, and must have none"
