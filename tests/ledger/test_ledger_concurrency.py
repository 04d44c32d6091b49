"""Many at once on a real PostgreSQL: the books stay exact, nobody deadlocks, nobody overdraws."""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import sqlalchemy as sa
from ledger_books import NOW, Books

from commonweal import ledger
from commonweal.core.errors import Conflict, InsufficientCredits
from commonweal.ledger import AccountId, Earning, EscrowPolicy, Payee

THREADS = 8
STEPS = 50
NAMES = ("ann", "bob", "mem_1", "mem_2", "job_1")
POLICY = EscrowPolicy(share=0.5, units=3)


def together(do: Callable[[int], Any], count: int = THREADS) -> list[Any]:
    """Run ``do`` with 0 to count - 1 in threads that start at once; any error is raised here."""
    start = threading.Barrier(count)

    def run(number: int) -> Any:
        start.wait(timeout=30)
        return do(number)

    with ThreadPoolExecutor(count) as threads:
        return list(threads.map(run, range(count)))


def wanted(dice: random.Random, number: int, open_holds: list[str]) -> Iterator[tuple[Any, ...]]:
    """Random calls of the ledger. Thread ``number`` captures from holds that others make, too."""
    for step in range(STEPS):
        key, amount = f"t{number}-{step}", dice.randint(1, 20)
        payer, payee = (AccountId(name) for name in dice.sample(NAMES, 2))
        shares = [
            Payee(account=AccountId(name), microcredits=dice.randint(1, 5)) for name in dice.sample(NAMES, 3)
        ]
        due = [Earning(account=payee, microcredits=amount, accepted=dice.randint(0, 4))]
        options = {"key": key, "now": NOW + step}
        kind = dice.choice(["transfer", "hold", "capture", "capture", "release", "earn", "mature", "forfeit"])
        if kind == "transfer":
            yield ledger.transfer, {**options, "payer": payer, "payee": payee, "microcredits": amount}
        elif kind == "hold" or (kind in ("capture", "release") and not open_holds):
            yield ledger.hold, {**options, "account": payer, "microcredits": amount}
        elif kind == "capture":
            yield ledger.capture, {**options, "hold_key": dice.choice(open_holds), "payees": shares}
        elif kind == "release":
            yield ledger.release, {**options, "hold_key": dice.choice(open_holds)}
        elif kind == "earn":
            yield ledger.earn, {**options, "payer": payer, "earnings": due, "policy": POLICY}
        else:
            yield getattr(ledger, kind), {**options, "account": payee}


def test_the_books_stay_exact(books: Books) -> None:
    open_holds: list[str] = []
    for name in NAMES:
        books.pay("ann", name, 300, f"start-{name}") if name != "ann" else None
    books.pay("ann", "bob", 100_000_000 - 2000, "rest")
    outcomes: Counter[str] = Counter()
    stop = threading.Event()

    def audit() -> int:
        sealed = 0
        while not stop.wait(0.05):
            sealed = books.run(ledger.seal).position
            books.verified()
        return sealed

    def spend(number: int) -> None:
        for call, request in wanted(random.Random(number), number, open_holds):
            try:
                if isinstance(books.run(call, **request), ledger.Hold):
                    open_holds.append(request["key"])
                outcomes[call.__name__] += 1
            except InsufficientCredits:
                outcomes["refused"] += 1

    with ThreadPoolExecutor(1) as auditor:
        audited = auditor.submit(audit)
        try:
            together(spend)
        finally:
            stop.set()
        assert audited.result() > 0
    assert outcomes.total() == THREADS * STEPS
    assert min(outcomes[kind] for kind in ("transfer", "hold", "capture", "release", "earn", "refused")) > 5
    books.verified()
    assert ledger.verify_export(books.export()).problems == ()


def test_the_last_credits_are_spent_once(books: Books) -> None:
    """Eight want 3 of 10: three get them."""
    books.pay("ann", "mem_1", 10, "ten")

    def spend(number: int) -> bool:
        try:
            books.pay("mem_1", "bob", 3, f"p{number}")
        except InsufficientCredits:
            return False
        return True

    assert sum(together(spend)) == 3
    assert books.balance("mem_1") == (1, 0, 0)


def test_a_hold_is_captured_once(books: Books) -> None:
    books.hold("ann", 10, "h")

    def capture(number: int) -> bool:
        payees = [Payee(account=AccountId(NAMES[1 + number % 4]), microcredits=3)]
        try:
            books.run(ledger.capture, "h", key=f"c{number}", payees=payees, now=NOW)
        except InsufficientCredits:
            return False
        return True

    assert sum(together(capture)) == 3
    assert books.run(ledger.find_hold, "h").remaining == 1
    books.verified()


def test_one_key_at_once_is_one_journal(books: Books) -> None:
    ids = {journal.id for journal in together(lambda _: books.pay("ann", "mem_1", 5, "same"))}
    assert len(ids) == 1
    assert books.balance("mem_1") == (5, 0, 0)


def test_one_key_for_different_requests_goes_to_one(books: Books) -> None:
    """Over accounts that have nothing in common, so that no lock orders them."""

    def pay(number: int) -> bool:
        try:
            books.pay(*(("ann", "mem_1"), ("bob", "mem_2"))[number % 2], 5, "same")
        except Conflict:
            return False
        return True

    assert sum(together(pay)) == THREADS // 2
    assert {books.balance("mem_1")[0], books.balance("mem_2")[0]} == {0, 5}
    books.verified()


def test_accounts_can_be_opened_by_all_at_once(books: Books) -> None:
    together(lambda _: books.open({"new": "user"}))
    together(lambda number: books.grant("new", number + 1))
    assert books.run(ledger.balance, AccountId("new")).available == 36 * ledger.MICRO


def test_several_payments_in_one_transaction_lock_first(books: Books) -> None:
    """Crosswise, they would deadlock; locked beforehand in one go they cannot."""
    everyone = [AccountId(name) for name in ("ann", "bob", "mem_1")]

    def pay_around(number: int) -> None:
        around = everyone if number % 2 else everyone[::-1]

        def pay(conn: sa.Connection, step: int) -> None:
            ledger.lock_accounts(conn, everyone)
            for at, payer in enumerate(around[:2]):
                key = f"{number}-{step}-{at}"
                ledger.transfer(conn, key=key, payer=payer, payee=around[at + 1], microcredits=1, now=NOW)

        for step in range(20):
            books.run(pay, step)

    books.grant("mem_1", 1)
    together(pay_around, 4)
    assert books.verified().journals == 3 + 4 * 20 * 2
