"""Schedules: warm-up and decay, H that grows and never passes the end, the outer momentum's ramp."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from commonweal.train.outer import OuterOptions
from commonweal.train.schedule import (
    OuterSchedule,
    RateOptions,
    SyncOptions,
    inner_steps,
    learning_rate,
    outer_options,
    rounds,
)

syncs = st.builds(
    lambda first, more, growth, power: SyncOptions(
        first=first, last=first + more, growth=growth, power=power
    ),
    st.integers(1, 50),
    st.integers(0, 500),
    st.floats(0.01, 1),
    st.floats(0.2, 4),
)


def test_the_rate_warms_up_linearly_and_decays_to_its_final_share() -> None:
    options = RateOptions(peak=1.0, warmup=0.1, final=0.2)
    rates = [learning_rate(step, 1000, options) for step in range(1000)]
    assert rates[49] == pytest.approx(50 / 101)
    assert max(rates) == rates[100] == 1.0
    assert rates[550] == pytest.approx(0.6)
    assert rates[-1] == pytest.approx(0.2, abs=1e-4)


@settings(deadline=None)
@given(st.integers(1, 5000), st.integers(0, 10_000))
def test_the_rate_is_positive_and_at_most_the_peak_even_past_the_end(total: int, step: int) -> None:
    assert 0 < learning_rate(step, total, RateOptions(peak=0.01)) <= 0.01


@settings(deadline=None)
@given(st.integers(1, 5000), syncs)
def test_rounds_cover_the_steps_exactly_and_only_grow(total: int, options: SyncOptions) -> None:
    plan = rounds(total, options)
    assert sum(plan) == total
    assert min(plan) >= 1
    assert plan[:-1] == sorted(plan[:-1])
    assert plan[0] == min(options.first, total)
    assert max(plan) <= options.last


@settings(deadline=None)
@given(st.integers(1, 5000), syncs)
def test_a_job_that_is_over_has_no_next_round(total: int, options: SyncOptions) -> None:
    assert inner_steps(total, total, options) == 0
    assert inner_steps(total + 7, total, options) == 0


def test_a_longer_job_needs_fewer_rounds_a_step_when_h_may_grow_further() -> None:
    short = rounds(1200, SyncOptions(first=2, last=24))
    long = rounds(12_000, SyncOptions(first=2, last=96))
    assert len(long) / 12_000 < 0.5 * len(short) / 1200


def test_a_higher_power_stays_small_for_longer() -> None:
    straight, bent = (rounds(1000, SyncOptions(first=1, last=40, power=power)) for power in (1.0, 2.0))
    assert sum(h <= 4 for h in bent) > 2 * sum(h <= 4 for h in straight)


def test_the_outer_step_begins_as_plain_averaging_and_settles() -> None:
    schedule = OuterSchedule(start=0.2, end=0.6, settled=OuterOptions(lr=0.8, momentum=0.6))
    assert outer_options(0, 100, schedule) == OuterOptions(lr=1.0, momentum=0.0)
    assert outer_options(20, 100, schedule) == OuterOptions(lr=1.0, momentum=0.0)
    halfway = outer_options(40, 100, schedule)
    assert (halfway.lr, halfway.momentum) == (pytest.approx(0.9), pytest.approx(0.3))
    assert outer_options(60, 100, schedule) == outer_options(99, 100, schedule) == schedule.settled


def test_without_a_ramp_the_settled_options_hold_from_the_start() -> None:
    assert outer_options(0, 100, OuterSchedule()) == OuterOptions()


def test_a_step_at_a_sharp_edge_is_no_division_by_zero() -> None:
    schedule = OuterSchedule(start=0.5, end=0.5)
    assert outer_options(49, 100, schedule) == OuterOptions(lr=1.0, momentum=0.0)
    assert outer_options(50, 100, schedule) == OuterOptions()


@pytest.mark.parametrize(
    "make",
    [
        lambda: RateOptions(peak=0),
        lambda: RateOptions(warmup=1),
        lambda: SyncOptions(first=0),
        lambda: SyncOptions(first=5, last=4),
        lambda: SyncOptions(growth=0),
        lambda: SyncOptions(power=0),
        lambda: OuterSchedule(start=0.5, end=0.4),
    ],
)
def test_impossible_options_are_refused(make: Any) -> None:
    with pytest.raises(ValueError, match=":"):
        make()
