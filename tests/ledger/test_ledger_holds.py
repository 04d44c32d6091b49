"""Holds: set aside, paid out in parts, given back."""

from __future__ import annotations

import pytest
from ledger_books import NOW, Books

from commonweal import ledger
from commonweal.core.errors import Conflict, InsufficientCredits, NotFound, UserError
from commonweal.ledger import MICRO, AccountId, Payee


def capture(books: Books, key: str, **amounts: int) -> ledger.Journal:
    payees = [Payee(account=AccountId(name), microcredits=amount) for name, amount in amounts.items()]
    return books.run(ledger.capture, "h", key=key, payees=payees, now=NOW)


def test_captures_up_to_the_hold_and_release_of_the_rest(books: Books) -> None:
    books.hold("ann", 10, "h")
    assert books.balance("ann") == (100 * MICRO - 10, 10, 0)
    capture(books, "c1", mem_1=3, mem_2=1)
    capture(books, "c2", mem_1=2, ann=1)
    assert books.run(ledger.find_hold, "h").remaining == 3
    released = books.run(ledger.release, "h", key="r", now=NOW)
    assert released is not None
    assert released.hold == "h"
    assert books.balance("ann") == (100 * MICRO - 6, 0, 0)
    assert (books.balance("mem_1"), books.balance("mem_2")) == ((5, 0, 0), (1, 0, 0))
    books.verified()


def test_held_credits_cannot_be_spent(books: Books) -> None:
    books.hold("ann", 100 * MICRO, "h")
    with pytest.raises(InsufficientCredits):
        books.pay("ann", "bob", 1, "p")
    with pytest.raises(InsufficientCredits):
        books.hold("ann", 1, "h2")


def test_no_more_than_what_remains(books: Books) -> None:
    books.hold("ann", 10 * MICRO, "h")
    capture(books, "c1", mem_1=8 * MICRO)
    with pytest.raises(
        InsufficientCredits, match="hold 'h' of ann has 2 of 10 credits left, and 3 are needed"
    ):
        capture(books, "c2", mem_1=3 * MICRO)
    capture(books, "c3", mem_2=2 * MICRO)
    assert books.run(ledger.release, "h", key="r", now=NOW) is None
    with pytest.raises(InsufficientCredits):
        capture(books, "c4", mem_1=1)
    books.verified()


def test_each_step_is_done_once(books: Books) -> None:
    held = books.hold("ann", 10, "h")
    assert books.hold("ann", 10, "h") == held
    first = capture(books, "c", mem_1=3, mem_2=1)
    assert capture(books, "c", mem_2=1, mem_1=3) == first
    assert books.hold("ann", 10, "h").remaining == 6
    released = books.run(ledger.release, "h", key="r", now=NOW)
    assert books.run(ledger.release, "h", key="r", now=NOW + 1) == released
    assert capture(books, "c", mem_1=3, mem_2=1) == first
    assert books.balance("ann") == (100 * MICRO - 4, 0, 0)
    with pytest.raises(Conflict):
        capture(books, "c", mem_1=4)
    with pytest.raises(Conflict):
        books.hold("ann", 11, "h")
    books.hold("ann", 10, "h2")
    with pytest.raises(Conflict):
        books.run(ledger.release, "h2", key="r", now=NOW)


def test_a_hold_that_is_not_there(books: Books) -> None:
    for call in (
        lambda: capture(books, "c", mem_1=1),
        lambda: books.run(ledger.release, "h", key="r", now=NOW),
    ):
        with pytest.raises(NotFound, match="no hold 'h'"):
            call()


def test_a_capture_pays_somebody(books: Books) -> None:
    books.hold("ann", 10, "h")
    with pytest.raises(UserError, match="pays nobody"):
        capture(books, "c")
    with pytest.raises(UserError):
        capture(books, "c", mem_1=5, mem_2=-4)
    with pytest.raises(NotFound, match="no account 'zoe'"):
        capture(books, "c", zoe=1)
    assert books.run(ledger.find_hold, "h").remaining == 10


def test_what_a_crash_left_behind_is_found(books: Books) -> None:
    for number in range(3):
        books.run(ledger.hold, key=f"h{number}", account=AccountId("ann"), microcredits=5, now=NOW + number)
    books.run(ledger.release, "h0", key="r", now=NOW)
    stale = books.run(ledger.stale_holds, before=NOW + 2)
    assert [hold.key for hold in stale] == ["h1"]
