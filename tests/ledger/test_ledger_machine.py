"""Random books against a model of a page of Python: every balance, every hold, every refusal the same."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from ledger_books import NOW, Books

from commonweal import ledger
from commonweal.core.errors import Conflict, InsufficientCredits, UserError
from commonweal.ledger import HUB, ISSUANCE, Earning, EscrowPolicy, Payee

NAMES = ("a", "b", "c", "d")
POLICY = EscrowPolicy(share=0.3, units=3)

names = st.sampled_from(NAMES)
amounts = st.integers(1, 60)


@dataclass
class Model:
    """``buckets`` are [available, held, escrow]; ``holds`` are [owner, remaining]."""

    buckets: dict[str, list[int]] = field(
        default_factory=lambda: {n: [0, 0, 0] for n in (*NAMES, HUB, ISSUANCE)}
    )
    holds: dict[str, list[Any]] = field(default_factory=dict)

    def can(self, account: str, amount: int) -> bool:
        return self.buckets[account][0] >= amount

    def move(self, source: str, bucket: int, payee: str, into: int, amount: int) -> None:
        self.buckets[source][bucket] -= amount
        self.buckets[payee][into] += amount


class BooksMachine(RuleBasedStateMachine):
    """Each example lives in one transaction that is rolled back; each step in a savepoint of it."""

    engine: sa.Engine

    def __init__(self) -> None:
        super().__init__()
        self.conn = self.engine.connect()
        self.conn.execute(sa.text("set local lock_timeout = '5s'"))
        self.model = Model()
        self.done: list[tuple[Callable[..., Any], dict[str, Any], Any]] = []
        self.steps = 0
        for name in NAMES:
            ledger.open_account(self.conn, ledger.AccountId(name), "member")
        ledger.open_account(self.conn, HUB, "hub")
        ledger.open_account(self.conn, ISSUANCE, "issuance")
        for name in NAMES:
            self.grant(name, 100)

    def teardown(self) -> None:
        try:
            ledger.seal(self.conn)
            check = ledger.verify_export(ledger.export(self.conn))
            assert check.problems == ()
            totals = {name: sum(buckets) for name, buckets in self.model.buckets.items()}
            assert {name: check.balances.get(name, 0) for name in totals} == totals
        finally:
            self.conn.rollback()
            self.conn.close()

    def do(self, call: Callable[..., Any], possible: bool, **request: Any) -> bool:
        """Call the ledger; it must refuse exactly what the model cannot do."""
        self.steps += 1
        request = {"key": f"k{self.steps}", "now": NOW + self.steps, **request}
        try:
            with self.conn.begin_nested():
                outcome = call(self.conn, **request)
        except InsufficientCredits:
            assert not possible
            return False
        assert possible
        if outcome is not None:
            self.done.append((call, request, outcome))
        return True

    def key(self) -> str:
        return f"k{self.steps}"

    @rule(account=names, amount=amounts)
    def grant(self, account: str, amount: int) -> None:
        self.do(ledger.grant, True, account=account, microcredits=amount)
        self.model.move(ISSUANCE, 0, account, 0, amount)

    @rule(payer=names, payee=names, amount=amounts)
    def transfer(self, payer: str, payee: str, amount: int) -> None:
        if payer == payee:
            return
        if self.do(
            ledger.transfer, self.model.can(payer, amount), payer=payer, payee=payee, microcredits=amount
        ):
            self.model.move(payer, 0, payee, 0, amount)

    @rule(account=names, amount=amounts)
    def hold(self, account: str, amount: int) -> None:
        if self.do(ledger.hold, self.model.can(account, amount), account=account, microcredits=amount):
            self.model.move(account, 0, account, 1, amount)
            self.model.holds[self.key()] = [account, amount]

    @precondition(lambda self: self.model.holds)
    @rule(data=st.data(), due=st.lists(st.tuples(names, st.integers(1, 20)), min_size=1, max_size=3))
    def capture(self, data: st.DataObject, due: list[tuple[str, int]]) -> None:
        hold = data.draw(st.sampled_from(sorted(self.model.holds)))
        owner, remaining = self.model.holds[hold]
        total = sum(amount for _, amount in due)
        payees = [Payee(account=ledger.AccountId(name), microcredits=amount) for name, amount in due]
        if self.do(ledger.capture, total <= remaining, hold_key=hold, payees=payees):
            self.model.holds[hold][1] -= total
            for name, amount in due:
                self.model.move(owner, 1, name, 0, amount)

    @precondition(lambda self: self.model.holds)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        hold = data.draw(st.sampled_from(sorted(self.model.holds)))
        owner, remaining = self.model.holds[hold]
        self.do(ledger.release, True, hold_key=hold)
        self.model.move(owner, 1, owner, 0, remaining)
        self.model.holds[hold][1] = 0

    @rule(
        data=st.data(),
        due=st.lists(st.tuples(names, st.integers(1, 20), st.integers(0, 4)), min_size=1, max_size=3),
    )
    def earn(self, data: st.DataObject, due: list[tuple[str, int, int]]) -> None:
        source = data.draw(st.sampled_from([*NAMES, *sorted(self.model.holds)]))
        total = sum(amount for _, amount, _ in due)
        held = self.model.holds.get(source)
        payer = ledger.find_hold(self.conn, source) if held else source
        owner, bucket = (held[0], 1) if held else (source, 0)
        possible = total <= held[1] if held else self.model.can(source, total)
        earnings = [Earning(account=ledger.AccountId(n), microcredits=m, accepted=a) for n, m, a in due]
        if any(name == source for name, _, _ in due):
            with pytest.raises(UserError, match="cannot pay itself"):
                self.do(ledger.earn, possible, payer=payer, earnings=earnings, policy=POLICY)
            return
        if not self.do(ledger.earn, possible, payer=payer, earnings=earnings, policy=POLICY):
            return
        if held:
            held[1] -= total
        ripe = {name for name, _, accepted in due if accepted + 1 >= POLICY.units}
        for name in ripe:
            self.model.move(name, 2, name, 0, self.model.buckets[name][2])
        for name, amount, _ in due:
            waits = 0 if name in ripe else amount * 3 // 10
            self.model.move(owner, bucket, name, 0, amount - waits)
            self.model.move(owner, bucket, name, 2, waits)

    @rule(account=names)
    def mature(self, account: str) -> None:
        self.do(ledger.mature, True, account=account)
        self.model.move(account, 2, account, 0, self.model.buckets[account][2])

    @rule(account=names)
    def forfeit(self, account: str) -> None:
        self.do(ledger.forfeit, True, account=account)
        self.model.move(account, 2, HUB, 0, self.model.buckets[account][2])

    @precondition(lambda self: self.done)
    @rule(data=st.data())
    def again(self, data: st.DataObject) -> None:
        call, request, outcome = data.draw(st.sampled_from(self.done))
        repeated = call(self.conn, **{**request, "now": NOW + 1000})
        if isinstance(outcome, ledger.Hold):
            assert repeated.remaining == self.model.holds[outcome.key][1]
        else:
            assert repeated == outcome

    @precondition(lambda self: self.done)
    @rule(data=st.data(), account=names)
    def reuse_a_key(self, data: st.DataObject, account: str) -> None:
        key = data.draw(st.sampled_from(self.done))[1]["key"]
        with pytest.raises(Conflict):
            ledger.grant(
                self.conn, key=key, account=ledger.AccountId(account), microcredits=1, memo="other", now=NOW
            )

    @rule()
    def seal(self) -> None:
        ledger.seal(self.conn)

    @invariant()
    def the_books_are_those_of_the_model(self) -> None:
        for name, (available, held, escrow) in self.model.buckets.items():
            has = ledger.balance(self.conn, ledger.AccountId(name))
            assert (has.available, has.held, has.escrow) == (available, held, escrow), name
        for key, (_, remaining) in self.model.holds.items():
            assert ledger.find_hold(self.conn, key).remaining == remaining
        assert ledger.verify(self.conn).problems == ()


def test_random_books_are_those_of_the_model(empty_books: Books) -> None:
    machine = type("Machine", (BooksMachine,), {"engine": empty_books.engine})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=10,
            stateful_step_count=20,
            deadline=None,
            report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
        ),
    )
