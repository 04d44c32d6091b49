"""The books of the pool: who earned what, who owes what, and the proof that it adds up.

Double entry in whole micro-credits on PostgreSQL. Every function takes a connection and joins its caller's
transaction, so that a payment and what it pays for are one transaction. Every change takes a ``key``: doing
it twice is doing it once. This package knows nothing of jobs, members or units: they are names here.

    open_account -> grant -> hold -> capture / earn -> release        every one a journal, and never changed
                                     mature / forfeit
    seal -> export -> verify_export                                   a chain that anyone can check
    verify                                                            the audit of the database itself
"""

from commonweal.ledger.accounts import (
    HUB,
    ISSUANCE,
    AccountId,
    AccountKind,
    Balance,
    balance,
    lock_accounts,
    open_account,
)
from commonweal.ledger.amounts import MICRO, shown
from commonweal.ledger.audit import Verification, verify
from commonweal.ledger.chain import Head, head, seal
from commonweal.ledger.escrow import Earning, EscrowPolicy, earn, forfeit, mature
from commonweal.ledger.export import ExportCheck, export, verify_export
from commonweal.ledger.holds import Hold, Payee, capture, find_hold, hold, release, stale_holds
from commonweal.ledger.journal import Journal, Movement, Posting, grant, history, post, transfer

__all__ = [
    "HUB",
    "ISSUANCE",
    "MICRO",
    "AccountId",
    "AccountKind",
    "Balance",
    "Earning",
    "EscrowPolicy",
    "ExportCheck",
    "Head",
    "Hold",
    "Journal",
    "Movement",
    "Payee",
    "Posting",
    "Verification",
    "balance",
    "capture",
    "earn",
    "export",
    "find_hold",
    "forfeit",
    "grant",
    "head",
    "history",
    "hold",
    "lock_accounts",
    "mature",
    "open_account",
    "post",
    "release",
    "seal",
    "shown",
    "stale_holds",
    "transfer",
    "verify",
    "verify_export",
]
