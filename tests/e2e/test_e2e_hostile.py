"""Hostile members at a real hub: found out, unpaid, and of no harm to what the honest ones learn."""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import httpx
import numpy as np
import pytest
from e2e_pool import HubProcess, assert_books_are_exact, job_table, records, submit, wait_until
from e2e_wire_member import WireMember, Working

from commonweal import __version__
from commonweal.core.errors import Conflict, NotAuthorized, UserError
from commonweal.core.hashing import content_hash
from commonweal.core.work import Outcome
from commonweal.pool import wire
from commonweal.pool.client import PoolClient
from commonweal.pool.worker.client import HubClient
from commonweal.train.assignment import Assignment
from commonweal.train.codecs import make_codec

Tamper = Callable[["Mallory", wire.Lease, Outcome], Outcome]


@dataclass
class Mallory:
    """One hostile member, and what came of each thing that it tried: the record of it in its round."""

    member: WireMember
    client: PoolClient
    job: str
    seen: dict[str, dict[str, object]] = field(default_factory=dict)

    def lease(self) -> wire.Lease:
        return wait_until("a unit for the hostile member", lambda: self.member.lease())  # type: ignore[no-any-return]

    def tries(self, tamper: Tamper) -> dict[str, object]:
        """Work honestly, tamper with it, hand it in; what the round's record says of it."""
        lease = self.lease()
        self.member.submit(lease, tamper(self, lease, self.member.compute(lease)))
        return self.judged(lease)

    def judged(self, lease: wire.Lease) -> dict[str, object]:
        terms = Assignment.from_json(lease.payload)

        def found() -> dict[str, object] | None:
            for record in records(self.client, self.job):
                if (record["round"], record["attempt"]) == (terms.round, terms.attempt):
                    return next((m for m in record["members"] if m["member"] == self.member.id), {})
            return None

        return wait_until(
            f"round {terms.round} is folded", lambda: found() is not None and (found() or {"verdict": ""})
        )  # type: ignore[no-any-return]

    @property
    def standing(self) -> wire.MemberRow:
        return next(row for row in self.client.members() if row.id == self.member.id)


def with_delta(outcome: Outcome, data: bytes) -> Outcome:
    return replace(outcome, blobs={"delta": data})


def scaled(by: float) -> Tamper:
    def tamper(_: Mallory, lease: wire.Lease, outcome: Outcome) -> Outcome:
        terms = Assignment.from_json(lease.payload)
        codec = make_codec(terms.codec)
        vector = codec.decode(outcome.blobs["delta"], terms.stop - terms.start)
        return with_delta(outcome, codec.encode(vector * np.float32(by), seed=terms.seed))

    return tamper


def not_a_number(_: Mallory, lease: wire.Lease, outcome: Outcome) -> Outcome:
    data = outcome.blobs["delta"]
    return with_delta(outcome, data[:-4] + np.array([np.nan], "<f4").tobytes())


def random_bytes(_: Mallory, lease: wire.Lease, outcome: Outcome) -> Outcome:
    return with_delta(outcome, np.random.default_rng(lease.fence).bytes(len(outcome.blobs["delta"])))


def truncated(_: Mallory, lease: wire.Lease, outcome: Outcome) -> Outcome:
    return with_delta(outcome, outcome.blobs["delta"][:-100])


def oversized(_: Mallory, lease: wire.Lease, outcome: Outcome) -> Outcome:
    return with_delta(outcome, outcome.blobs["delta"] + bytes(10**6))


def boasting(_: Mallory, lease: wire.Lease, outcome: Outcome) -> Outcome:
    return replace(outcome, report={**outcome.report, "tokens": 10**12})


def other_start(_: Mallory, lease: wire.Lease, outcome: Outcome) -> Outcome:
    return replace(outcome, report={**outcome.report, "state_hash": "f" * 64})


def no_contribution(_: Mallory, lease: wire.Lease, outcome: Outcome) -> Outcome:
    return replace(outcome, blobs={})


