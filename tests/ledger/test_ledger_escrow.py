"""Earnings on probation."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ledger_books import NOW, Books

from commonweal import ledger
from commonweal.core.errors import Conflict, InsufficientCredits
from commonweal.ledger import HUB, MICRO, AccountId, Earning, EscrowPolicy
from commonweal.ledger.escrow import escrowed

POLICY = EscrowPolicy(share=0.5, units=3)


def earn(books: Books, key: str, *earnings: tuple[str, int, int], payer: str = "ann") -> ledger.Journal:
    due = [Earning(account=AccountId(n), microcredits=m, accepted=a) for n, m, a in earnings]
    source = books.run(ledger.find_hold, payer) if payer.startswith("h") else AccountId(payer)
    return books.run(ledger.earn, key=key, payer=source, earnings=due, policy=POLICY, now=NOW)


def test_a_share_waits_until_enough_units_were_accepted(books: Books) -> None:
    earn(books, "u0", ("mem_1", 10, 0))
    assert books.balance("mem_1") == (5, 0, 5)
    earn(books, "u1", ("mem_1", 11, 1))
    assert books.balance("mem_1") == (11, 0, 10)
    earn(books, "u2", ("mem_1", 10, 2))
    assert books.balance("mem_1") == (31, 0, 0)
    earn(books, "u3", ("mem_1", 10, 3))
    assert books.balance("mem_1") == (41, 0, 0)
    books.verified()


def test_the_last_unit_of_a_batch_ends_the_probation_for_all_of_it(books: Books) -> None:
    earn(books, "u0", ("mem_1", 10, 0))
    earn(books, "batch", ("mem_1", 10, 1), ("mem_2", 10, 0), ("mem_1", 10, 2))
    assert books.balance("mem_1") == (30, 0, 0)
    assert books.balance("mem_2") == (5, 0, 5)


def test_escrow_cannot_be_spent(books: Books) -> None:
    earn(books, "u0", ("mem_1", 10 * MICRO, 0))
    with pytest.raises(InsufficientCredits, match="5 credits available \\(5 more in escrow\\), and 6 are"):
        books.pay("mem_1", "bob", 6 * MICRO, "p")


def test_earnings_are_paid_out_of_a_hold(books: Books) -> None:
    books.hold("ann", 25, "h")
    earn(books, "u0", ("mem_1", 10, 0), ("mem_2", 10, 7), payer="h")
    assert books.run(ledger.find_hold, "h").remaining == 5
    assert (books.balance("mem_1"), books.balance("mem_2")) == ((5, 0, 5), (10, 0, 0))
    with pytest.raises(InsufficientCredits):
        earn(books, "u1", ("mem_1", 6, 1), payer="h")
    books.verified()


def test_a_retry_pays_once_though_the_member_is_older_by_then(books: Books) -> None:
    first = earn(books, "u0", ("mem_1", 10, 0))
    assert earn(books, "u0", ("mem_1", 10, 9)) == first
    assert books.balance("mem_1") == (5, 0, 5)
    with pytest.raises(Conflict):
        earn(books, "u0", ("mem_1", 11, 0))


def test_bad_behaviour_forfeits_it_to_the_pool(books: Books) -> None:
    earn(books, "u0", ("mem_1", 10, 0))
    taken = books.run(ledger.forfeit, key="f", account=AccountId("mem_1"), memo="wrong result", now=NOW)
    assert taken is not None
    assert (
        books.run(ledger.forfeit, key="f", account=AccountId("mem_1"), memo="wrong result", now=NOW + 5)
        == taken
    )
    assert (books.balance("mem_1"), books.balance(HUB)) == ((5, 0, 0), (5, 0, 0))
    assert books.run(ledger.forfeit, key="f2", account=AccountId("mem_1"), now=NOW) is None
    books.verified()


def test_maturing_by_hand(books: Books) -> None:
    earn(books, "u0", ("mem_1", 10, 0))
    matured = books.run(ledger.mature, key="m", account=AccountId("mem_1"), now=NOW)
    assert matured is not None
    assert books.run(ledger.mature, key="m", account=AccountId("mem_1"), now=NOW) == matured
    assert books.balance("mem_1") == (10, 0, 0)
    assert books.run(ledger.mature, key="m2", account=AccountId("mem_1"), now=NOW) is None


@given(st.integers(1, 10**17), st.floats(0, 1))
def test_the_share_is_whole_and_never_more_than_all(microcredits: int, share: float) -> None:
    part = escrowed(microcredits, EscrowPolicy(share=share))
    assert 0 <= part <= microcredits
    assert abs(part - microcredits * share) <= 1 + microcredits / MICRO


@pytest.mark.parametrize("wrong", [{"share": 1.1}, {"share": -0.1}, {"units": -1}, {"share": float("nan")}])
def test_a_policy_that_makes_no_sense_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"share|units"):
        EscrowPolicy(**wrong)
