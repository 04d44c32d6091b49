"""The books over HTTP: balances, history, grants, the audit, and the public export."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from typing import IO, Annotated, Any, cast

import sqlalchemy as sa
from fastapi import APIRouter, Query
from fastapi.responses import StreamingResponse

from commonweal.core.blobs import CHUNK
from commonweal.core.errors import Conflict, NotAuthorized, NotFound
from commonweal.ledger.accounts import AccountId, balance
from commonweal.ledger.chain import seal
from commonweal.ledger.export import export
from commonweal.ledger.journal import grant, history
from commonweal.ledger.schema import accounts as balances
from commonweal.pool import wire
from commonweal.pool.api.context import Admin, Anyone, Hub, HubDep, ReaderOfTheBooks
from commonweal.pool.api.faults import documented
from commonweal.pool.owned import may_read

router = APIRouter(prefix=f"{wire.PREFIX}/credits", tags=["credits"])

_IN_MEMORY = 4 * 2**20


@router.get("")
def every(hub: HubDep, _: Anyone, limit: Annotated[int, Query(ge=1, le=10_000)] = 1000) -> list[wire.Balance]:
    """Balances of all accounts, the largest first."""
    total = balances.c.available + balances.c.held + balances.c.escrow
    with hub.database.transaction() as connection:
        rows = connection.execute(sa.select(balances).order_by(total.desc(), balances.c.account).limit(limit))
        return [
            wire.Balance(account=r.account, kind=r.kind, available=r.available, held=r.held, escrow=r.escrow)
            for r in rows
        ]


@router.get("/history", responses=documented(NotFound))
def movements(
    hub: HubDep,
    caller: Anyone,
    account: Annotated[str | None, Query(max_length=200, pattern=wire.PRINTABLE)] = None,
    before: Annotated[int | None, Query(ge=0, le=2**62)] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 50,
) -> list[dict[str, Any]]:
    """The latest journals of an account (the caller's own, those of machines that its key registered, or any for the
    operator), newest first."""
    name = AccountId(account or caller.owner)
    with hub.database.transaction() as connection:
        if not may_read(connection, caller, name):
            raise NotAuthorized("only the operator may read the history of another account")
        balance(connection, name)
        found = history(connection, name, limit=limit, before=before)
    return [
        {
            "journal_id": m.journal_id,
            "key": m.key,
            "kind": m.kind,
            "memo": m.memo,
            "at": m.at,
            "available": m.available,
            "held": m.held,
            "escrow": m.escrow,
        }
        for m in found
    ]


@router.post("/grant", status_code=201, responses=documented(NotFound, Conflict))
def give(body: wire.Grant, hub: HubDep, _: Admin) -> wire.Balance:
    """Issue new credits to an account. The same ``request_id`` issues them once."""
    account = AccountId(body.account)
    with hub.database.transaction() as connection:
        grant(
            connection,
            key=f"grant:{body.request_id}",
            account=account,
            microcredits=body.microcredits,
            memo=body.memo,
            now=hub.clock.now(),
        )
        after = balance(connection, account)
    return wire.Balance(
        account=account, kind="", available=after.available, held=after.held, escrow=after.escrow
    )


@router.post("/verify")
async def prove(hub: HubDep, caller: Anyone) -> wire.Audit:
    """Replay all books: sums, balances, holds and the chain of hashes. The operator's key has it done anew; others
    may get the outcome of a little while ago."""
    proof = await hub.prover.prove(anew=caller.role == "admin")
    found = proof.found
    return wire.Audit(
        ok=found.ok,
        journals=found.journals,
        unsealed=found.unsealed,
        accounts=found.accounts,
        issued=found.issued,
        head=found.head.seal,
        position=found.head.position,
        at=proof.at,
        problems=list(found.problems),
    )


@router.get("/export", response_class=StreamingResponse)
def public(hub: HubDep, _: ReaderOfTheBooks) -> StreamingResponse:
    """Every journal, one JSON object a line, for anyone: the books are public."""
    _seal_all(hub)
    return StreamingResponse(_pieces(_exported(hub)), media_type="application/x-ndjson")


def _exported(hub: Hub) -> IO[bytes]:
    """The whole export, on disk if it is large: a reader that takes its time must not keep a transaction."""
    file = tempfile.SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115  _pieces closes it
    with hub.database.transaction() as connection:
        file.writelines(line.encode() + b"\n" for line in export(connection))
    file.seek(0)
    return cast(IO[bytes], file)


def _pieces(file: IO[bytes]) -> Iterator[bytes]:
    with file:
        while piece := file.read(CHUNK):
            yield piece


def _seal_all(hub: Hub) -> None:
    with hub.database.transaction() as connection:
        seal(connection)
