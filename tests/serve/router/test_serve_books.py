"""The books with a real ledger: exact under a thousand asks at once, lost workers, killed processes, and retries."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from random import Random
from typing import Any

import pytest
import sqlalchemy as sa
from serving_hub import RICH, credit, exact, member, prepare, rows, running_hub, served
from test_serve_tab import bill

from commonweal.core.database import Database
from commonweal.core.errors import CommonwealError, InsufficientCredits, Unavailable
from commonweal.ledger.accounts import AccountId, balance
from commonweal.ledger.escrow import EscrowPolicy
from commonweal.serve.billing.books import BookOptions, Books
from commonweal.serve.billing.schema import tabs
from commonweal.serve.billing.settlement import release_abandoned
from commonweal.serve.worker.engine import MockEngine

PEOPLE = {f"user-{number}": 10**9 for number in range(7)} | {"poor": 300, "nothing": 0}


def books(database: Database, hub: str = "hub-1", **options: Any) -> Books:
    return Books(database, time.time, hub, BookOptions(**options))


def test_a_thousand_asks_at_once_with_workers_killed(database: Database, tmp_path: Path) -> None:
    prepare(database, credits=PEOPLE)
    random = Random(7)

    async def main() -> None:
        outcomes: dict[str, int] = {}
        async with running_hub(database) as hub:
            names = list(PEOPLE)

            async def one(number: int) -> None:
                ask = hub.ask(f"ask {number}", account=random.choice(names), max_tokens=random.randint(1, 12))
                cut = random.randint(0, 10) if random.random() < 0.2 else None
                events: Any = hub.serving.counter.stream(ask)
                try:
                    seen = 0
                    async for _ in events:
                        seen += 1
                        if cut is not None and seen > cut:
                            break
                    outcome = "answered"
                except CommonwealError as error:
                    outcome = error.code
                finally:
                    await events.aclose()
                outcomes[outcome] = outcomes.get(outcome, 0) + 1

            async def lives(name: str) -> None:
                """A worker that is killed again and again."""
                for life in range(100):
                    engine = MockEngine(delay=0.001)
                    async with member(
                        hub, tmp_path, served(), name=f"{name}-{life}", engine=engine, slots=64, wait=False
                    ) as alive:
                        await asyncio.sleep(random.uniform(0.1, 0.4))
                        await alive.kill()

            steady = member(hub, tmp_path, served(), name="steady", slots=64)
            async with steady:
                killing = [asyncio.create_task(lives(f"mortal{i}")) for i in range(3)]
                await asyncio.gather(*(one(number) for number in range(1000)))
                for task in killing:
                    task.cancel()
                await asyncio.gather(*killing, return_exceptions=True)
        assert sum(outcomes.values()) == 1000
        assert outcomes["answered"] > 400
        assert outcomes["insufficient_credits"] > 50
        assert set(outcomes) <= {
            "answered",
            "insufficient_credits",
            "worker_lost",
            "overloaded",
            "unavailable",
        }

    asyncio.run(main())
    exact(database, start=PEOPLE)
    with database.transaction() as connection:
        assert connection.execute(sa.select(tabs)).all() == []
    paid = sum(row.microcredits for row in rows(database))
    members = {f"member:{row.member}" for row in rows(database) if row.microcredits}
    assert sum(credit(database, name) for name in members) + credit(database, "hub") == paid


def test_an_account_is_never_overdrawn(database: Database) -> None:
    prepare(database, credits={"alice": 1000})

    async def main() -> None:
        mine, other = books(database, chunk=100), books(database, "hub-2", chunk=100)
        got = await asyncio.gather(
            *(each.reserve("alice", 90) for each in [mine, other] * 10), return_exceptions=True
        )
        good = [each for each in got if not isinstance(each, BaseException)]
        bad = [each for each in got if isinstance(each, BaseException)]
        assert bad
        assert all(isinstance(each, InsufficientCredits) for each in bad)
        assert len(good) <= 1000 // 90
        for number, reservation in enumerate(good):
            owner = mine if reservation.tab in mine._tabs.values() else other
            owner.settle(reservation, bill(f"a-{number}", 90))
        for each in (mine, other):
            await each.close()

    asyncio.run(main())
    exact(database, start={"alice": 1000})


def test_idle_tabs_are_given_back(database: Database) -> None:
    prepare(database, credits={"alice": 10**7})

    async def main() -> None:
        mine = books(database, idle=0.0, chunk=1000)
        mine.settle(await mine.reserve("alice", 100), bill("a", 60))
        with database.transaction() as connection:
            assert balance(connection, AccountId("alice")).held == 1000
        await mine.flush()
        await mine.flush()
        with database.transaction() as connection:
            assert balance(connection, AccountId("alice")).held == 0
        assert mine.state()["tabs"] == 0
        mine.settle(await mine.reserve("alice", 100), bill("b", 40))
        await mine.close()

    asyncio.run(main())
    assert exact(database, start={"alice": 10**7}) == {"alice": 10**7 - 100}


def test_a_settlement_that_fails_is_repeated_and_counts_once(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare(database, credits={"alice": 10**7})

    async def main() -> None:
        mine = books(database, chunk=1000)
        mine.settle(await mine.reserve("alice", 100), bill("a", 60))
        write, fail = mine._write, iter([True, True, False])

        def flaky(batch: Any) -> Any:
            written = write(batch)
            if next(fail):
                raise Unavailable("the answer was lost after the commit")
            return written

        monkeypatch.setattr(mine, "_write", flaky)
        for _ in range(2):
            with pytest.raises(Unavailable):
                await mine.flush()
        mine.settle(await mine.reserve("alice", 100), bill("b", 40))
        await mine.flush()
        monkeypatch.undo()
        await mine.close()

    asyncio.run(main())
    assert exact(database, start={"alice": 10**7}) == {"alice": 10**7 - 100}
    assert [row.ask for row in rows(database)] == ["a", "b"]


def test_a_process_taken_for_dead_still_pays_what_it_owes(database: Database) -> None:
    prepare(database, credits={"alice": 1000})

    async def main() -> None:
        mine = books(database, "hub-dead", chunk=500)
        first, second = await mine.reserve("alice", 100), await mine.reserve("alice", 400)
        with database.transaction() as connection:
            assert release_abandoned(connection, silent=-1.0, now=time.time() + 10) == 1
            assert balance(connection, AccountId("alice")).available == 1000
            assert release_abandoned(connection, silent=-1.0, now=time.time() + 10) == 0
        mine.settle(first, bill("a", 100))
        await mine.flush()
        mine.settle(second, bill("b", 400))
        await mine.close()

    asyncio.run(main())
    assert exact(database, start={"alice": 1000}) == {"alice": 500}


def test_what_cannot_be_paid_any_more_is_written_off_in_the_usage(database: Database) -> None:
    prepare(database, credits={"alice": 1000})

    async def main() -> None:
        mine, other = books(database, "hub-dead", chunk=800), books(database, "hub-2", chunk=900)
        reservation = await mine.reserve("alice", 800)
        with database.transaction() as connection:
            release_abandoned(connection, silent=-1.0, now=time.time() + 10)
        other.settle(await other.reserve("alice", 900), bill("b", 900))
        await other.close()
        mine.settle(reservation, bill("a", 800))
        await mine.close()

    asyncio.run(main())
    assert exact(database, start={"alice": 1000}) == {"alice": 100}
    assert {row.ask: row.microcredits for row in rows(database) if row.outcome != "unpaid"} == {
        "a": 800,
        "b": 900,
    }
    assert [row.microcredits for row in rows(database) if row.outcome == "unpaid"] == [-800]


def test_the_earnings_of_new_members_wait(database: Database) -> None:
    prepare(database, credits={"alice": RICH})

    async def main() -> None:
        mine = Books(
            database,
            time.time,
            "hub-1",
            BookOptions(fee=0, policy=EscrowPolicy(share=0.5, units=3)),
            standing=lambda connection, names: dict.fromkeys(names, 0),
        )
        mine.settle(await mine.reserve("alice", 100), bill("a", 100))
        await mine.close()

    asyncio.run(main())
    with database.transaction() as connection:
        earned = balance(connection, AccountId("member:a"))
    assert (earned.available, earned.escrow) == (50, 50)


def test_a_killed_process_loses_no_credits(database: Database, database_url: str, tmp_path: Path) -> None:
    prepare(database, credits=PEOPLE)
    script = Path(__file__).with_name("books_process.py")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(script.parent), *sys.path])}
    for seed in range(2):
        with subprocess.Popen(
            [sys.executable, script, database_url, f"hub-{seed}"],
            stdout=subprocess.PIPE,
            env=environment,
            text=True,
        ) as process:
            assert process.stdout is not None
            lines = iter(process.stdout.readline, "")
            for _ in range(3 + seed):
                assert next(lines).startswith("settled")
            process.send_signal(signal.SIGKILL)
            process.wait(10)
    with database.transaction() as connection:
        held = sum(balance(connection, AccountId(name)).held for name in PEOPLE)
        assert held > 0
        assert release_abandoned(connection, silent=0.0, now=time.time() + 1) >= 1
    exact(database, start=PEOPLE)
    assert len(rows(database)) > 100
