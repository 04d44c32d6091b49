"""Who gets what, case by case."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from commonweal.core.work import Amount
from commonweal.pool.scheduler import (
    MISSED_TOO_OFTEN,
    MemberFacts,
    Offer,
    Progress,
    UnitFacts,
    choose,
    decide,
    patience,
    reputation_after,
    retry_until,
    smoothed,
)

NOW = 1000.0
AMOUNT = Amount(least=5, most=400, first=20, target_seconds=60.0)
MEMBER = MemberFacts(
    id="me",
    roles=frozenset({"train"}),
    kinds=frozenset({"count"}),
    memory=100,
    reputation=0.5,
    rates={},
    groups=frozenset(),
)
UNIT = UnitFacts(
    id="u",
    job="j",
    group="",
    kind="count",
    role="train",
    memory=0,
    min_reputation=0.0,
    prefers=None,
    excludes=frozenset(),
    amount=AMOUNT,
    deadline=NOW + 300,
    pickup_until=NOW + 5,
    created=NOW,
)


def chosen(*units: UnitFacts, busy: dict[str, int] | None = None, **facts: Any) -> list[str]:
    return [offer.unit for offer in choose(replace(MEMBER, **facts), units, busy or {}, NOW)]


@pytest.mark.parametrize(
    ("unit", "facts", "allowed"),
    [
        ({}, {}, True),
        ({"role": "generate"}, {}, False),
        ({"kind": "other"}, {}, False),
        ({"memory": 100}, {}, True),
        ({"memory": 101}, {}, False),
        ({"min_reputation": 0.5}, {}, True),
        ({"min_reputation": 0.51}, {}, False),
        ({"excludes": frozenset({"me"})}, {}, False),
        ({"excludes": frozenset({"other"})}, {}, True),
        ({"group": "g"}, {"groups": frozenset({("j", "g")})}, False),
        ({"group": "g"}, {"groups": frozenset({("j", "h"), ("k", "g")})}, True),
        ({"group": ""}, {"groups": frozenset({("j", "")})}, True),
        ({"prefers": "me"}, {}, True),
        ({"prefers": "other"}, {}, False),
        ({"prefers": "other", "pickup_until": NOW}, {}, True),
        ({"deadline": NOW}, {}, False),
        ({"deadline": NOW + 1}, {}, True),
    ],
)
def test_what_a_member_may_have(unit: dict[str, Any], facts: dict[str, Any], allowed: bool) -> None:
    assert (chosen(replace(UNIT, **unit), **facts) == ["u"]) is allowed


@pytest.mark.parametrize(
    ("rate", "left", "amount", "seconds"),
    [
        (None, 300, 20, 72),  # never measured: the first amount
        (0.0, 300, 20, 72),
        (1.0, 300, 60, 72),  # what it can do in the target time
        (1.0, 30, 30, 30),  # or in what is left
        (100.0, 300, 400, 72),  # the most
        (0.08, 300, 5, 72),  # the least
        (1e300, 300, 400, 72),
        (float("inf"), 300, 400, 72),
    ],
)
def test_how_much_it_is_asked_for(rate: float | None, left: float, amount: int, seconds: float) -> None:
    rates = {} if rate is None else {"j": rate}
    offers = choose(replace(MEMBER, rates=rates), [replace(UNIT, deadline=NOW + left)], {}, NOW)
    assert offers == [Offer(unit="u", amount=amount, seconds=seconds)]


def test_a_unit_whose_least_cannot_be_done_in_time_is_not_offered() -> None:
    assert chosen(replace(UNIT, deadline=NOW + 49), rates={"j": 0.1}) == []
    assert chosen(replace(UNIT, deadline=NOW + 51), rates={"j": 0.1}) == ["u"]


def test_ten_times_slower_is_asked_for_a_tenth() -> None:
    def asked(rate: float) -> int:
        return choose(replace(MEMBER, rates={"j": rate}), [UNIT], {}, NOW)[0].amount

    assert asked(5.0) == 300
    assert asked(0.5) == 30


MOVING = replace(AMOUNT, up_bytes=1e6, down_bytes=5e5, transfer_seconds=6.0)


@pytest.mark.parametrize(
    ("upload", "download", "amount", "seconds"),
    [
        (None, None, 60, 72.0),  # never measured: as the typical member
        (None, 1e6, 60, 72.0),
        (2e5, 5e5, 60, 73.2),  # the typical member, and the second that it fetches for
        (1e9, 1e9, 65, 79.2),  # a fast link leaves nearly 66 s to compute
        (5e4, 5e5, 45, 55.2),  # 21 s to move instead of 6
        (1e4, 1e4, 15, 78.0),  # but a quarter of the time is left to everybody
        (1e-3, 1e-3, 15, 300.0),
    ],
)
def test_who_moves_its_bytes_for_longer_is_asked_for_less(
    upload: float | None, download: float | None, amount: int, seconds: float
) -> None:
    member = replace(MEMBER, rates={"j": 1.0}, upload=upload, download=download)
    (offer,) = choose(member, [replace(UNIT, amount=MOVING)], {}, NOW)
    assert (offer.amount, offer.seconds) == (amount, pytest.approx(seconds, rel=1e-3))


@pytest.mark.parametrize(
    ("group", "facts", "until"),
    [
        ("g", {}, None),
        ("g", {"upload": 5e4, "download": 5e5}, None),  # it can be done with the others
        ("g", {"upload": 1e4, "download": 1e6}, NOW + 66),  # it cannot, whatever little it is asked for
        ("", {"upload": 1e4, "download": 1e6}, None),  # nobody waits
        ("g", {"missed": MISSED_TOO_OFTEN - 1}, None),
        ("g", {"missed": MISSED_TOO_OFTEN}, NOW + 66),
    ],
)
def test_who_is_late_anyhow_is_not_waited_for(group: str, facts: dict[str, Any], until: float | None) -> None:
    member = replace(MEMBER, rates={"j": 1.0}, **facts)
    (offer,) = choose(member, [replace(UNIT, group=group, amount=MOVING)], {}, NOW)
    assert offer.waited_until == until


def test_its_own_units_come_first_then_the_job_with_fewest_at_work_then_the_oldest() -> None:
    own = replace(UNIT, id="own", job="crowded", prefers="me", created=NOW + 9)
    older, newer = (
        replace(UNIT, id="older", job="quiet"),
        replace(UNIT, id="newer", job="quiet", created=NOW + 1),
    )
    crowded = replace(UNIT, id="crowded", job="crowded", created=NOW - 99)
    units = [crowded, newer, older, own]
    assert chosen(*units, busy={"crowded": 3, "quiet": 2}) == ["own", "older", "newer", "crowded"]
    assert chosen(*units, busy={"crowded": 1, "quiet": 2}) == ["own", "crowded", "older", "newer"]


def test_the_order_does_not_depend_on_the_order_of_the_query() -> None:
    units = [replace(UNIT, id=f"u{i}") for i in range(9)]
    assert chosen(*units) == chosen(*reversed(units))


@given(
    rate=st.floats(0, 1e12) | st.none(),
    left=st.floats(-10, 1e6),
    least=st.integers(1, 1000),
    more=st.integers(0, 10**6),
    target=st.floats(0.1, 1e5),
)
def test_an_offer_is_always_within_bounds(
    rate: float | None, left: float, least: int, more: int, target: float
) -> None:
    amount = Amount(least=least, most=least + more, first=least, target_seconds=target)
    rates = {} if rate is None else {"j": rate}
    for offer in choose(
        replace(MEMBER, rates=rates), [replace(UNIT, amount=amount, deadline=NOW + left)], {}, NOW
    ):
        assert least <= offer.amount <= least + more
        assert 0 < offer.seconds <= patience(target)
        assert offer.seconds <= left + 1e-6


DONE, HELD, GONE = "submitted", "leased", "dropped"
WAITING, LEFT_LYING = ("queued", NOW + 1), ("queued", NOW)


@pytest.mark.parametrize(
    ("units", "quorum", "late", "decision"),
    [
        ([DONE, DONE], 2, False, "fold"),
        ([DONE, HELD], 1, False, "wait"),
        ([DONE, WAITING], 1, False, "wait"),
        ([DONE, LEFT_LYING], 1, False, "fold"),
        ([DONE, LEFT_LYING], 2, False, "wait"),
        ([DONE, GONE], 2, False, "fold"),  # nothing more can come
        ([GONE, GONE], 1, False, "fold"),
        ([LEFT_LYING, LEFT_LYING], 1, False, "wait"),
        ([DONE, HELD], 1, True, "fold"),
        ([DONE, HELD], 2, True, "wait"),
        ([DONE, LEFT_LYING], 2, True, "fold"),
        ([LEFT_LYING], 1, True, "fold"),
        ([HELD], 1, True, "wait"),
        ([], 1, False, "fold"),
    ],
)
def test_when_a_group_is_folded(units: list[Any], quorum: int, late: bool, decision: str) -> None:
    progress = [
        Progress(status=u, pickup_until=NOW + 9)
        if isinstance(u, str)
        else Progress(status=u[0], pickup_until=u[1])  # type: ignore[arg-type]
        for u in units
    ]
    assert decide(progress, quorum=quorum, deadline=NOW if late else NOW + 1, now=NOW) == decision


@pytest.mark.parametrize(
    ("grouped", "ago", "attempts", "until"),
    [
        (True, 10.0, 1, NOW + 62),
        (True, 50.0, 1, NOW + 22),
        (True, 55.0, 1, None),  # too little time is left to be worth it
        (True, 10.0, 0, None),
        (False, 55.0, 1, NOW + 300),
        (False, 55.0, 0, None),
    ],
)
def test_when_a_unit_is_tried_again(grouped: bool, ago: float, attempts: int, until: float | None) -> None:
    found = retry_until(
        grouped=grouped,
        deadline=NOW + 300,
        leased_at=NOW - ago,
        target_seconds=60.0,
        attempts_left=attempts,
        now=NOW,
    )
    assert found == until


@given(st.lists(st.booleans(), max_size=60))
def test_reputation_stays_between_nothing_and_one(outcomes: list[bool]) -> None:
    reputation = 0.5
    for accepted in outcomes:
        after = reputation_after(reputation, accepted)
        assert 0 <= after <= 1
        assert after >= reputation if accepted else after <= reputation / 2
        reputation = after


def test_trust_is_earned_slowly_and_lost_at_once() -> None:
    reputation, good = 0.5, 0
    while reputation < 0.9:
        reputation, good = reputation_after(reputation, True), good + 1
    assert good > 20
    assert reputation_after(reputation, False) < 0.5


def test_measurements_are_smoothed() -> None:
    assert smoothed(None, 7.0) == 7.0
    assert smoothed(10.0, 20.0) == pytest.approx(13.0)
    assert smoothed(10.0, 0.0) == pytest.approx(3.0)
