"""A member that takes units of a training job, keeps its leases and hands nothing in: a hub with an invented clock."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest
import sqlalchemy as sa
from train_world import JOB, World

from commonweal.core.database import Database
from commonweal.core.ids import MemberId, new_id
from commonweal.ledger.accounts import AccountId, open_account
from commonweal.pool import accounts, leases, wire
from commonweal.pool.api.work import seen
from commonweal.pool.foreman import Foreman, ForemanOptions
from commonweal.pool.schema import jobs, members, rates, rounds
from commonweal.train.assignment import Assignment
from commonweal.train.codecs import make_codec
from commonweal.train.prepare import PreparedJob
from commonweal.train.spec import KIND, UNIT_KIND

TTL = 30.0
TICK = 2.0
SECONDS = 20.0
"""How long a round computes."""
HONEST = [MemberId("mem_a"), MemberId("mem_b"), MemberId("mem_c")]
MALLORY = MemberId("mem_m")


@dataclass
class Hub:
    """The hub's own decisions over a real database, moved on second by second."""

    database: Database
    world: World
    foreman: Foreman
    now: float = 1000.0
    held: dict[MemberId, tuple[wire.Lease, float]] = field(default_factory=dict)

    def enter(self, prepared: PreparedJob) -> None:
        state = self.world.job(prepared).start()
        with self.database.transaction() as connection:
            open_account(connection, AccountId("operator"), "user")
            connection.execute(
                jobs.insert().values(
                    id=JOB, kind=KIND, name="test", owner="operator", status="running", spec=prepared.spec,
                    state=state, keeps=[], spec_blobs=[], created=0, updated=0, request_id="job",
                )
            )  # fmt: skip

    def join(self, member: MemberId, link: float) -> None:
        with self.database.transaction() as connection:
            connection.execute(
                members.insert().values(
                    id=member, name=member, client_version="1", roles=["train"], platform={}, joined=0,
                    last_seen=0, request_id=member, upload=link, download=link,
                )
            )  # fmt: skip
            connection.execute(
                rates.insert().values(member=member, job=JOB, rate=0.2, samples=1, measured=self.now)
            )
            accounts.open_member(connection, member)

    def round(self, *, works: list[MemberId], stalls: list[MemberId]) -> float:
        """Seconds that the next round takes."""
        began, number = self.now, self.folded()
        while self.folded() == number:
            for member in [*works, *stalls]:
                self._live(member, hands_in=member in works)
            self.foreman.keep_leases(self.now)
            self.foreman.step(JOB, self.now)
            self.now += TICK
            assert self.now - began < 1000
        return self.now - began

    def folded(self) -> int:
        with self.database.transaction() as connection:
            return connection.execute(sa.select(sa.func.count()).select_from(rounds)).scalar_one()

    def missed(self, member: MemberId) -> int:
        with self.database.transaction() as connection:
            return connection.execute(sa.select(members.c.missed).where(members.c.id == member)).scalar_one()

    def _live(self, member: MemberId, *, hands_in: bool) -> None:
        with self.database.transaction() as connection:
            seen(connection, member, state="working", now=self.now)
            lease, since = self.held.get(member, (None, 0.0))
            if lease is None:
                asked = wire.LeaseRequest(
                    roles=["train"], kinds=[UNIT_KIND], wait=0, free_memory=2**40, request_id=new_id("req")
                )
                got = leases.lease(connection, member, asked, ttl=TTL, now=self.now)
                if got is not None:
                    self.held[member] = (got, self.now)
                return
            progress = wire.Progress(unit=lease.unit, fence=lease.fence)
            if not leases.renew(connection, member, progress, ttl=TTL, now=self.now):
                del self.held[member]
            elif hands_in and self.now - since >= lease.amount / 0.2:
                leases.submit(connection, member, lease.unit, self._result(lease), now=self.now)
                del self.held[member]

    def _result(self, lease: wire.Lease) -> wire.Submit:
        terms = Assignment.from_json(lease.payload)
        size = terms.stop - terms.start
        vector = np.random.default_rng(terms.slot).normal(0, 0.01, size).astype(np.float32)
        blob = self.world.blobs.put(make_codec(terms.codec).encode(vector, seed=0))
        report = {"state_hash": terms.base, "steps": lease.amount, "tokens": lease.amount * 128, "loss": 3.0}
        return wire.Submit(
            fence=lease.fence,
            amount_done=lease.amount,
            seconds=lease.amount / 0.2,
            report=report | {"down_bytes": 1000},
            blobs={"delta": blob},
        )


@pytest.fixture
def hub(database: Database, world: World) -> Hub:
    def make(job_id: object, spec: object) -> object:
        return world.job(prepared)

    prepared = world.prepare(
        rounds={"plan": True, "first_inner_steps": 4, "last_inner_steps": 4, "seconds": SECONDS},
        train={"steps": 4000},
        checks={"score": False},
        pay={"per_1000_tokens": 0},
    )
    hub = Hub(database, world, Foreman(database, {KIND: make}, ForemanOptions()))  # type: ignore[dict-item]
    hub.enter(prepared)
    return hub


@pytest.mark.slow
@pytest.mark.parametrize("link", [1e6, 0.001])
@pytest.mark.parametrize("others", [1, 3])
def test_it_holds_up_three_rounds_and_no_more(hub: Hub, link: float, others: int) -> None:
    """Whether its link is good or seems to carry a thousandth of a byte a second."""
    honest = HONEST[:others]
    for member in honest:
        hub.join(member, 1e6)
    alone = [hub.round(works=honest, stalls=[]) for _ in range(2)]
    assert max(alone) < SECONDS + 5
    hub.join(MALLORY, link)
    took = [hub.round(works=honest, stalls=[MALLORY]) for _ in range(8)]
    assert max(took) < 1.5 * SECONDS + 20, "no round waits for longer than the deadline of the others"
    assert max(took[4:]) < SECONDS + 8, took
    if link == 1e6:
        assert max(took[:3]) > SECONDS + 8, "at first it was waited for"
        assert hub.missed(MALLORY) >= 3
    assert all(hub.missed(member) == 0 for member in honest)
    if link == 1e6:
        _hands_in_again(hub, honest)


def _hands_in_again(hub: Hub, honest: list[MemberId]) -> None:
    hub.held.pop(MALLORY, None)
    took = [hub.round(works=[*honest, MALLORY], stalls=[]) for _ in range(3)]
    assert hub.missed(MALLORY) == 0
    assert max(took) < SECONDS + 8
