"""The public export: proves itself, and no change to it goes unseen."""

from __future__ import annotations

import json

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ledger_books import NOW, Books

from commonweal import ledger
from commonweal.core.hashing import record_hash
from commonweal.ledger import MICRO, AccountId, Head, Payee, verify_export
from commonweal.ledger.chain import GENESIS, next_seal


@pytest.fixture
def lines(books: Books) -> list[str]:
    books.run(ledger.grant, key="g", account=AccountId("bob"), microcredits=3, memo='für "Bob" \\ ☃', now=NOW)
    books.hold("ann", 9, "hold")
    payees = [Payee(account=AccountId("mem_1"), microcredits=4)]
    books.run(ledger.capture, "hold", key="capture", payees=payees, now=NOW)
    return books.export()


def remade(lines: list[str]) -> list[str]:
    """The lines with every hash and seal made anew, as an operator who cheats would."""
    made, end = [lines[0]], Head()
    for line in lines[1:-1]:
        journal = json.loads(line)["journal"]
        digest = record_hash(journal)
        end = Head(position=end.position + 1, seal=next_seal(end.seal, digest))
        made.append(
            json.dumps({"position": end.position, "seal": end.seal, "hash": digest, "journal": journal})
        )
    return [*made, json.dumps({"head": {"position": end.position, "seal": end.seal}})]


def test_an_export_proves_itself(books: Books, lines: list[str]) -> None:
    check = verify_export(lines)
    assert check.problems == ()
    assert (check.ok, check.journals) == (True, 5)
    assert check.head == books.run(ledger.head)
    assert check.balances == {
        "issuance": -200 * MICRO - 3,
        "ann": 100 * MICRO - 4,
        "bob": 100 * MICRO + 3,
        "mem_1": 4,
    }


def test_no_journals_are_an_export_too(empty_books: Books) -> None:
    assert verify_export(empty_books.export()).ok


def test_a_head_that_was_seen_is_found_again(books: Books, lines: list[str]) -> None:
    seen = verify_export(lines).head
    books.pay("ann", "bob", 1, "more")
    assert verify_export(books.export(), known=seen).ok
    assert verify_export(books.export(), known=Head(position=0, seal=GENESIS)).ok


def test_a_rewritten_past_contradicts_the_head_that_was_seen(lines: list[str]) -> None:
    seen = verify_export(lines).head
    rewritten = remade([line.replace('"memo":""', '"memo":"gift"') for line in lines])
    assert verify_export(rewritten).ok
    assert "the past was rewritten" in verify_export(rewritten, known=seen).problems[0]
    cut = remade([*lines[:-2], lines[-1]])
    assert verify_export(cut).ok
    assert verify_export(cut, known=seen).problems == ("position 5 was there before and is missing",)


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ('"microcredits":4', '"microcredits":3', "sums to -1"),
        ('"microcredits":4', '"microcredits":4.0', "known form"),
        ('"hold":"hold"', '"hold":"other"', "hold 'other'"),
        ('"version":1', '"version":2', "known form"),
        ('"account":"issuance"', '"account":"mint"', "takes mint to"),
        ('"bucket":"held"', '"bucket":"escrow"', "without naming one hold"),
    ],
)
def test_a_remade_chain_still_keeps_the_rules(lines: list[str], old: str, new: str, problem: str) -> None:
    check = verify_export(remade([line.replace(old, new) for line in lines]))
    assert not check.ok
    assert any(problem in text for text in check.problems), check.problems


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_no_change_goes_unseen(lines: list[str], data: st.DataObject) -> None:
    changed = list(lines)
    here = data.draw(st.integers(0, len(lines) - 1))
    there = data.draw(st.integers(0, len(lines) - 1))
    kind = data.draw(st.sampled_from(["drop", "double", "swap", "cut", "letter"]))
    if kind == "drop":
        del changed[here]
    elif kind == "double":
        changed.insert(there, lines[here])
    elif kind == "swap":
        changed[here], changed[there] = lines[there], lines[here]
    elif kind == "cut":
        changed = changed[:here]
    else:
        at = data.draw(st.integers(0, len(lines[here]) - 1))
        letter = data.draw(st.characters(exclude_categories=["Cs"]))
        changed[here] = lines[here][:at] + letter + lines[here][at + 1 :]
    assert verify_export(changed).ok == (changed == lines)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=4,
)
POSTING = st.fixed_dictionaries({"account": JSON, "bucket": JSON, "microcredits": JSON})
JOURNAL = st.fixed_dictionaries(
    dict.fromkeys(("key", "kind", "memo", "at", "hold", "request"), JSON)
    | {"version": st.just(1), "postings": st.lists(POSTING | JSON, max_size=2)}
)
LINE = st.fixed_dictionaries({"position": JSON, "seal": JSON, "hash": JSON, "journal": JOURNAL | JSON})
FIRST = '{"format":"commonweal-ledger-1"}'


@settings(max_examples=100, deadline=None)
@given(st.lists(st.text(max_size=30) | (JSON | LINE).map(json.dumps), min_size=1, max_size=3))
def test_any_rubbish_is_answered(rubbish: list[str]) -> None:
    assert not verify_export(rubbish).ok
    assert not verify_export([FIRST, *rubbish]).ok


@pytest.mark.parametrize("bomb", ["[" * 100_000, "9" * 10_000, '{"position":' + "9" * 4000 + "}", "NaN"])
def test_a_bomb_is_answered(bomb: str) -> None:
    assert not verify_export([FIRST, bomb]).ok


def test_a_journal_that_commits_late_gets_a_later_place(books: Books) -> None:
    """Nobody who pays waits for the chain, or for who pays from other accounts."""
    books.run(ledger.seal)
    with books.engine.connect() as slow:
        sides = {"payer": AccountId("ann"), "payee": AccountId("mem_1")}
        early = ledger.transfer(slow, key="slow", **sides, microcredits=1, now=NOW)
        with books.engine.begin() as conn:
            conn.execute(sa.text("set local lock_timeout = '1s'"))
            later = ledger.transfer(
                conn, key="fast", payer=AccountId("bob"), payee=AccountId("mem_2"), microcredits=1, now=NOW
            )
        assert later.id > early.id
        assert books.run(ledger.seal).position == 3
        slow.commit()
    assert books.run(ledger.seal).position == 4
    keys = [json.loads(line)["journal"]["key"] for line in books.export()[1:-1]]
    assert keys == ["grant-0", "grant-1", "fast", "slow"]
    books.verified()


def test_sealing_goes_in_steps(books: Books) -> None:
    for number in range(5):
        books.pay("ann", "bob", 1, f"p{number}")
    positions = [books.run(ledger.seal, limit=3).position for _ in range(4)]
    assert positions == [3, 6, 7, 7]
    assert verify_export(books.export()).ok
