"""Tabs and the ledger: a chunk held, what is owed captured with its usage, the rest given back.

Each function is one caller's transaction and can be repeated: journals and rows have keys. What a process owes and the
usage that explains it are written together, so the sum of an account's usage is what its journals say, always.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from commonweal.core.errors import InsufficientCredits, NotFound
from commonweal.ledger.accounts import HUB, AccountId, lock_accounts, open_account
from commonweal.ledger.accounts import insufficient as cannot_pay
from commonweal.ledger.escrow import Earning, EscrowPolicy, earn
from commonweal.ledger.holds import find_hold, hold, release
from commonweal.ledger.schema import accounts
from commonweal.serve.billing.schema import tabs, usage
from commonweal.serve.billing.tab import Bill, Draw
from commonweal.serve.router.schema import hubs

MEMO = "served"
_PAST_PROBATION = 2**40

Standing = Callable[[sa.Connection, Sequence[str]], Mapping[str, int]]
"""How much of each account's work was found good so far, for the probation of new members. Accounts that are not in the
answer count as they did when their member connected."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What one settlement does. ``spent`` are holds of which nothing is left, ``ended`` those to be released."""

    draws: tuple[Draw, ...] = ()
    bills: tuple[Bill, ...] = ()
    spent: tuple[str, ...] = ()
    ended: tuple[str, ...] = ()

    @property
    def empty(self) -> bool:
        return not (self.draws or self.bills or self.spent or self.ended)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """``gone`` are holds that another process had released."""

    gone: frozenset[str] = field(default_factory=frozenset)


