"""What lending costs the database, and what a member may rely on when many ask at once."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from sqlalchemy.engine.interfaces import CacheStats

from commonweal.core.database import Database
from commonweal.core.ids import MemberId
from commonweal.core.work import Amount, Needs, WorkUnit
from commonweal.pool import leases, wire
from commonweal.pool.access import identify, issue_key
from commonweal.pool.api.work import seen
from commonweal.pool.schema import jobs, members, rates, units

WAITING = 100
AMOUNT = Amount(least=1, most=100, first=10, target_seconds=30)


@contextmanager
def counted(database: Database) -> Iterator[list[str]]:
    """The statements that are sent meanwhile."""
    sent: list[str] = []

    def note(_c: Any, _u: Any, statement: str, *_: Any) -> None:
        sent.append(statement)

    sa.event.listen(database.engine, "before_cursor_execute", note)
    try:
        yield sent
    finally:
        sa.event.remove(database.engine, "before_cursor_execute", note)


def request(number: int = 0, **changes: Any) -> wire.LeaseRequest:
    body = {
        "roles": ["train"],
        "kinds": ["count"],
        "wait": 0,
        "free_memory": 2**30,
        "request_id": f"request-{number}",
    }
    return wire.LeaseRequest.model_validate(body | changes)


def enter(connection: sa.Connection, job: str, number: int, **unit: Any) -> None:
    connection.execute(
        jobs.insert().values(
            id=job, kind="count", name=job, owner="operator", status="running", spec={}, state={}, keeps=[],
            spec_blobs=[], created=0, updated=0, request_id=job,
        )
    )  # fmt: skip
    planned = tuple(
        WorkUnit(key=f"k{i:05}", kind="count", payload={}, amount=AMOUNT, **unit) for i in range(number)
    )
    leases.enqueue(connection, job, planned, deadline=1e10, pickup_seconds=5, now=1000.0)


def join(connection: sa.Connection, name: str) -> MemberId:
    connection.execute(
        members.insert().values(
            id=name,
            name=name,
            client_version="1",
            roles=["train"],
            platform={},
            joined=0,
            last_seen=0,
            request_id=name,
        )
    )
    return MemberId(name)


def lend(connection: sa.Connection, member: MemberId, number: int = 0, **changes: Any) -> wire.Lease | None:
    return leases.lease(connection, member, request(number, **changes), ttl=30, now=1000.0)


def test_an_idle_poll_is_a_handful_of_statements(start_hub: Callable[..., Any], database: Database) -> None:
    hub = start_hub(fold=False)
    member = hub.member()
    with database.transaction() as connection:
        enter(connection, "job_others", 300, prefers="somebody-else")
    member.lease(wait=0)
    with counted(database) as sent:
        assert member.lease(wait=0) is None
    assert len(sent) <= 4, sent
    assert not any("for update" in s.lower() or "for no key update" in s.lower() for s in sent)


def test_an_idle_poll_builds_and_compiles_no_statement(database: Database) -> None:
    """That costs many times what PostgreSQL takes to answer. Polls that differ in everything send the same objects."""
    polls: list[list[Any]] = []
    compiled: list[str] = []

    def note(_c: Any, statement: Any, *_: Any) -> None:
        polls[-1].append(statement)

    def note_miss(_c: Any, _u: Any, statement: str, _p: Any, context: Any, *_: Any) -> None:
        if len(polls) > 1 and context.cache_hit is not CacheStats.CACHE_HIT:
            compiled.append(statement)

    with database.transaction() as connection:
        me = join(connection, "me")
        secret = issue_key(connection, role="member", owner=f"member:{me}", label="", now=0.0)
        sa.event.listen(connection, "before_execute", note)
        sa.event.listen(connection, "before_cursor_execute", note_miss)
        for number in range(3):
            polls.append([])
            assert identify(connection, secret).member == me
            asked = {
                "roles": ["train", "score"][: 1 + number % 2],
                "kinds": [f"kind-{i}" for i in range(number)],
                "free_memory": number,
            }
            assert lend(connection, me, number, **asked) is None
            seen(connection, me, state="idle", now=1000.0 + number, free_memory=number or None)
    assert len(polls[0]) == 4
    assert [list(map(id, poll)) for poll in polls[1:]] == [list(map(id, polls[0]))] * 2
    assert not compiled


def test_planning_many_units_is_a_few_statements(database: Database) -> None:
    with database.transaction() as connection, counted(database) as sent:
        enter(connection, "j", 500)
    assert len(sent) <= 5


def test_the_queries_of_a_poll_use_the_indexes(database: Database) -> None:
    """With a long history the plan must not read all units."""
    with database.transaction() as connection:
        enter(connection, "open", 50)
        enter(connection, "old", 3000)
        connection.execute(units.update().where(units.c.job == "old").values(status="folded", member="m"))
        me = join(connection, "me")
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(sa.text("vacuum analyze units"))
    plans: list[str] = []
    with database.transaction() as connection:

        def explain(c: sa.Connection, _u: Any, statement: str, parameters: Any, *_: Any) -> None:
            if statement.lstrip().lower().startswith("select") and "units" in statement:
                cursor = c.connection.cursor()
                cursor.execute("explain " + statement, parameters)
                plans.append("\n".join(row[0] for row in cursor.fetchall()))

        sa.event.listen(connection, "before_cursor_execute", explain)
        assert lend(connection, me) is not None
    assert len(plans) >= 4
    assert not [plan for plan in plans if "Seq Scan on units" in plan]


def test_neither_many_units_nor_impossible_ones_hide_what_is_behind_them(database: Database) -> None:
    with database.transaction() as connection:
        me = join(connection, "me")
        enter(connection, "huge", 100, needs=Needs(memory_bytes=2**40))
        enter(connection, "trusted", 100, needs=Needs(min_reputation=0.9))
        enter(connection, "other-kind", 100, excludes=("me",))
        enter(connection, "for-another-role", 100, needs=Needs(role="generate"))
        enter(connection, "possible", 1)
        lease = lend(connection, me)
    assert lease is not None
    assert lease.job == "possible"


def test_a_group_is_one_unit_each_even_when_asked_for_at_once(database: Database) -> None:
    with database.transaction() as connection:
        me = join(connection, "me")
        enter(connection, "j", 8, group="g")
    got: list[wire.Lease | None] = []

    def ask(number: int) -> None:
        with database.transaction() as connection:
            got.append(lend(connection, me, number))

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(lease is not None for lease in got) == 1


def test_one_request_sent_twice_at_once_is_one_lease(database: Database) -> None:
    with database.transaction() as connection:
        me = join(connection, "me")
        enter(connection, "j", 8)
    got: list[wire.Lease | None] = []

    def ask() -> None:
        with database.transaction() as connection:
            got.append(lend(connection, me))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(got) == 8
    assert len({(lease.unit, lease.fence) for lease in got if lease is not None}) == 1


def test_a_repeated_request_says_what_time_is_left(database: Database) -> None:
    with database.transaction() as connection:
        me = join(connection, "me")
        enter(connection, "j", 1)
        first = lend(connection, me)
        again = leases.lease(connection, me, request(), ttl=30, now=1010.0)
    assert first is not None
    assert again is not None
    assert first.seconds == pytest.approx(36)
    assert again.seconds == pytest.approx(26)


def test_speeds_are_measured_within_reason(database: Database) -> None:
    """Neither a tiny time nor a huge amount makes a member infinitely fast: planners divide by it."""
    with database.transaction() as connection:
        me = join(connection, "me")
        enter(connection, "j", 1)
        lease = lend(connection, me)
        assert lease is not None
        body = {"fence": lease.fence, "amount_done": 2**53, "seconds": 5e-324, "report": {}}
        leases.submit(connection, me, lease.unit, wire.Submit.model_validate(body), now=1001.0)
        assert connection.execute(sa.select(rates.c.rate)).scalar() == pytest.approx(10 / 1e-3)


def test_a_speed_from_long_ago_is_forgotten(database: Database) -> None:
    """A machine that slept in the middle of a unit was measured as hopelessly slow: it gets another chance."""
    with database.transaction() as connection:
        me = join(connection, "me")
        enter(connection, "j", 2)
        connection.execute(rates.insert().values(member="me", job="j", rate=1e-12, samples=1, measured=999.0))
        assert lend(connection, me) is None
        connection.execute(rates.update().values(measured=1000.0 - leases.RATE_IS_GOOD_FOR - 1))
        lease = lend(connection, me)
    assert lease is not None
    assert lease.amount == AMOUNT.first


def test_waiting_is_free_and_a_unit_wakes_one(start_hub: Callable[..., Any], database: Database) -> None:
    hub = start_hub(fold=False)
    authorizations = [hub.member(f"w{i}").client.headers["Authorization"] for i in range(4)]
    statuses: list[int] = []
    thread = threading.Thread(
        target=lambda: statuses.extend(asyncio.run(_wait_for_work(hub.url, authorizations)))
    )
    thread.start()
    with counted(database) as sent:
        _until_quiet(sent)
        polled = len(sent)
        with database.transaction() as connection:
            enter(connection, "few", 5)
        _until_quiet(sent)
        woken = len(sent) - polled
        with database.transaction() as connection:
            enter(connection, "rest", WAITING - 5)
        thread.join(60)
    assert statuses == [200] * WAITING
    assert polled <= WAITING * 5
    assert woken <= 5 * 40, "five units woke more than five members"


async def _wait_for_work(url: str, authorizations: list[str]) -> list[int]:
    async with httpx.AsyncClient(base_url=url, timeout=60, limits=httpx.Limits(), verify=False) as client:

        async def one(number: int) -> int:
            body = request(number, wait=25).model_dump()
            headers = {"Authorization": authorizations[number % len(authorizations)]}
            return (await client.post("/pool/v1/lease", json=body, headers=headers)).status_code

        return list(await asyncio.gather(*(one(number) for number in range(WAITING))))


def _until_quiet(sent: list[str]) -> None:
    """Until nothing has been sent to the database for a while, having been sent something."""
    quiet, last = 0, 0
    while quiet < 5:
        time.sleep(0.1)
        quiet, last = (quiet + 1 if sent and len(sent) == last else 0), len(sent)
