"""What the tests of the ledger share: books with short calls, each in a transaction of its own."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import sqlalchemy as sa

from commonweal import ledger
from commonweal.ledger import MICRO, AccountId, AccountKind

NOW = 1_800_000_000.25
T = TypeVar("T")


@dataclass
class Books:
    engine: sa.Engine
    numbers: Iterator[int] = field(default_factory=itertools.count)

    def run(self, do: Callable[..., T], *arguments: Any, **options: Any) -> T:
        """Call a function of the ledger in a transaction of its own."""
        with self.engine.begin() as conn:
            return do(conn, *arguments, **options)

    def open(self, kinds: Mapping[str, AccountKind]) -> None:
        for name, kind in kinds.items():
            self.run(ledger.open_account, AccountId(name), kind)

    def grant(self, account: str, credits: int) -> ledger.Journal:
        key = f"grant-{next(self.numbers)}"
        return self.run(
            ledger.grant, key=key, account=AccountId(account), microcredits=credits * MICRO, now=NOW
        )

    def hold(self, account: str, microcredits: int, key: str) -> ledger.Hold:
        return self.run(ledger.hold, key=key, account=AccountId(account), microcredits=microcredits, now=NOW)

    def pay(self, payer: str, payee: str, microcredits: int, key: str) -> ledger.Journal:
        sides = {"payer": AccountId(payer), "payee": AccountId(payee)}
        return self.run(ledger.transfer, key=key, **sides, microcredits=microcredits, now=NOW)

    def balance(self, account: str) -> tuple[int, int, int]:
        has = self.run(ledger.balance, AccountId(account))
        return (has.available, has.held, has.escrow)

    def verified(self) -> ledger.Verification:
        found = self.run(ledger.verify)
        assert found.problems == ()
        assert found.ok
        return found

    def export(self) -> list[str]:
        self.run(ledger.seal)
        with self.engine.begin() as conn:
            return list(ledger.export(conn))

    @contextmanager
    def forged(self) -> Iterator[sa.Connection]:
        """A transaction that goes behind the triggers, as who owns the database could."""
        with self.engine.begin() as conn:
            conn.execute(sa.text("set local session_replication_role = replica"))
            yield conn
