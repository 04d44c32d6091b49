"""What is planned of a round is what comes of it, whoever takes part."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as settings_of_hypothesis
from hypothesis import strategies as st

from commonweal.core.config import from_table
from commonweal.core.ids import MemberId
from commonweal.core.work import Amount, MemberView
from commonweal.pool.scheduler import MemberFacts, UnitFacts, choose
from commonweal.train.config import RoundSettings, TrainSettings
from commonweal.train.pace import LATE_LINK, deadline_after, worth
from commonweal.train.state import TrainState
from commonweal.train.terms import RoundTerms, choose_amount, choose_terms

PARAMETERS = 10_000_000
LONG_RUN = 10_000
NOW = 1000.0


def view(
    number: int, *, step: float = 1.0, up: float | None = 1e6, down: float | None = None, **changes: Any
) -> MemberView:
    """A member that takes ``step`` seconds a step, with a link of ``up`` bytes a second."""
    speeds = {"rate": 1 / step, "upload": up, "download": down or up}
    return MemberView(id=MemberId(f"mem_{number}"), reputation=0.5, **{**speeds, **changes})


def crowd(*steps: float, **changes: Any) -> list[MemberView]:
    return [view(number, step=step, **changes) for number, step in enumerate(steps)]


def settings(**rounds: Any) -> TrainSettings:
    table = {"first_inner_steps": 30, "last_inner_steps": 30, "growth": 0.1, **rounds}
    return from_table(
        {"name": "test", "train": {"steps": LONG_RUN}, "rounds": table}, TrainSettings, where="test"
    )


def terms_of(members: Sequence[MemberView], **rounds: Any) -> tuple[RoundTerms, Amount]:
    """The terms of a round in the middle of a long run."""
    given = settings(**rounds)
    state = TrainState(theta="0" * 64, step=LONG_RUN // 2)  # type: ignore[arg-type]
    parts = {n: [(i * PARAMETERS // n, (i + 1) * PARAMETERS // n) for i in range(n)] for n in (1, 2, 4, 8)}
    terms = choose_terms(given, state, members, parts)
    return terms, choose_amount(given.rounds, terms, members)


@dataclass(frozen=True, kw_only=True)
class Played:
    """A round as the hub's own scheduler hands it out: what everybody computes, and when everybody is done."""

    computing: list[float]
    done: list[float]

    @property
    def share(self) -> float:
        """How much of everybody's time was not computing."""
        return 1 - sum(self.computing) / len(self.computing) / max(self.done)


def play(members: Sequence[MemberView], terms: RoundTerms, amount: Amount) -> Played:
    unit = UnitFacts(
        id="u", job="j", group="g", kind="train_round", role="train", memory=0, min_reputation=0.0,
        prefers=None, excludes=frozenset(), amount=amount, deadline=NOW + 1e6, pickup_until=NOW, created=NOW,
    )  # fmt: skip
    computing, done = [], []
    for member in members:
        assert member.rate is not None
        assert member.upload is not None
        assert member.download is not None
        facts = MemberFacts(
            id=member.id, roles=frozenset({"train"}), kinds=frozenset({"train_round"}), memory=1,
            reputation=0.5, rates={"j": member.rate}, groups=frozenset(), upload=member.upload,
            download=member.download,
        )  # fmt: skip
        (offer,) = choose(facts, [unit], {}, NOW)
        computing.append(offer.amount / member.rate)
        done.append(computing[-1] + terms.bytes_up / member.upload + terms.bytes_down / member.download)
    return Played(computing=computing, done=done)


EQUAL = (1.0, 1.0, 1.0, 1.0)


@pytest.mark.parametrize(
    "steps",
    [EQUAL, (1.0, 1.0, 1.0, 10.0), (0.5, 1.0, 1.0, 1.0), (0.5, 1.0, 2.0), (1.0, 1.0, 6.0, 10.0, 0.5)],
)
def test_the_planned_share_is_what_a_round_of_unequal_machines_has(steps: Sequence[float]) -> None:
    """The time that a round computes is the median machine's: one slow machine makes it no longer."""
    members = crowd(*steps)
    terms, amount = terms_of(members)
    assert terms.share is not None
    assert play(members, terms, amount).share == pytest.approx(terms.share, abs=0.01)
    assert f"{terms.share:.1%}" in terms.reason


def test_a_machine_ten_times_slower_does_not_change_how_all_communicate() -> None:
    alike, mixed = terms_of(crowd(*EQUAL))[0], terms_of(crowd(1.0, 1.0, 1.0, 10.0))[0]
    assert mixed.codec_up == alike.codec_up == "int2"
    assert mixed.share == pytest.approx(alike.share)


