"""The audit finds every forgery, and the database refuses most of them before."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from ledger_books import NOW, Books
from sqlalchemy.exc import DBAPIError

from commonweal import ledger
from commonweal.ledger import MICRO, AccountId, Payee


@pytest.fixture
def kept(books: Books) -> Books:
    """Journals 3 to 6: a payment, a hold, a capture from it, all sealed; and a payment that is not."""
    books.pay("ann", "bob", 5, "pay")
    books.hold("ann", 9, "hold")
    payees = [Payee(account=AccountId("mem_1"), microcredits=4)]
    books.run(ledger.capture, "hold", key="capture", payees=payees, now=NOW)
    books.run(ledger.seal)
    books.pay("bob", "ann", 1, "late")
    return books


def test_honest_books_are_proven(kept: Books) -> None:
    found = kept.verified()
    assert (found.journals, found.unsealed, found.accounts) == (6, 1, 6)
    assert found.issued == 200 * MICRO
    assert found.head.position == 5
    kept.run(ledger.seal)
    assert kept.verified().unsealed == 0


def test_empty_books_are_proven(empty_books: Books) -> None:
    assert empty_books.verified().journals == 0


@pytest.mark.parametrize("table", ["ledger_journals", "ledger_postings", "ledger_seals"])
@pytest.mark.parametrize("change", ["delete from {}", "truncate {} cascade", "update {} set {} = {}"])
def test_the_database_refuses_to_change_the_past(kept: Books, table: str, change: str) -> None:
    kept.run(ledger.seal)
    column = {"ledger_journals": "memo", "ledger_postings": "microcredits", "ledger_seals": "hash"}[table]
    with pytest.raises(DBAPIError, match=r"append-only|identity"), kept.engine.begin() as conn:
        conn.execute(sa.text(change.format(table, column, column)))


def test_the_database_refuses_postings_that_do_not_sum_to_zero(kept: Books) -> None:
    forged = "insert into ledger_postings values (1, 'bob', 'available', 5), (2, 'bob', 'held', -5)"
    with pytest.raises(DBAPIError, match="must sum to zero"), kept.engine.begin() as conn:
        conn.execute(sa.text(forged))


@pytest.mark.parametrize("bucket", ["available", "held", "escrow"])
def test_the_database_refuses_negative_balances(kept: Books, bucket: str) -> None:
    with pytest.raises(DBAPIError, match="ck_ledger_accounts"), kept.engine.begin() as conn:
        conn.execute(sa.text(f"update ledger_accounts set {bucket} = -1 where account = 'ann'"))


FORGERIES = {
    "an amount": (
        "update ledger_postings set microcredits = 6 where journal_id = 3 and account = 'bob'",
        "journal 'pay' was changed",
        "journal 'pay' sums to 1",
        "account 'bob' has 100000004 available, and its postings sum to 100000005",
    ),
    "both sides and the balances": (
        "update ledger_postings set microcredits = microcredits * 2 where journal_id = 3;"
        "update ledger_accounts set available = available - 5 where account = 'ann';"
        "update ledger_accounts set available = available + 5 where account = 'bob'",
        "journal 'pay' was changed",
    ),
    "a memo": ("update ledger_journals set memo = 'gift' where key = 'pay'", "journal 'pay' was changed"),
    "a time": (
        "update ledger_journals set at = at + interval '1 us' where id = 3",
        "journal 'pay' was changed",
    ),
    "what was asked": ("update ledger_journals set request = '' where id = 3", "journal 'pay' was changed"),
    "a payee": (
        "update ledger_postings set account = 'mem_2' where journal_id = 3 and account = 'bob'",
        "'pay'",
    ),
    "a hash": (
        "update ledger_journals set hash = repeat('a', 64) where key = 'pay'",
        "journal 'pay' was changed",
        "journal 'pay' at position 3 does not follow",
    ),
    "a seal": (
        "update ledger_seals set hash = repeat('b', 64) where position = 3",
        "journal 'pay' at position 3 does not follow",
    ),
    "the order": (
        "update ledger_seals set position = 9 where position = 3; update ledger_seals set position = 3 "
        "where position = 4; update ledger_seals set position = 4 where position = 9",
        "journal 'hold' at position 3 does not follow",
    ),
    "a journal gone": (
        "delete from ledger_seals where journal_id = 3; delete from ledger_postings where journal_id = 3;"
        "delete from ledger_journals where id = 3",
        "is at position 4, and 3 was expected",
        "account 'ann' has",
    ),
    "postings gone": (
        "delete from ledger_postings where journal_id = 3",
        "'pay' sums to 0, not to zero, over 0",
    ),
    "postings more": (
        "insert into ledger_postings values (3, 'mem_1', 'available', 5), (3, 'mem_2', 'available', -5)",
        "journal 'pay' was changed",
        "takes mem_2 to -5 available",
    ),
    "a queue left": ("delete from ledger_seals where position is null", "'late' is not queued"),
    "an unsealed one": ("update ledger_journals set memo = 'x' where key = 'late'", "'late' was changed"),
    "a balance": (
        "update ledger_accounts set available = available + 1 where account = 'mem_1'",
        "account 'mem_1' has 5 available, and its postings sum to 4",
        "all accounts together have 1 micro-credits",
    ),
    "a hold": ("update ledger_holds set remaining = 9", "hold 'hold' has 9 left, and its journals leave 5"),
    "a hold gone": ("delete from ledger_holds", "hold 'hold' has None left", "account 'ann' has 5 held"),
    "held credits": (
        "update ledger_accounts set held = 0, available = available + 5 where account = 'ann'",
        "account 'ann' has 0 held, and its holds have 5 left",
    ),
}


@pytest.mark.parametrize("name", FORGERIES)
def test_a_forgery_is_found_and_named(kept: Books, name: str) -> None:
    statement, *expected = FORGERIES[name]
    with kept.forged() as conn:
        for part in statement.split(";"):
            conn.execute(sa.text(part))
    found = kept.run(ledger.verify)
    assert not found.ok
    for text in expected:
        assert any(text in problem for problem in found.problems), found.problems


def test_a_long_list_of_problems_is_cut(kept: Books) -> None:
    for number in range(120):
        kept.pay("ann", "bob", 1, f"n{number}")
    with kept.forged() as conn:
        conn.execute(sa.text("update ledger_journals set memo = 'x'"))
    assert len(kept.run(ledger.verify).problems) == 100