ATTEMPTS: dict[str, tuple[Tamper, set[str]]] = {
    "the negated gradient": (scaled(-1.0), {"raises_loss", "no_gain"}),
    "a norm 10,000 times too large": (scaled(1e4), {"huge_norm"}),
    "NaN": (not_a_number, {"not_finite"}),
    "random bytes": (random_bytes, {"bad_header"}),
    "a truncated blob": (truncated, {"truncated", "wrong_size"}),
    "an oversized blob": (oversized, {"oversized"}),
    "more tokens than were asked for": (boasting, {"impossible"}),
    "from other weights": (other_start, {"diverged"}),
    "nothing": (no_contribution, {"missing"}),
}


@pytest.fixture(scope="module")
def crowd(hub: HubProcess) -> Iterator[dict[str, WireMember]]:
    members = {name: WireMember(hub, name) for name in ("alice", "bob", "mallory")}
    yield members
    for member in members.values():
        member.close()


@pytest.fixture
def endless(client: PoolClient, texts: Path, work: Path) -> Iterator[str]:
    """A job in float32, so that a number can be anything."""
    rounds = {"codec_up": "fp32", "first_inner_steps": 6, "last_inner_steps": 6, "min_members": 3}
    view = submit(client, job_table(texts, train={"steps": 1_000_000, "seed": 5}, rounds=rounds), work)
    yield view.id
    client.cancel(view.id)


def test_every_hostile_contribution_is_found_out(
    hub: HubProcess, client: PoolClient, crowd: dict[str, WireMember], endless: str
) -> None:
    mallory = Mallory(crowd["mallory"], client, endless)
    honest = [crowd["alice"], crowd["bob"]]
    before = {row.id: row for row in client.members()}
    with Working(honest):
        assert mallory.tries(lambda m, lease, outcome: outcome)["verdict"] == "ok", "at first it is honest"
        earned = mallory.standing.earned
        for what, (tamper, reasons) in ATTEMPTS.items():
            reputation = mallory.standing.reputation
            found = mallory.tries(tamper)
            assert found["verdict"] in reasons, what
            if found["verdict"] != "no_gain":  # which may be bad luck
                assert mallory.standing.reputation < reputation, what
        assert mallory.standing.earned <= earned, "nothing of it was paid"
        _too_large_by_a_hundred(mallory)
        _goes_on_learning(client, endless, honest)
    after = {row.id: row for row in client.members()}
    for member in honest:
        assert after[member.id].reputation > before[member.id].reputation
        assert after[member.id].refused == before[member.id].refused
        assert after[member.id].earned > before[member.id].earned
    assert_books_are_exact(hub, client, [endless])


def _too_large_by_a_hundred(mallory: Mallory) -> None:
    """Refused, or clipped to what the others have."""
    found = mallory.tries(scaled(100.0))
    clip = found["clip"]
    assert isinstance(clip, float)
    assert found["verdict"] != "ok" or clip < 0.05


def _goes_on_learning(client: PoolClient, job: str, honest: list[WireMember]) -> None:
    found = records(client, job)
    assert found[-1]["held_out_loss"] < 0.8 * found[0]["held_out_loss"]
    losses = [record["held_out_loss"] for record in found]
    assert max(b - a for a, b in itertools.pairwise(losses)) < 0.2, "no round did harm"
    for record in found:
        verdicts = {m["member"]: m["verdict"] for m in record["members"]}
        assert all(verdicts.get(member.id, "ok") == "ok" for member in honest)