def test_a_round_of_set_seconds_is_planned_with_those() -> None:
    """H then only bounds what is asked for; a longer one would not make the round longer."""
    members = crowd(*EQUAL)
    long, _ = terms_of(members, seconds=600.0)
    short, amount = terms_of(members, seconds=30.0)
    assert long.codec_up == "int4"
    assert short.codec_up != "int4"
    assert long.inner_steps == short.inner_steps == 30
    assert amount.target_seconds == 30.0
    assert short.share == pytest.approx(play(members, short, amount).share, abs=0.01)


def test_a_round_that_carries_a_fragment_is_planned_with_its_bytes() -> None:
    members = crowd(*EQUAL)
    terms, amount = terms_of(members, fragments=4)
    assert terms.bytes_up < 0.3 * PARAMETERS
    assert terms.share == pytest.approx(play(members, terms, amount).share, abs=0.01)


def test_before_anything_is_measured_nothing_is_planned() -> None:
    members = [view(0, rate=None), view(1, up=None)]
    terms, _ = terms_of(members)
    assert (terms.share, terms.codec_up) == (None, RoundSettings().codec_up)


LINKS = [
    (1e6, 1e6, 1e6, 5e5),
    (1e6, 1e6, 1e6, 3e6),
    (2e6, 1e6, 5e5),
    (1e6, 1e6, 1e6, 1e6, 2.5e5),
]


@pytest.mark.parametrize("links", LINKS)
def test_members_behind_unequal_links_are_done_together(links: Sequence[float]) -> None:
    """Whoever moves its bytes for longer computes for less: nobody waits for a slow link."""
    members = [view(number, step=0.01, up=up) for number, up in enumerate(links)]
    terms, amount = terms_of(members, seconds=30.0)
    played = play(members, terms, replace(amount, most=10**6))
    assert max(played.done) - min(played.done) < 0.05
    by_link = [computed for _, computed in sorted(zip(links, played.computing, strict=True))]
    assert by_link == sorted(by_link)
    assert by_link[0] < by_link[-1]
    assert played.share == pytest.approx(terms.share, abs=0.01)


def test_a_link_shortens_no_computing_below_a_quarter() -> None:
    members = [*crowd(0.01, 0.01, 0.01), view(3, step=0.01, up=2e4)]
    terms, amount = terms_of(members, seconds=30.0)
    assert play(members, terms, replace(amount, most=10**6)).computing[3] == pytest.approx(30.0 / 4)


HOPELESS = [0.0016, 1.0, 1e3]


@pytest.mark.parametrize("link", HOPELESS)
@pytest.mark.parametrize("others", [1, 3])
def test_one_hopeless_link_changes_nothing_for_the_others(link: float, others: int) -> None:
    """Neither the codec, nor H, nor how long a round waits, whether the member is so slow or only seems so."""
    honest = crowd(*(1.0,) * others)
    usual, amount = terms_of(honest)
    with_it = [*honest, view(9, up=link)]
    terms, with_amount = terms_of(with_it)
    assert (terms.codec_up, terms.inner_steps) == (usual.codec_up, usual.inner_steps)
    assert with_amount.target_seconds == amount.target_seconds
    assert deadline_after(with_amount, with_it) == pytest.approx(deadline_after(amount, honest))


@settings_of_hypothesis(max_examples=60)
@given(
    honest=st.lists(st.floats(1e5, 1e7), min_size=2, max_size=6),
    claimed=st.floats(1e-3, 1e11),
)
def test_whatever_the_link_of_one_the_deadline_stays_near_the_medians(
    honest: list[float], claimed: float
) -> None:
    members = [view(number, up=up) for number, up in enumerate([*honest, claimed])]
    _, amount = terms_of(members)
    median = amount.transfer_seconds
    most = 1.5 * amount.target_seconds + 2 * max(LATE_LINK * median, amount.target_seconds / 2) + 10
    assert deadline_after(amount, members) <= most + 1e-6


def test_of_too_many_members_those_who_get_most_done_are_worth_most() -> None:
    """A fast machine behind a slow link gets less done than a slower one behind a good link."""
    _, amount = terms_of(crowd(*EQUAL))
    good, behind, hopeless, new = (
        view(0),
        view(1, step=0.9, up=3e5),
        view(2, step=0.1, up=1.0),
        view(3, rate=None),
    )
    ranked = sorted([good, behind, hopeless, new], key=lambda m: -worth(m, amount))
    assert [m.id for m in ranked] == ["mem_0", "mem_1", "mem_3", "mem_2"]