def open_chunk(
    connection: sa.Connection, *, key: str, hub: str, account: str, needed: int, wished: int, now: float
) -> int:
    """Hold ``wished`` micro-credits of an account, or less, but no less than ``needed``; returns how many. Never more
    than half of what it has, beyond what is needed. Raises InsufficientCredits."""
    name = AccountId(account)
    try:
        has = lock_accounts(connection, [name])[name]
    except NotFound:
        raise InsufficientCredits(
            f"{account} has no credits, and {needed} micro-credits are needed",
            hint="earn some by lending a machine (commonweal join), or ask the operator for a grant",
        ) from None
    if has.available < needed:
        raise cannot_pay(name, has, needed)
    amount = max(needed, min(wished, has.available // 2))
    hold(connection, key=key, account=name, microcredits=amount, memo=MEMO, now=now)
    row = {"key": key, "hub": hub, "account": account, "made": now}
    connection.execute(insert(tabs).values(row).on_conflict_do_nothing())
    return amount


def settle(
    connection: sa.Connection, batch: Batch, *, policy: EscrowPolicy, standing: Standing, now: float
) -> Settled:
    """Capture what is owed, write what for, give back what is not needed."""
    payees = sorted({name for draw in batch.draws for name in draw.payees})
    _open(connection, payees)
    payers = {draw.account for draw in batch.draws}
    lock_accounts(connection, sorted({AccountId(n) for n in (*payees, *payers, *_owners(connection, batch))}))
    accepted = standing(connection, payees)
    gone = set()
    for draw in batch.draws:
        if not _pay(connection, draw, accepted, policy, now):
            gone.add(draw.hold)
            _pay_late(connection, draw, accepted, policy, now)
    _write(connection, [_row(bill) for bill in batch.bills])
    for key in batch.ended:
        release(connection, key, key=f"{key}:rest", memo=MEMO, now=now)
    finished = (*batch.spent, *batch.ended)
    if finished:
        connection.execute(sa.delete(tabs).where(tabs.c.key.in_(finished)))
    return Settled(gone=frozenset(key for key in gone if key is not None))


def release_abandoned(connection: sa.Connection, *, silent: float, now: float) -> int:
    """Give back what processes hold that were not heard of for ``silent`` seconds; returns how many holds."""
    moment = sa.func.extract("epoch", sa.func.clock_timestamp())
    alive = sa.select(hubs.c.id).where(hubs.c.seen > moment - silent)
    rows = connection.execute(
        sa.select(tabs.c.key, tabs.c.account)
        .where(tabs.c.hub.not_in(alive), tabs.c.made < now - silent)
        .limit(1000)
    ).all()
    return _release(connection, rows, now)


def release_holds(connection: sa.Connection, keys: Sequence[str], *, now: float) -> int:
    """Give back those of these holds that exist and are on a tab; returns how many."""
    rows = connection.execute(sa.select(tabs.c.key, tabs.c.account).where(tabs.c.key.in_(keys))).all()
    return _release(connection, rows, now)


def _release(connection: sa.Connection, rows: Sequence[sa.Row[Any, Any]], now: float) -> int:
    """The accounts are locked first: whoever settles a tab does so in this order, too."""
    if not rows:
        return 0
    lock_accounts(connection, sorted({AccountId(row.account) for row in rows}))
    gone = sa.delete(tabs).where(tabs.c.key.in_([row.key for row in rows])).returning(tabs.c.key)
    mine = sorted(connection.execute(gone).scalars())
    for key in mine:
        release(connection, key, key=f"{key}:rest", memo=MEMO, now=now)
    return len(mine)


def _pay(
    connection: sa.Connection, draw: Draw, accepted: Mapping[str, int], policy: EscrowPolicy, now: float
) -> bool:
    """False if the hold is gone."""
    if draw.hold is None:
        return False
    try:
        earn(
            connection,
            key=draw.key,
            payer=find_hold(connection, draw.hold),
            earnings=_earnings(draw, accepted),
            policy=policy,
            memo=MEMO,
            now=now,
        )
    except (InsufficientCredits, NotFound):  # nothing was written: another process took this one for dead
        return False
    return True


def _pay_late(
    connection: sa.Connection, draw: Draw, accepted: Mapping[str, int], policy: EscrowPolicy, now: float
) -> None:
    """From what the account has now. What it cannot pay any more is written off, and the usage says so."""
    key = f"{draw.key}:again"
    try:
        hold(
            connection,
            key=key,
            account=AccountId(draw.account),
            microcredits=draw.microcredits,
            memo=MEMO,
            now=now,
        )
    except InsufficientCredits:
        _write(connection, [_unpaid(draw, now)])
        return
    earn(
        connection,
        key=f"{key}:paid",
        payer=find_hold(connection, key),
        earnings=_earnings(draw, accepted),
        policy=policy,
        memo=MEMO,
        now=now,
    )


def _earnings(draw: Draw, accepted: Mapping[str, int]) -> list[Earning]:
    def count(name: str) -> int:
        return _PAST_PROBATION if name == HUB else accepted.get(name, draw.accepted.get(name, 0))

    return [
        Earning(account=AccountId(name), microcredits=amount, accepted=count(name))
        for name, amount in sorted(draw.payees.items())
    ]


def _open(connection: sa.Connection, names: Sequence[str]) -> None:
    """See that all who are paid have an account."""
    known = set(
        connection.execute(sa.select(accounts.c.account).where(accounts.c.account.in_(names))).scalars()
    )
    for name in names:
        if name not in known:
            open_account(connection, AccountId(name), "hub" if name == HUB else "user")


def _owners(connection: sa.Connection, batch: Batch) -> list[str]:
    if not batch.ended:
        return []
    return [find_hold(connection, key).account for key in batch.ended]


def _row(bill: Bill) -> dict[str, object]:
    row = asdict(bill)
    del row["payee"], row["accepted"]
    return row


def _unpaid(draw: Draw, now: float) -> dict[str, object]:
    return {
        "ask": draw.key,
        "account": draw.account,
        "model": "",
        "member": None,
        "prompt_tokens": 0,
        "completion_tokens": 0,
        "microcredits": -draw.microcredits,
        "outcome": "unpaid",
        "own": False,
        "at": now,
    }


def _write(connection: sa.Connection, rows: Sequence[Mapping[str, object]]) -> None:
    if rows:
        connection.execute(insert(usage).on_conflict_do_nothing(), rows)
