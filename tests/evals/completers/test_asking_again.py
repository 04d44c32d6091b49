from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from commonweal.core.openai_words import message_of
from commonweal.evals.completers.concurrency import Gate, Limit, observed
from commonweal.evals.completers.faults import fault_of, retry_after
from commonweal.evals.completers.retrying import Retries

FULL = Limit(value=64.0, ceiling=64)


@given(attempts=st.integers(1, 7), drawn=st.floats(0, 1, exclude_max=True))
def test_full_jitter_lies_between_nothing_and_the_doubled_wait(attempts: int, drawn: float) -> None:
    wait = Retries(attempts=8, first=0.5, most=10.0).wait(attempts, drawn)
    assert wait is not None
    assert 0.0 <= wait < min(10.0, 0.5 * 2 ** (attempts - 1)) or wait == drawn == 0.0


@given(after=st.floats(0, 300), drawn=st.floats(0, 1, exclude_max=True))
def test_what_the_server_asks_for_is_the_least(after: float, drawn: float) -> None:
    wait = Retries().wait(1, drawn, after)
    assert wait is not None
    assert after <= wait <= after * 1.1 + 0.1


def test_nobody_waits_beyond_the_limits() -> None:
    assert Retries(attempts=3).wait(3, 0.5) is None
    assert Retries(patience=10.0).wait(1, 0.5, 11.0) is None


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "3"}, 3.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        ({"retry-after": "Thu, 01 Jan 1970 00:01:00 GMT"}, 50.0),
        ({"retry-after": "Thu, 01 Jan 1970 00:00:01 GMT"}, 0.0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "1e999"}, None),
        ({}, None),
    ],
)
def test_retry_after_in_all_its_forms(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(headers, now=10.0) == seconds


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (
            b'{"error": {"message": "too long", "code": "context_length_exceeded"}}',
            "too long (context_length_exceeded)",
        ),
        (b'{"error": "plain"}', "plain"),
        (b'{"detail": "Not Found"}', "Not Found"),
        (b'{"object": "error", "message": "vllm"}', "vllm"),
        (b'{"detail": [{"loc": ["body"]}]}', '[{"loc": ["body"]}]'),
        (b"<html><h1>502</h1>Bad  Gateway</html>", "502 Bad Gateway"),
        (b"\xff", "�"),
        (b"", ""),
    ],
)
def test_the_servers_words_are_found(body: bytes, said: str) -> None:
    assert message_of(body) == said


@given(status=st.integers(201, 599), body=st.binary(max_size=200))
def test_any_answer_is_some_fault(status: int, body: bytes) -> None:
    fault = fault_of(status, {}, body, now=0.0)
    assert fault.message.startswith(str(status))
    if fault.again:
        assert status >= 500 or status in (408, 409, 425, 429)


def test_overload_halves_once_a_burst() -> None:
    limit = observed(FULL, began=0.0, ended=1.0, overload=True, answered=False)
    assert limit.value == 32.0
    again = observed(limit, began=0.5, ended=1.1, overload=True, answered=False)
    assert again.value == 32.0
    assert observed(again, began=1.2, ended=2.0, overload=True, answered=False).value == 16.0


def test_a_round_of_answers_adds_one() -> None:
    limit = replace(FULL, value=8.0)
    for i in range(8):
        limit = observed(limit, began=float(i), ended=i + 0.1)
    assert limit.value == pytest.approx(9.0, abs=0.1)


def test_growing_latency_shrinks_the_limit_and_a_steady_one_does_not() -> None:
    limit, now = FULL, 0.0
    for _ in range(640):
        limit, now = observed(limit, began=now, ended=now + 0.05), now + 0.01
    assert limit.value == 64.0
    for _ in range(64):
        limit, now = observed(limit, began=now, ended=now + 0.5), now + 0.5
    assert limit.value < 64.0


def test_longer_answers_are_not_congestion_for_ever() -> None:
    limit, now = replace(FULL, best=0.05), 0.0
    for _ in range(64 * 120):
        limit, now = observed(limit, began=now, ended=now + 0.5), now + 0.6
    assert limit.value > 40.0


@given(
    st.lists(st.tuples(st.floats(0, 10), st.floats(0, 5), st.booleans(), st.booleans()), max_size=200),
    st.integers(1, 100),
)
def test_the_limit_stays_between_one_and_the_ceiling(
    events: list[tuple[float, float, bool, bool]], ceiling: int
) -> None:
    limit = Limit(value=float(ceiling), ceiling=ceiling)
    for began, took, overload, answered in events:
        limit = observed(limit, began=began, ended=began + took, overload=overload, answered=answered)
        assert 1.0 <= limit.value <= ceiling


def test_a_server_with_four_places_is_found() -> None:
    """A simulated server refuses what is more than four at once; the limit settles near it."""
    limit, now, seen = replace(FULL, value=64.0), 0.0, []
    for _ in range(300):
        at_once = int(limit.value)
        for place in range(at_once):
            limit = observed(limit, began=now, ended=now + 1, overload=place >= 4, answered=place < 4)
        now += 1.001
        seen.append(at_once)
    assert max(seen[20:]) <= 5
    assert sum(seen[20:]) / len(seen[20:]) > 2.5


def test_the_gate_lets_through_in_order_and_no_more() -> None:
    async def run() -> list[int]:
        gate, order = Gate(2), []

        async def pass_through(i: int) -> None:
            await gate.enter()
            assert gate.active <= 2
            order.append(i)
            await asyncio.sleep(0)
            gate.leave()

        await asyncio.gather(*map(pass_through, range(20)))
        assert gate.active == 0
        return order

    assert asyncio.run(run()) == list(range(20))


def test_a_lowered_gate_holds_until_enough_have_left() -> None:
    async def run() -> None:
        gate = Gate(4)
        for _ in range(4):
            await gate.enter()
        gate.observe(began=0.0, ended=1.0, overload=True, answered=False)
        waiting = asyncio.create_task(gate.enter())
        for expected in (False, False, True):
            gate.leave()
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            assert waiting.done() is expected
        assert gate.active == 2

    asyncio.run(run())


def test_a_waiter_that_is_cancelled_gives_its_place_back() -> None:
    async def run() -> None:
        gate = Gate(1)
        await gate.enter()
        first, second = asyncio.create_task(gate.enter()), asyncio.create_task(gate.enter())
        await asyncio.sleep(0)
        gate.leave()  # the place is given to the first, who is cancelled before it runs
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        await second
        assert gate.active == 1

    asyncio.run(run())