def test_leases_are_not_forged_shared_or_used_twice(
    hub: HubProcess, client: PoolClient, crowd: dict[str, WireMember], endless: str
) -> None:
    alice, mallory = crowd["alice"], Mallory(crowd["mallory"], client, endless)
    thief = mallory.member
    with Working([crowd["bob"]]), ThreadPoolExecutor() as both, contextlib.ExitStack() as held:
        asked = [both.submit(wait_until, "a lease", member.lease) for member in (alice, thief)]
        hers, own = (future.result() for future in asked)
        held.enter_context(alice.beating(hers))
        held.enter_context(thief.beating(own))
        outcome, stolen = thief.compute(own), alice.compute(hers)
        with pytest.raises(Conflict):  # somebody else's lease
            thief.submit(hers, outcome)
        assert not thief.beat(hers).leases[0].valid
        with pytest.raises(UserError, match="not uploaded"):  # a hash of nothing
            thief.submit(own, outcome, {"delta": content_hash(b"nothing that was uploaded")})
        with pytest.raises(Conflict):  # another fencing number
            thief.submit(own.model_copy(update={"fence": own.fence + 1}), outcome)
        assert not thief.submit(own, outcome).duplicate
        assert thief.submit(own, outcome).duplicate, "twice is once, and it is told"
        assert not alice.submit(hers, stolen).duplicate
        assert mallory.judged(own)["verdict"] in ("ok", "no_gain")
        assert thief.submit(own, outcome).duplicate, "also after the round"
    paid = [m for r in records(client, endless) for m in r["members"] if m["member"] == thief.id]
    assert len(paid) == 1
    assert_books_are_exact(hub, client, [endless])


def test_work_for_a_round_that_is_over_is_refused(
    hub: HubProcess, client: PoolClient, crowd: dict[str, WireMember], endless: str
) -> None:
    """Who falls silent loses the lease; what comes later changes nothing."""
    mallory = Mallory(crowd["mallory"], client, endless)
    with Working([crowd["alice"], crowd["bob"]]):
        stale = mallory.lease()
        outcome = mallory.member.compute(stale)
        assert mallory.judged(stale) == {"verdict": ""}, "the round was folded without it"
        with pytest.raises(Conflict, match="nothing was changed"):
            mallory.member.submit(stale, outcome)
    assert_books_are_exact(hub, client, [endless])


def test_a_slow_member_is_asked_for_less(
    hub: HubProcess, client: PoolClient, crowd: dict[str, WireMember], endless: str
) -> None:
    """Ten times slower: it finishes with the others, and what it does counts."""

    def slow(outcome: Outcome) -> Outcome:
        time.sleep(9 * outcome.seconds)
        return replace(outcome, seconds=10 * outcome.seconds)

    names = {member.id: name for name, member in crowd.items()}
    with Working(list(crowd.values()), {"mallory": slow}):
        wait_until("ten rounds", lambda: client.job(endless).rounds >= 10)
    late = records(client, endless)[5:]
    asked = {
        name: [m["asked"] for r in late for m in r["members"] if names[m["member"]] == name] for name in crowd
    }
    assert np.mean(asked["mallory"]) < 0.5 * np.mean(asked["alice"])
    assert sum(len(r["members"]) for r in late) > 2 * len(late), "it is in time, and it counts"


def test_wrong_keys_open_nothing(hub: HubProcess, crowd: dict[str, WireMember]) -> None:
    stranger = HubClient(hub.url, version=__version__, key="cwmember-wrong")
    body = wire.Register(
        name="x", client_version=__version__, roles=["train"], platform={}, request_id="r" * 20
    )
    with pytest.raises(NotAuthorized):
        stranger.register(body, "cwjoin-wrong")
    with pytest.raises(NotAuthorized):
        stranger.register(body, crowd["mallory"].api.key or "")
    with pytest.raises(NotAuthorized):
        stranger.heartbeat(wire.Heartbeat(state="idle"))
    stranger.close()


def test_a_loss_that_is_no_number_never_gets_in(
    hub: HubProcess, client: PoolClient, crowd: dict[str, WireMember], endless: str
) -> None:
    """JSON as Python writes it allows NaN; the hub does not."""
    mallory = Mallory(crowd["mallory"], client, endless)
    with Working([crowd["alice"], crowd["bob"]]):
        lease = mallory.lease()
        answer = httpx.post(
            f"{hub.url}{wire.PREFIX}/units/{lease.unit}/submit",
            content=f'{{"fence": {lease.fence}, "amount_done": 1, "seconds": 1, "report": {{"loss": NaN}}}}',
            headers={"Authorization": f"Bearer {mallory.member.api.key}", "Content-Type": "application/json"},
        )
        assert answer.status_code == 422
        mallory.member.release(lease)
