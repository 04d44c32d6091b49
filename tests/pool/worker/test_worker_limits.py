"""When a machine may work: the flags' words, and the decision."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from commonweal.core.errors import UserError
from commonweal.pool.worker.limits import (
    DAY,
    Conditions,
    Hours,
    Limits,
    may_work,
    parse_hours,
    parse_rate,
    parse_size,
)
from commonweal.pool.worker.options import AgentOptions
from commonweal.pool.worker.surroundings import Load, cpu_seconds, family, on_battery

NIGHT = parse_hours("22-7")


def at(
    hour: int = 12, minute: int = 0, battery: bool = False, load: float = 0.0, memory: int = 0
) -> Conditions:
    return Conditions(minute=hour * 60 + minute, on_battery=battery, others_load=load, own_memory=memory)


@pytest.mark.parametrize(
    ("limits", "conditions", "reason"),
    [
        (Limits(), at(), None),
        (Limits(hours=NIGHT), at(23), None),
        (Limits(hours=NIGHT), at(0), None),
        (Limits(hours=NIGHT), at(6, 59), None),
        (Limits(hours=NIGHT), at(7), "hours"),
        (Limits(hours=NIGHT), at(21, 59), "hours"),
        (Limits(hours=NIGHT), at(22), None),
        (Limits(hours=parse_hours("9-17")), at(9), None),
        (Limits(hours=parse_hours("9-17")), at(17), "hours"),
        (Limits(hours=parse_hours("0-24")), at(23, 59), None),
        (Limits(), at(battery=True), "battery"),
        (Limits(on_battery=True), at(battery=True), None),
        (Limits(max_load=0.5), at(load=0.5), None),
        (Limits(max_load=0.5), at(load=0.51), "load"),
        (Limits(max_load=None), at(load=1.0), None),
        (Limits(max_load=1.0), at(load=1.0), None),
        (Limits(hours=NIGHT), at(12, battery=True, load=1), "battery"),
        (Limits(), at(memory=10**15), None),
        (Limits(memory=100), at(memory=100), None),
        (Limits(memory=100), at(memory=101), "memory"),
        (Limits(memory=100, hours=NIGHT), at(12, memory=101, battery=True, load=1), "memory"),
    ],
)
def test_may_work(limits: Limits, conditions: Conditions, reason: str | None) -> None:
    pause = may_work(limits, conditions)
    assert (pause.reason if pause else None) == reason


def test_what_cannot_wait_for_the_end_of_a_unit() -> None:
    paused = [
        may_work(Limits(memory=100, hours=NIGHT), conditions)
        for conditions in (at(1, memory=101), at(1, battery=True), at(12), at(1, load=1.0))
    ]
    assert [(p.reason, p.at_once) for p in paused if p] == [
        ("memory", True),
        ("battery", True),
        ("hours", False),
        ("load", False),
    ]


def test_too_much_memory_is_told_in_numbers() -> None:
    pause = may_work(Limits(memory=4 * 10**9), at(memory=4_210_000_000))
    assert pause is not None
    assert pause.message == "it holds 4.21 GB of memory, and 4.00 GB are allowed"


def test_a_paused_machine_waits_for_a_clearly_lower_load() -> None:
    limits = Limits(max_load=0.8)
    assert may_work(limits, at(load=0.7), paused_for="load") is not None
    assert may_work(limits, at(load=0.7), paused_for="battery") is None
    assert may_work(limits, at(load=0.59), paused_for="load") is None


def test_only_the_battery_drops_a_unit_in_hand() -> None:
    limits = Limits(hours=NIGHT, max_load=0.5)
    pauses = [may_work(limits, c) for c in (at(battery=True), at(12), at(23, load=1))]
    assert [p.at_once for p in pauses if p] == [True, False, False]


def test_options_carry_the_limits() -> None:
    options = AgentOptions(hours=NIGHT, on_battery=True, max_load=0.1)
    assert options.limits == Limits(hours=NIGHT, on_battery=True, max_load=0.1)


@given(st.integers(0, DAY - 1), st.integers(0, DAY), st.integers(0, DAY - 1))
def test_hours_read_back_as_written(start: int, end: int, minute: int) -> None:
    hours = Hours(start=start, end=end)
    if start == end:
        with pytest.raises(UserError):
            parse_hours(str(hours))
        return
    assert parse_hours(str(hours)) == hours
    length = (end - start) % DAY or DAY
    assert (minute in hours) == ((minute - start) % DAY < length)


@pytest.mark.parametrize(
    "text", ["", "7", "25-7", "7-25", "22-", "8:60-9", "8:5-9", "a-b", "8-8", "24-7", "٢-٣", "1-2-3"]
)
def test_spans_that_are_none(text: str) -> None:
    with pytest.raises(UserError, match="22-7"):
        parse_hours(text)


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("8bit", 1),
        ("1kbit", 125),
        ("10 Mbit", 1.25e6),
        ("1gbit/s", 1.25e8),
        ("0.5mbit", 62500),
        ("1MiB/s", 2**20),
    ],
)
def test_rates(text: str, rate: float) -> None:
    assert parse_rate(text) == rate


@pytest.mark.parametrize(
    "text", ["", "10", "10mb", "10 MB", "-1mbit", "0mbit", "1e3mbit", "mbit", "10ibit", "1iB/s"]
)
def test_rates_that_are_none(text: str) -> None:
    with pytest.raises(UserError, match="10mbit"):
        parse_rate(text)


@pytest.mark.parametrize(
    ("text", "size"),
    [("1", 1), ("4GB", 4 * 10**9), ("4g", 4 * 10**9), ("2KiB", 2048), ("0.5 MiB", 2**19), ("1TB", 10**12)],
)
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "GB", "-4GB", "0", "4XB", "4GBB", "4iB", "1e9", "٤GB", "1" * 13])
def test_sizes_that_are_none(text: str) -> None:
    with pytest.raises(UserError, match="4GB"):
        parse_size(text)


@given(st.text(max_size=20))
def test_any_text_is_read_or_explained(text: str) -> None:
    for parse in (parse_hours, parse_rate, parse_size):
        with suppress(UserError):
            assert parse(text) is not None


@given(st.integers(1, 10**12 - 1), st.sampled_from(["", "k", "M", "G", "KiB", "MB"]))
def test_sizes_grow_with_their_unit(number: int, unit: str) -> None:
    assert parse_size(f"{number}{unit}") >= number


def test_load_is_what_others_use() -> None:
    load = Load(cores=4)
    assert load.update(0, 100, 50) == 0
    assert load.update(10, 120, 60) == pytest.approx(0.25)  # 20 s busy, 10 of them our own, of 40
    assert load.update(20, 160, 60) == pytest.approx(0.25 + (1 - 0.8007) * 0.75, abs=1e-3)
    for at_ in range(30, 1000, 10):
        last = load.update(at_, 160 + 10 * at_, 60 + 10 * at_)
    assert last == pytest.approx(0, abs=0.01)


@given(st.lists(st.tuples(st.floats(0, 100), st.floats(0, 1e6), st.floats(0, 1e6)), max_size=20))
def test_load_is_always_a_share(samples: list[tuple[float, float, float]]) -> None:
    load = Load(cores=2)
    for sample in samples:
        assert 0 <= load.update(*sample) <= 1


def test_the_machine_can_be_asked() -> None:
    busy, own = cpu_seconds(family())
    assert busy > own > 0
    assert on_battery() in (True, False)
