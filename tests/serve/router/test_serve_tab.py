"""Tabs, without a database: what is drawn is what was billed, and never more than is held."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from commonweal.core.completion import Request, Token
from commonweal.core.streaming import Ended, Piece, Usage
from commonweal.serve.billing.counting import Tally, most_completion, most_prompt
from commonweal.serve.billing.tab import Bill, Chunk, Draw, Outcome, Tab, shares


def bill(name: str, cost: int, payee: str | None = "member:a", outcome: Outcome = "done") -> Bill:
    return Bill(
        ask=name,
        account="alice",
        model="m",
        member="a",
        prompt_tokens=1,
        completion_tokens=1,
        microcredits=cost,
        outcome=outcome,
        at=0.0,
        payee=payee,
    )


class Tabs(RuleBasedStateMachine):
    """Any order of asks, bills, chunks and settlements."""

    @initialize(fee=st.integers(0, 1000))
    def start(self, fee: int) -> None:
        self.tab = Tab("alice", fee)
        self.open: list[int] = []
        self.ledger: dict[str, int] = {}
        self.paid: Counter[str] = Counter()
        self.due: Counter[str] = Counter()
        self.number = 0
        self.keys: set[str] = set()

    @rule(most=st.integers(0, 1000))
    def reserve(self, most: int) -> None:
        free = self.tab.free
        if self.tab.reserve(most, 0.0):
            self.open.append(most)
            assert most <= free
        else:
            assert most > free

    @rule(amount=st.integers(1, 5000))
    def hold(self, amount: int) -> None:
        self.number += 1
        self.ledger[f"hold:{self.number}"] = amount
        self.tab.add(Chunk(f"hold:{self.number}", amount))

    @precondition(lambda self: self.open)
    @rule(share=st.floats(0, 1), payee=st.sampled_from(["member:a", "member:b", None]))
    def settle(self, share: float, payee: str | None) -> None:
        most = self.open.pop()
        cost = int(most * share)
        self.number += 1
        self.tab.settle(most, bill(f"ask:{self.number}", cost, payee))
        worker, hub = shares(cost, self.tab.fee)
        if payee is None:
            worker, hub = 0, cost
        self.due[payee or "hub"] += worker
        self.due["hub"] += hub

    @precondition(lambda self: self.open)
    @rule(share=st.floats(0, 1))
    def shrink(self, share: float) -> None:
        less = int(self.open[-1] * share)
        self.tab.shrink(self.open[-1] - less)
        self.open[-1] = less

    @rule()
    def draw(self) -> None:
        self.number += 1
        draws, _ = self.tab.draw(self.number)
        for each in draws:
            self._post(each)
        self.tab.forget(self.tab.spent())

    def _post(self, draw: Draw) -> None:
        assert draw.key not in self.keys
        self.keys.add(draw.key)
        assert draw.hold is not None, "what was reserved can always be paid"
        self.ledger[draw.hold] -= draw.microcredits
        assert self.ledger[draw.hold] >= 0
        self.paid.update(draw.payees)

    @invariant()
    def what_is_reserved_and_owed_is_held(self) -> None:
        if hasattr(self, "tab"):
            assert self.tab.reserved + self.tab.owed <= self.tab.held
            assert self.tab.reserved == sum(self.open)
            assert self.tab.held == sum(self.ledger.values())

    def teardown(self) -> None:
        if hasattr(self, "tab"):
            self.draw()
            assert +self.paid == +self.due


TestTabs = Tabs.TestCase
TestTabs.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


def test_a_bill_above_what_was_reserved_is_a_mistake() -> None:
    tab = Tab("alice")
    tab.add(Chunk("h", 100))
    assert tab.reserve(10, 0.0)
    with pytest.raises(ValueError, match="reserved"):
        tab.settle(10, bill("a", 11))


def test_what_a_process_owes_when_its_holds_are_gone_is_drawn_on_none() -> None:
    tab = Tab("alice", fee=100)
    tab.add(Chunk("h", 100))
    assert tab.reserve(100, 0.0)
    tab.forget(["h"])
    tab.settle(100, bill("a", 100))
    (draw,), (told,) = tab.draw(1)
    assert draw.hold is None
    assert draw.payees == {"member:a": 90, "hub": 10}
    assert told.ask == "a"


@given(st.integers(0, 10**15), st.integers(0, 1000))
def test_shares_are_the_whole(cost: int, fee: int) -> None:
    worker, hub = shares(cost, fee)
    assert worker + hub == cost
    assert worker >= 0 <= hub


def test_the_hub_counts_what_it_saw() -> None:
    tally = Tally(Request(model="m", prompt="one two", max_tokens=10))
    tally.add(Piece(text=" a b", tokens=(Token(text=" a"), Token(text=" b"))))
    tally.add(Piece(text=" c"))
    tally.add(Ended())
    tally.add(Usage(prompt_tokens=2, completion_tokens=999))
    assert (tally.completion, tally.prompt(None), tally.prompt(7)) == (3, 2, 7)


def test_tokens_that_say_nothing_are_not_paid() -> None:
    tally = Tally(Request(model="m", prompt="x", max_tokens=100_000))
    tally.add(Piece(text="hello", tokens=tuple(Token(text="") for _ in range(5000))))
    assert tally.completion == 5 + 16
    tally = Tally(Request(model="m", prompt="x", max_tokens=3))
    tally.add(Piece(text="a long answer", tokens=tuple(Token(text="a") for _ in range(8))))
    assert tally.completion == 3


def test_a_worker_cannot_claim_more_prompt_than_was_sent() -> None:
    tally = Tally(Request(model="m", prompt="four words are here"))
    tally.add(Usage(prompt_tokens=10**9, completion_tokens=0))
    assert tally.prompt(None) == most_prompt(tally.request) < 100


@given(st.text(max_size=50), st.integers(0, 100), st.integers(1, 4))
def test_no_bill_exceeds_what_is_reserved(prompt: str, most: int, n: int) -> None:
    request = Request(model="m", prompt=prompt, max_tokens=most, n=n)
    tally = Tally(request)
    tally.add(Piece(text="x" * 1000, tokens=tuple(Token(text="x") for _ in range(1000))))
    tally.add(Usage(prompt_tokens=10**6, completion_tokens=10**6))
    assert tally.completion <= most_completion(request)
    assert tally.prompt(None) <= most_prompt(request)
