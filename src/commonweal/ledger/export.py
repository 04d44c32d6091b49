"""The public export: every sealed journal, one JSON object a line, and the check that needs no database.

A first line names the format, a last one the head of the chain::

    {"format": "commonweal-ledger-1"}
    {"position": 1, "seal": "...", "hash": "...", "journal": {"key": "...", "postings": [...], ...}}
    ...
    {"head": {"position": 1, "seal": "..."}}

A journal's hash is that of its canonical JSON (sorted keys, no white space, UTF-8); a seal is the SHA-256 of
the seal before it followed by the journal's hash, both in hexadecimal, and the first seal follows 64 zeros.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import aggregate_order_by

from commonweal.ledger.accounts import AccountId
from commonweal.ledger.chain import Head, head
from commonweal.ledger.journal import Draft, Posting, content, merged
from commonweal.ledger.replay import Replay
from commonweal.ledger.schema import journals, postings, seals

FORMAT = "commonweal-ledger-1"

_BATCH = 1000
_END = object()


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredJournal:
    """A journal as the database has it; ``position`` and ``seal`` are None until it is sealed."""

    position: int | None
    seal: str | None
    hash: str
    journal: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportCheck:
    """What :func:`verify_export` found. ``balances`` are the total micro-credits of each account."""

    ok: bool
    journals: int
    head: Head
    balances: Mapping[str, int]
    problems: tuple[str, ...]


def export(conn: sa.Connection) -> Iterator[str]:
    """The lines of the export (without newlines), streamed. Journals that are not sealed yet are not in it:
    call :func:`commonweal.ledger.chain.seal` first, in a transaction of its own."""
    end = head(conn)
    yield _line({"format": FORMAT})
    for stored in read(conn, seals.c.position <= end.position):
        row = {"position": stored.position, "seal": stored.seal, "hash": stored.hash}
        yield _line({**row, "journal": stored.journal})
    yield _line({"head": {"position": end.position, "seal": end.seal}})


def verify_export(lines: Iterable[str], *, known: Head | None = None) -> ExportCheck:
    """Check an export, line by line, trusting none of it.

    ``known`` is a head that was written down earlier: it must be in this chain, or the past was rewritten
    (without it, an export that was cut or remade as a whole cannot be told from a true one).
    """
    replay = Replay()
    parsed = map(_parsed, lines)
    if next(parsed, None) != {"format": FORMAT}:
        replay.report(f"the first line does not say {FORMAT}")
    last: Any = None
    for last in parsed:
        if not isinstance(last, dict) or set(last) != {"position", "seal", "hash", "journal"}:
            break
        replay.sealed(last["journal"], last["hash"], last["position"], last["seal"])
        if known is not None and replay.head.position == known.position and replay.head != known:
            replay.report(f"position {known.position} had another seal before: the past was rewritten")
    if last != {"head": {"position": replay.head.position, "seal": replay.head.seal}}:
        replay.report(
            f"after {replay.journals} journals comes no head that fits: the export is cut or damaged"
        )
    if next(parsed, _END) is not _END:
        replay.report("something follows the head")
    if known is not None and replay.head.position < known.position:
        replay.report(f"position {known.position} was there before and is missing")
    return _outcome(replay)


def read(conn: sa.Connection, where: sa.ColumnElement[bool] | None = None) -> Iterator[StoredJournal]:
    """The stored journals, sealed ones by position and then the others by id, in one statement and so of one
    moment."""
    p = postings.c
    line = sa.func.json_build_array(p.account, p.bucket, p.microcredits)
    lines = (
        sa.select(sa.func.json_agg(aggregate_order_by(line, p.account, p.bucket)))
        .where(p.journal_id == journals.c.id)
        .scalar_subquery()
    )
    statement = (
        sa.select(journals, seals.c.position, seals.c.hash.label("seal"), lines.label("lines"))
        .outerjoin(seals, seals.c.journal_id == journals.c.id)
        .order_by(seals.c.position.nulls_last(), journals.c.id)
        .execution_options(yield_per=_BATCH)
    )
    for row in conn.execute(statement if where is None else statement.where(where)):
        yield _stored(row)


def _stored(row: Any) -> StoredJournal:
    lines = [Posting(account=AccountId(a), bucket=b, microcredits=m) for a, b, m in row.lines or ()]
    draft = Draft(
        key=row.key,
        kind=row.kind,
        memo=row.memo,
        hold=row.hold,
        request=row.request,
        postings=merged(lines),
    )
    return StoredJournal(position=row.position, seal=row.seal, hash=row.hash, journal=content(draft, row.at))


def _line(value: dict[str, Any]) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def _parsed(line: str) -> Any:
    try:
        return json.loads(line, parse_constant=lambda _: None)
    except (ValueError, RecursionError):
        return None


def _outcome(replay: Replay) -> ExportCheck:
    totals: dict[str, int] = {}
    for (account, _), amount in replay.balances.items():
        totals[account] = totals.get(account, 0) + amount
    return ExportCheck(
        ok=not replay.problems,
        journals=replay.journals,
        head=replay.head,
        balances=totals,
        problems=tuple(replay.problems),
    )
