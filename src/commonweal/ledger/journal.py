"""Journals: every movement of credits, written once.

A journal has postings that sum to zero, and an idempotency key that its caller chose. Asking again with the
same key and the same request returns the journal that is there; another request under the same key is
refused. Keys and memos are public: they are part of the export.

Everything here joins the caller's transaction. The order within one change matters: lock the accounts, then
look for the key (a rival with the same request held the same locks, so its journal is visible now), then
write.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

import sqlalchemy as sa

from commonweal.core.errors import Conflict, UserError
from commonweal.core.hashing import record_hash
from commonweal.ledger.accounts import (
    ISSUANCE,
    AccountId,
    Balances,
    checked_name,
    insufficient,
    lock_accounts,
    open_account,
)
from commonweal.ledger.amounts import checked
from commonweal.ledger.schema import journals, postings

Bucket = Literal["available", "held", "escrow"]

_LONGEST_MEMO = 500

# One statement, so one round trip and all or nothing: no journal (the key is taken) moves no credits.
_WRITE = sa.text(
    """
    with journal as (
        insert into ledger_journals (key, kind, memo, at, hold, request, hash)
        values (:key, :kind, :memo, :at, :hold, :request, :hash)
        on conflict (key) do nothing
        returning id
    ), line as (
        select * from unnest(cast(:accounts as text[]), cast(:buckets as text[]), cast(:amounts as bigint[]))
            as line (account, bucket, microcredits)
    ), posted as (
        insert into ledger_postings (journal_id, account, bucket, microcredits)
        select journal.id, line.account, line.bucket, line.microcredits from journal, line
    ), queued as (
        insert into ledger_seals (journal_id) select id from journal
    ), change as (
        select account,
            coalesce(sum(microcredits) filter (where bucket = 'available'), 0) as available,
            coalesce(sum(microcredits) filter (where bucket = 'held'), 0) as held,
            coalesce(sum(microcredits) filter (where bucket = 'escrow'), 0) as escrow
        from line group by account
    ), moved as (
        update ledger_accounts as a set
            available = a.available + change.available,
            held = a.held + change.held,
            escrow = a.escrow + change.escrow
        from change, journal where a.account = change.account
    )
    select id from journal
    """
)


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Posting:
    """Micro-credits into (positive) or out of (negative) one bucket of an account."""

    account: AccountId
    bucket: Bucket = "available"
    microcredits: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A journal to be. ``request`` is the hash of what the caller asked for: a retry must ask for the same,
    even where the postings follow from the state of the books (a release, say). ``hold`` is the key of the
    hold that it makes, draws on or ends."""

    key: str
    kind: str
    memo: str
    postings: tuple[Posting, ...]
    request: str
    hold: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Journal:
    """A journal of the books. ``hash`` covers everything but ``id``; ``at`` is in seconds since the epoch."""

    id: int
    key: str
    kind: str
    memo: str
    at: float
    hold: str | None
    postings: tuple[Posting, ...]
    hash: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Movement:
    """One journal as one account sees it: by how many micro-credits each of its buckets changed."""

    journal_id: int
    key: str
    kind: str
    memo: str
    at: float
    available: int
    held: int
    escrow: int


def post(
    conn: sa.Connection, *, key: str, kind: str, postings: Sequence[Posting], memo: str = "", now: float
) -> Journal:
    """Post a journal over the available credits of any number of accounts.

    Raises UserError (it does not sum to zero), NotFound, InsufficientCredits, and Conflict if ``key`` was
    used for something else. The same call again returns the first journal.
    """
    lines = merged(postings)
    if any(line.bucket != "available" for line in lines):
        raise ValueError("held and escrowed credits move by hold, capture, release, earn, mature and forfeit")
    draft = Draft(
        key=key,
        kind=kind,
        memo=memo,
        postings=lines,
        request=asked(kind, memo=memo, postings=content_lines(lines)),
    )
    locked = lock_accounts(conn, (line.account for line in lines))
    return find(conn, key, draft.request) or write(conn, draft, locked, now)


def transfer(
    conn: sa.Connection,
    *,
    key: str,
    payer: AccountId,
    payee: AccountId,
    microcredits: int,
    memo: str = "",
    now: float,
) -> Journal:
    """Move available credits from one account to another. Raises as :func:`post` does."""
    return post(
        conn, key=key, kind="transfer", postings=_both(payer, payee, microcredits), memo=memo, now=now
    )


def grant(
    conn: sa.Connection, *, key: str, account: AccountId, microcredits: int, memo: str = "", now: float
) -> Journal:
    """Issue new credits to an account. Raises as :func:`post` does."""
    open_account(conn, ISSUANCE, "issuance")
    return post(
        conn, key=key, kind="grant", postings=_both(ISSUANCE, account, microcredits), memo=memo, now=now
    )


