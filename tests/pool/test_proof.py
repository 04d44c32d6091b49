"""The proof of the books: cheap to ask for, honest about what it holds for, and never blind for long."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
import sqlalchemy as sa

from commonweal.core.clock import ManualClock
from commonweal.core.database import Database
from commonweal.core.errors import Unavailable
from commonweal.ledger.audit import Verification
from commonweal.ledger.chain import Head
from commonweal.pool.proof import KEPT_SECONDS, Proof, Prover


class Replays:
    """Books that grow by a journal with each replay, which takes ``seconds`` of an invented clock."""

    def __init__(self, clock: ManualClock, seconds: float = 0.0) -> None:
        self._clock, self._seconds = clock, seconds
        self.number = 0
        self.away = False
        self.gate = threading.Event()
        self.gate.set()

    def __call__(self) -> Verification:
        self.number += 1
        number = self.number
        assert self.gate.wait(20)
        self._clock.sleep(self._seconds)
        if self.away:
            raise Unavailable("the database is away")
        head = Head(position=number, seal=f"{number:064}")
        return Verification(
            ok=True, journals=number, unsealed=0, accounts=1, issued=0, head=head, problems=()
        )


def positions(proofs: list[Proof]) -> list[int]:
    return [proof.found.head.position for proof in proofs]


def test_who_asks_soon_after_another_gets_the_same_answer() -> None:
    async def ask() -> list[Proof]:
        clock = ManualClock(1000.0)
        prover = Prover(Replays(clock), clock)
        first = await prover.prove()
        clock.sleep(KEPT_SECONDS - 1)
        second = await prover.prove()
        clock.sleep(2)
        return [first, second, await prover.prove()]

    proofs = asyncio.run(ask())
    assert positions(proofs) == [1, 1, 2]
    assert [proof.at for proof in proofs] == [1000.0, 1000.0, 1000.0 + KEPT_SECONDS + 1]


def test_an_answer_that_cost_much_is_kept_for_longer() -> None:
    quick = Proof(found=Replays(ManualClock())(), at=0.0, seconds=0.1)
    slow = Proof(found=quick.found, at=0.0, seconds=100.0)
    assert quick.holds(KEPT_SECONDS)
    assert not quick.holds(KEPT_SECONDS + 1)
    assert slow.holds(20 * 100.0)
    assert not slow.holds(22 * 100.0)
    assert not slow.holds(-1.0), "the clock was set back"


def test_the_operator_has_it_done_anew_and_the_others_get_that() -> None:
    async def ask() -> list[Proof]:
        clock = ManualClock()
        prover = Prover(Replays(clock), clock)
        return [await prover.prove(), await prover.prove(anew=True), await prover.prove()]

    assert positions(asyncio.run(ask())) == [1, 2, 2]


def test_there_is_one_replay_at_a_time_and_those_who_wait_share_it() -> None:
    async def ask() -> tuple[list[Proof], int]:
        clock = ManualClock()
        replays = Replays(clock)
        replays.gate.clear()
        prover = Prover(replays, clock)
        waiting = [asyncio.create_task(prover.prove(anew=number % 2 == 0)) for number in range(50)]
        await asyncio.sleep(0)
        waiting.pop(0).cancel()
        await asyncio.sleep(0)
        replays.gate.set()
        return await asyncio.gather(*waiting), replays.number

    proofs, number = asyncio.run(ask())
    assert positions(proofs) == [1] * 49, "also for those who wait longer than the first did"
    assert number == 1


def test_a_replay_that_failed_is_nobodys_answer() -> None:
    async def ask() -> Proof:
        clock = ManualClock()
        replays = Replays(clock)
        prover = Prover(replays, clock)
        replays.away = True
        failed = await asyncio.gather(*(prover.prove() for _ in range(3)), return_exceptions=True)
        assert [type(error) for error in failed] == [Unavailable] * 3
        replays.away = False
        return await prover.prove()

    assert asyncio.run(ask()).found.head.position == 2


def corrupt(database: Database) -> None:
    with database.transaction() as connection:
        connection.execute(sa.text("set local session_replication_role = replica"))
        connection.execute(
            sa.text("update ledger_journals set memo = 'never said' where key = 'first-issue'")
        )


@pytest.fixture
def member(hub: Any) -> Any:
    return hub.member().client


def test_many_who_ask_cost_one_replay_and_are_told_of_which_journals(hub: Any, member: Any) -> None:
    first = member.post("/credits/verify").json()
    grant = {"account": "operator", "microcredits": 1, "request_id": "request-grant"}
    assert hub.admin.post("/credits/grant", json=grant).status_code == 201
    for _ in range(20):
        assert member.post("/credits/verify").json() == first
    later = hub.admin.post("/credits/verify").json()
    assert (first["position"], later["position"]) == (1, 2)
    assert later["at"] > first["at"] > 0
    assert member.post("/credits/verify").json() == later


def test_books_that_are_corrupted_after_they_were_proven_are_found(
    hub: Any, member: Any, database: Database
) -> None:
    assert member.post("/credits/verify").json()["ok"]
    corrupt(database)
    told = hub.admin.post("/credits/verify").json()
    assert not told["ok"]
    assert "changed after it was written" in told["problems"][0]
    assert member.post("/credits/verify").json() == told, "and then everybody is told"


def test_no_key_but_the_operators_is_needed_to_find_it_later(
    hub: Any, member: Any, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert member.post("/credits/verify").json()["ok"]
    corrupt(database)
    monkeypatch.setattr(Proof, "holds", lambda proof, now: False)
    assert not member.post("/credits/verify").json()["ok"]
