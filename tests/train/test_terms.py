"""What is planned of a round is what comes of it, whoever takes part."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from commonweal.core.config import from_table
from commonweal.core.ids import MemberId
from commonweal.core.work import Amount, MemberView
from commonweal.pool.scheduler import MemberFacts, UnitFacts, choose
from commonweal.train.config import RoundSettings, TrainSettings
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
    return terms, choose_amount(given.rounds, terms.inner_steps, members)


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
            reputation=0.5, rates={"j": member.rate}, groups=frozenset(),
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