def history(
    conn: sa.Connection, account: AccountId, *, limit: int = 50, before: int | None = None
) -> tuple[Movement, ...]:
    """The latest movements of an account, newest first; ``before`` is the ``journal_id`` to page on from."""
    p = postings
    sums = [
        sa.func.coalesce(sa.func.sum(p.c.microcredits).filter(p.c.bucket == b), 0)
        .cast(sa.BigInteger)
        .label(b)
        for b in ("available", "held", "escrow")
    ]
    lines = sa.select(p.c.journal_id, *sums).where(p.c.account == account).group_by(p.c.journal_id)
    if before is not None:
        lines = lines.where(p.c.journal_id < before)
    page = lines.order_by(p.c.journal_id.desc()).limit(limit).subquery()
    j = journals.c
    statement = sa.select(page, j.key, j.kind, j.memo, j.at).join_from(
        page, journals, j.id == page.c.journal_id
    )
    rows = conn.execute(statement.order_by(page.c.journal_id.desc())).mappings()
    return tuple(Movement(**{**row, "at": row["at"].timestamp()}) for row in rows)


def asked(kind: str, **details: Any) -> str:
    """The hash of what a caller asked for, less its time: a retry comes later. Raises UserError."""
    try:
        return record_hash({"kind": kind, **details})
    except UnicodeEncodeError:
        raise UserError("a name or memo is not Unicode text", hint="use printable characters") from None


def find(conn: sa.Connection, key: str, request: str) -> Journal | None:
    """The journal that this request made before. Raises Conflict if another request took the key."""
    statement = sa.select(journals).where(journals.c.key == checked_name("key", key))
    row = conn.execute(statement).one_or_none()
    if row is None:
        return None
    if row.request != request:
        raise _taken(key)
    columns = (postings.c.account, postings.c.bucket, postings.c.microcredits)
    lines = conn.execute(sa.select(*columns).where(postings.c.journal_id == row.id)).all()
    return Journal(
        id=row.id,
        key=row.key,
        kind=row.kind,
        memo=row.memo,
        at=row.at.timestamp(),
        hold=row.hold,
        postings=merged(Posting(account=AccountId(a), bucket=b, microcredits=m) for a, b, m in lines),
        hash=row.hash,
    )


def write(conn: sa.Connection, draft: Draft, locked: Balances, now: float) -> Journal:
    """Write a journal whose accounts are locked and whose key was looked for. Moves the balances with it."""
    checked_name("kind", draft.kind)
    if len(draft.memo) > _LONGEST_MEMO or not draft.memo.isprintable():
        raise UserError("the memo cannot be used", hint=f"use up to {_LONGEST_MEMO} printable characters")
    _check_sum(draft)
    _check_funds(draft, locked)
    at = datetime.fromtimestamp(now, UTC)
    digest = record_hash(content(draft, at))
    parameters = {
        "key": draft.key,
        "kind": draft.kind,
        "memo": draft.memo,
        "at": at,
        "hold": draft.hold,
        "request": draft.request,
        "hash": digest,
        "accounts": [line.account for line in draft.postings],
        "buckets": [line.bucket for line in draft.postings],
        "amounts": [line.microcredits for line in draft.postings],
    }
    journal_id = conn.scalar(_WRITE, parameters)
    if journal_id is None:  # committed since we looked, over other accounts: not the same request
        raise _taken(draft.key)
    return Journal(
        id=journal_id,
        key=draft.key,
        kind=draft.kind,
        memo=draft.memo,
        at=at.timestamp(),
        hold=draft.hold,
        postings=draft.postings,
        hash=digest,
    )


def content(draft: Draft, at: datetime) -> dict[str, Any]:
    """What a journal's hash covers, and what the export shows of it."""
    return {
        "version": 1,
        "key": draft.key,
        "kind": draft.kind,
        "memo": draft.memo,
        "at": at.astimezone(UTC).isoformat(timespec="microseconds"),
        "hold": draft.hold,
        "request": draft.request,
        "postings": content_lines(draft.postings),
    }


def content_lines(lines: Iterable[Posting]) -> list[dict[str, Any]]:
    """Postings as plain JSON."""
    return [{"account": p.account, "bucket": p.bucket, "microcredits": p.microcredits} for p in lines]


def merged(lines: Iterable[Posting]) -> tuple[Posting, ...]:
    """The one form that equal postings have: a line a bucket, none of zero, sorted by code point."""
    sums: dict[tuple[AccountId, Bucket], int] = defaultdict(int)
    for line in lines:
        sums[line.account, line.bucket] += line.microcredits
    return tuple(
        Posting(account=account, bucket=bucket, microcredits=total)
        for (account, bucket), total in sorted(sums.items())
        if total
    )


def _both(payer: AccountId, payee: AccountId, microcredits: int) -> list[Posting]:
    if payer == payee:
        raise UserError(f"{payer} cannot pay itself", hint="name two different accounts")
    amount = checked(microcredits)
    return [Posting(account=payer, microcredits=-amount), Posting(account=payee, microcredits=amount)]


def _check_sum(draft: Draft) -> None:
    for line in draft.postings:
        checked(abs(line.microcredits))
    total = sum(line.microcredits for line in draft.postings)
    if total or not draft.postings:
        raise UserError(
            f"the postings of '{draft.key}' sum to {total} micro-credits over {len(draft.postings)} lines",
            hint="a journal takes from some accounts exactly what it gives to others",
        )


def _check_funds(draft: Draft, locked: Balances) -> None:
    for line in draft.postings:
        has = locked[line.account]
        if line.bucket == "available" and line.account != ISSUANCE and has.available + line.microcredits < 0:
            raise insufficient(line.account, has, -line.microcredits)


def _taken(key: str) -> Conflict:
    return Conflict(
        f"key '{key}' was used before, for something else",
        hint="a retry repeats the same request; a new payment takes a new key",
    )
