"""A curve of any length stays short, keeps its ends, and loses no held-out loss that it could tell."""

from __future__ import annotations

from itertools import pairwise

from commonweal.train.curve import Point, point_of, thinned


def point(number: int, held_out: float | None = None) -> Point:
    told = {"step": 10 * number, "tokens": 100 * number, "loss": 2.0, "held_out_loss": held_out}
    return point_of(number, float(number), told, members=3, refused=1)


def test_a_point_is_what_the_record_says() -> None:
    record = {
        "step": 40,
        "tokens": 900,
        "loss": 2.5,
        "held_out_loss": None,
        "bits_per_byte": None,
        "stragglers": 2,
        "up_bytes": 10,
        "down_bytes": 20,
        "allreduce_bytes": 3000,
    }
    made = point_of(7, 1.5, record, members=4, refused=1)
    assert (made.number, made.at, made.step, made.tokens, made.loss) == (7, 1.5, 40, 900, 2.5)
    assert (made.accepted, made.refused, made.missing) == (3, 1, 2)
    assert (made.moved, made.reference) == (30, 3000)
    assert point_of(0, 0.0, {}, members=0, refused=0).loss is None, "a record of another release lacks fields"


def test_a_long_curve_is_thinned_evenly_and_the_latest_rounds_are_all_there() -> None:
    points = thinned([point(n) for n in range(10_000)], most=500, latest=100)
    numbers = [one.number for one in points]
    assert len(numbers) <= 500
    assert numbers[-100:] == list(range(9900, 10_000))
    assert numbers == sorted(numbers)
    assert {b - a for a, b in pairwise(numbers[:-100])} == {64}
    assert numbers[0] == 0


def test_a_held_out_loss_moves_on_to_the_point_that_stays() -> None:
    points = thinned([point(n, held_out=n + 0.5 if n % 10 == 5 else None) for n in range(400)], 280, 100)
    assert len(points) < 280
    told = [one.held_out for one in points if one.held_out is not None]
    assert set(told) >= {n + 0.5 for n in range(5, 295, 10)}
    assert told == sorted(told)


def test_a_curve_that_grows_by_one_stays_short_and_reaches_back_to_the_first_rounds() -> None:
    points: list[Point] = []
    for n in range(20_000):
        points = list(thinned([*points, point(n)], most=300, latest=50))
    numbers = [one.number for one in points]
    assert len(numbers) <= 300
    assert numbers[-50:] == list(range(19_950, 20_000))
    assert numbers[0] == 0
    assert max(b - a for a, b in pairwise(numbers)) <= 256


def test_a_short_curve_stays_as_it_is() -> None:
    points = [point(n) for n in range(50)]
    assert thinned(points, most=50) is points
    assert len(thinned(points, most=10, latest=200)) == 50, "the latest are never thinned"
