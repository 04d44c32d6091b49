"""Posting: exact, once, refused in words."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from ledger_books import NOW, Books

from commonweal import ledger
from commonweal.core.errors import Conflict, InsufficientCredits, NotFound, UserError
from commonweal.ledger import MICRO, AccountId, Posting


def test_a_transfer_moves_what_it_says(books: Books) -> None:
    journal = books.pay("ann", "mem_1", 1_500_000, "p")
    assert journal.postings == (
        Posting(account=AccountId("ann"), microcredits=-1_500_000),
        Posting(account=AccountId("mem_1"), microcredits=1_500_000),
    )
    assert journal.at == NOW
    assert books.balance("ann") == (98_500_000, 0, 0)
    assert books.balance("mem_1") == (1_500_000, 0, 0)
    assert books.verified().issued == 200 * MICRO


def test_the_same_request_is_done_once(books: Books) -> None:
    first = books.pay("ann", "bob", 5, "p")
    again = books.run(
        ledger.transfer,
        key="p",
        payer=AccountId("ann"),
        payee=AccountId("bob"),
        microcredits=5,
        now=NOW + 60,
    )
    assert again == first
    assert books.balance("bob") == (100 * MICRO + 5, 0, 0)


def test_a_retry_is_answered_even_when_the_money_is_gone(books: Books) -> None:
    first = books.pay("ann", "bob", 100 * MICRO, "all")
    assert books.pay("ann", "bob", 100 * MICRO, "all") == first


@pytest.mark.parametrize(("payee", "amount"), [("mem_1", 5), ("bob", 6)])
def test_a_key_stands_for_one_request(books: Books, payee: str, amount: int) -> None:
    books.pay("ann", "bob", 5, "p")
    with pytest.raises(Conflict, match="key 'p' was used before"):
        books.pay("ann", payee, amount, "p")
    assert books.balance(payee)[0] in (0, 100 * MICRO + 5)


def test_a_key_of_another_kind_is_taken(books: Books) -> None:
    books.pay("ann", "bob", 5, "p")
    with pytest.raises(Conflict):
        books.hold("ann", 5, "p")


def test_what_is_missing_is_said(books: Books) -> None:
    books.hold("ann", 60 * MICRO, "h")
    with pytest.raises(InsufficientCredits) as caught:
        books.pay("ann", "bob", 50_500_000, "p")
    assert caught.value.message == "ann has 40 credits available (60 more held), and 50.5 are needed"
    assert caught.value.hint is not None
    assert caught.value.hint.startswith("10.5 more are missing: earn them")
    assert books.balance("ann") == (40 * MICRO, 60 * MICRO, 0)


def test_a_refused_payment_leaves_its_key_free(books: Books) -> None:
    with pytest.raises(InsufficientCredits):
        books.pay("mem_1", "bob", 5, "p")
    books.pay("ann", "mem_1", 5, "q")
    books.pay("mem_1", "bob", 5, "p")
    assert books.balance("mem_1") == (0, 0, 0)


def test_many_accounts_in_one_journal(books: Books) -> None:
    lines = [
        Posting(account=AccountId(name), microcredits=amount)
        for name, amount in (("ann", -7), ("bob", -3), ("mem_1", 4), ("mem_1", 2), ("mem_2", 4))
    ]
    journal = books.run(ledger.post, key="k", kind="settlement", postings=lines, memo="July", now=NOW)
    assert [line.microcredits for line in journal.postings] == [-7, -3, 6, 4]
    assert (
        books.run(ledger.post, key="k", kind="settlement", postings=lines[::-1], memo="July", now=NOW)
        == journal
    )
    books.verified()


@pytest.mark.parametrize("amounts", [(-5, 4), (), (0, 0), (-(10**18), 10**18)])
def test_a_journal_that_makes_no_sense_is_refused(books: Books, amounts: tuple[int, ...]) -> None:
    names = ("issuance", "bob")
    lines = [Posting(account=AccountId(n), microcredits=m) for n, m in zip(names, amounts, strict=False)]
    with pytest.raises(UserError):
        books.run(ledger.post, key="k", kind="x", postings=lines, now=NOW)
    assert books.verified().journals == 2


@pytest.mark.parametrize("amount", [0, -1, True, 1.5, 10**17 + 1])
def test_an_amount_is_a_whole_positive_number(books: Books, amount: int) -> None:
    with pytest.raises(UserError):
        books.pay("ann", "bob", amount, "k")


@pytest.mark.parametrize("text", ["", "a\0b", "new\nline", "\ud800", "x" * 201])
def test_names_and_memos_are_printable(books: Books, text: str) -> None:
    with pytest.raises(UserError):
        books.pay("ann", "bob", 1, text)
    with pytest.raises(UserError):
        books.pay("ann", text, 1, "k")
    if text and len(text) < 200:
        with pytest.raises(UserError, match="memo"):
            books.run(ledger.grant, key="k", account=AccountId("ann"), microcredits=1, memo=text, now=NOW)


def test_accounts_are_opened_once_and_known_by_kind(books: Books) -> None:
    books.open({"ann": "user"})
    with pytest.raises(Conflict, match="'ann' is a user, not a member"):
        books.open({"ann": "member"})
    with pytest.raises(UserError, match="one issuance"):
        books.open({"mint": "issuance"})
    with pytest.raises(NotFound, match="no account 'zoe'"):
        books.pay("ann", "zoe", 1, "k")
    with pytest.raises(NotFound):
        books.balance("zoe")


def test_nobody_pays_himself(books: Books) -> None:
    with pytest.raises(UserError, match="cannot pay itself"):
        books.pay("ann", "ann", 1, "k")


def test_held_credits_do_not_move_by_post(books: Books) -> None:
    lines = [
        Posting(account=AccountId("ann"), microcredits=-1),
        Posting(account=AccountId("ann"), bucket="held", microcredits=1),
    ]
    with pytest.raises(ValueError, match="move by hold"):
        books.run(ledger.post, key="k", kind="x", postings=lines, now=NOW)


def test_a_payment_is_part_of_the_callers_transaction(books: Books) -> None:
    def pay_and_fail(conn: sa.Connection) -> None:
        sides = {"payer": AccountId("ann"), "payee": AccountId("bob")}
        ledger.transfer(conn, key="k", **sides, microcredits=5, now=NOW)
        raise RuntimeError("the result could not be stored")

    with pytest.raises(RuntimeError):
        books.run(pay_and_fail)
    assert books.balance("bob") == (100 * MICRO, 0, 0)
    books.pay("ann", "bob", 6, "k")


def test_history_pages_back(books: Books) -> None:
    for number in range(5):
        books.pay("ann", "bob", number + 1, f"p{number}")
    books.hold("bob", 7, "h")
    first = books.run(ledger.history, AccountId("bob"), limit=3)
    assert [(m.key, m.available, m.held) for m in first] == [("h", -7, 7), ("p4", 5, 0), ("p3", 4, 0)]
    rest = books.run(ledger.history, AccountId("bob"), limit=9, before=first[-1].journal_id)
    assert [m.key for m in rest] == ["p2", "p1", "p0", "grant-1"]
    assert {m.at for m in (*first, *rest)} == {NOW}
