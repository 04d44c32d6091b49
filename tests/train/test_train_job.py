"""The job's decisions, without torch's help: planning, folding, payment, and every kind of bad result."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from train_world import World

from commonweal.core.blobs import Blobs
from commonweal.core.errors import StorageFull
from commonweal.core.hashing import BlobHash, content_hash
from commonweal.core.ids import MemberId
from commonweal.core.work import Fold, Json, MemberView, Plan, Result
from commonweal.train.assignment import Assignment
from commonweal.train.chain import state_from, state_hash
from commonweal.train.codecs import Vector, make_codec
from commonweal.train.config import RoundSettings
from commonweal.train.job import HeldOut, TrainJob
from commonweal.train.prepare import PreparedJob
from commonweal.train.record import RoundRecord
from commonweal.train.schedule import outer_options
from commonweal.train.state import TrainState
from commonweal.train.terms import outer_schedule

NOW = 1_000.0


def view(
    name: str, rate: float | None = None, reputation: float = 0.5, link: float | None = None
) -> MemberView:
    return MemberView(id=MemberId(name), rate=rate, upload=link, download=link, reputation=reputation)


VIEWS = [view("mem_a"), view("mem_b"), view("mem_c")]


def planned(job: TrainJob, state: Json, views: Sequence[MemberView] = VIEWS) -> Plan:
    plan = job.plan(state, views, NOW)
    assert plan is not None
    return plan


def delta_for(terms: Assignment, scale: float = 0.01) -> Vector:
    """An invented contribution of the unit's own: the same direction for all, and some noise."""
    shared = np.random.default_rng(0).normal(0, scale, terms.stop - terms.start)
    own = np.random.default_rng(terms.slot + 1).normal(0, scale, terms.stop - terms.start)
    return (shared + own).astype(np.float32)


def results_of(
    world: World, plan: Plan, change: Callable[[int, dict[str, Any]], dict[str, Any] | None] | None = None
) -> list[Result]:
    """What honest members would hand in; ``change`` may alter the fields of the n-th result, or drop it."""
    results = []
    for number, unit in enumerate(plan.units):
        terms = Assignment.from_json(unit.payload)
        assert unit.prefers is not None
        fields: dict[str, Any] = {
            "unit_key": unit.key,
            "member": unit.prefers,
            "payload": json.loads(json.dumps(unit.payload)),
            "report": {
                "state_hash": terms.base,
                "steps": 4,
                "tokens": 4 * 4 * 32,
                "loss": 3.0 + number,
                "down_bytes": 1000,
            },
            "delta": make_codec(terms.codec).encode(delta_for(terms), seed=0),
            "amount_asked": 4,
            "seconds": 2.0,
        }
        changed = fields if change is None else change(number, fields)
        if changed is not None:
            data = changed.pop("delta")
            results.append(Result(**changed, blobs={} if data is None else {"delta": world.blobs.put(data)}))
    return results


def fold_with(
    world: World, prepared: PreparedJob, change: Callable[[int, dict[str, Any]], dict[str, Any] | None]
) -> Fold:
    job = world.job(prepared)
    state = job.start()
    return job.fold(state, results_of(world, planned(job, state), change), NOW + 5)


class Valley:
    """A scorer with no model: the loss grows with the distance from where the honest contributions lead."""

    def __init__(self, target: Vector) -> None:
        self._target = target

    def loss(self, theta: Vector, turn: int) -> float:
        return 2.0 + float(np.mean((theta - self._target) ** 2)) * 1000

    def held_out(self, theta: Vector) -> HeldOut:
        return HeldOut(loss=self.loss(theta, 0), bits_per_byte=1.5)


def test_a_plan_has_a_unit_for_every_member(world: World) -> None:
    job = world.job(world.prepare())
    plan = planned(job, job.start())
    assert [unit.prefers for unit in plan.units] == ["mem_a", "mem_b", "mem_c"]
    assert len({unit.key for unit in plan.units}) == 3
    assert {unit.group for unit in plan.units} == {"r000000.0"}
    terms = [Assignment.from_json(unit.payload) for unit in plan.units]
    assert [(t.slot, t.slots) for t in terms] == [(0, 3), (1, 3), (2, 3)]
    assert len({t.seed for t in terms}) == 3
    assert all(unit.needs.memory_bytes > 0 and unit.kind == "train_round" for unit in plan.units)
    assert plan.deadline > NOW


def test_planning_twice_is_planning_once(world: World) -> None:
    job = world.job(world.prepare())
    assert planned(job, job.start()) == planned(world.job(world.prepare()), job.start())


def test_a_payload_is_plain_json(world: World) -> None:
    job = world.job(world.prepare())
    payload = planned(job, job.start()).units[0].payload
    assert Assignment.from_json(json.loads(json.dumps(payload, allow_nan=False))).to_json() == payload


def test_too_few_members_wait(world: World) -> None:
    job = world.job(world.prepare(rounds={"min_members": 4}))
    assert job.plan(job.start(), VIEWS, NOW) is None
    assert job.plan(job.start(), [], NOW) is None


def test_of_too_many_those_who_contributed_stay(world: World) -> None:
    job = world.job(world.prepare(rounds={"max_members": 2}))
    state = replace(TrainState.from_json(job.start()), seen={MemberId("mem_c"): 0}).to_json()
    views = [view("mem_a", reputation=0.1), view("mem_b", reputation=0.9), view("mem_c", reputation=0.1)]
    assert [unit.prefers for unit in planned(job, state, views).units] == ["mem_b", "mem_c"]


def test_members_are_asked_for_the_same_time(world: World) -> None:
    job = world.job(world.prepare())
    amount = planned(job, job.start(), [view("a", 1.0), view("b", 2.0), view("c", 8.0)]).units[0].amount
    assert amount.target_seconds == pytest.approx(2.0)  # 4 steps at the median's 2 a second
    assert (amount.least, amount.first, amount.most) == (1, 4, 16)


def test_a_slow_link_moves_the_deadline(world: World) -> None:
    job = world.job(world.prepare())
    fast = planned(job, job.start(), [view("a", 2.0, link=1e9)]).deadline
    slow = planned(job, job.start(), [view("a", 2.0, link=1e3)]).deadline
    assert slow > fast + 5


def test_a_round_folds(world: World) -> None:
    prepared = world.prepare()
    fold = fold_with(world, prepared, lambda n, f: f)
    state = TrainState.from_json(fold.state)
    assert fold.status == "running"
    assert [(v.accepted, v.reason) for v in fold.verdicts] == [(True, "ok")] * 3
    assert (state.round, state.step, state.totals.tokens) == (1, 4, 3 * 512)
    assert state.position == 4 * 3 * 4
    assert state.keeps() == fold.keeps
    assert all(world.blobs.has(name) for name in fold.keeps)
    theta = state_from(world.blobs.get(state.theta), prepared.parameters)
    assert state_hash(theta) == state.theta


def test_the_published_update_leads_to_the_published_state(world: World) -> None:
    prepared = world.prepare()
    state = TrainState.from_json(fold_with(world, prepared, lambda n, f: f).state)
    (update,) = state.chain
    before = state_from(world.blobs.get(update.before), prepared.parameters)
    before[update.start : update.stop] += make_codec(update.codec).decode(
        world.blobs.get(update.blob), update.stop - update.start
    )
    assert state_hash(before) == update.after == state.theta


def test_folding_twice_is_folding_once(world: World) -> None:
    job = world.job(world.prepare())
    results = results_of(world, planned(job, job.start()))
    first = job.fold(job.start(), results, NOW + 5)
    assert world.job(world.prepare()).fold(job.start(), results, NOW + 5) == first


@given(order=st.permutations(range(3)))
@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_order_of_arrival_does_not_matter(world: World, order: list[int]) -> None:
    job = world.job(world.prepare())
    results = results_of(world, planned(job, job.start()))
    shuffled = [results[i] for i in order]
    assert job.fold(job.start(), shuffled, NOW).state == job.fold(job.start(), results, NOW).state


def test_state_and_record_are_plain_json(world: World) -> None:
    fold = fold_with(world, world.prepare(), lambda n, f: f)
    again = json.loads(json.dumps(fold.state, allow_nan=False))
    assert TrainState.from_json(again).to_json() == fold.state
    record = json.loads(json.dumps(fold.record, allow_nan=False))
    assert RoundRecord.from_json(record).to_json() == record
    assert len(json.dumps(fold.state)) < 10_000


def test_the_record_counts_bytes_as_they_are(world: World) -> None:
    prepared = world.prepare()
    record = fold_with(world, prepared, lambda n, f: f).record
    per_member = len(make_codec("int4").encode(np.ones(prepared.parameters, np.float32), seed=0))
    assert record["up_bytes"] == 3 * per_member
    assert record["down_bytes"] == 3000
    assert record["allreduce_bytes"] == 8 * prepared.parameters * 12
    assert record["fewer_bytes"] == pytest.approx(record["allreduce_bytes"] / (3 * per_member + 3000))
    assert record["seconds"] == 5.0


def test_a_claim_of_bytes_is_bounded(world: World) -> None:
    prepared = world.prepare()

    def liar(n: int, f: dict[str, Any]) -> dict[str, Any]:
        return {**f, "report": {**f["report"], "down_bytes": 10**15}}

    assert fold_with(world, prepared, liar).record["down_bytes"] == 3 * 4 * prepared.parameters


def report(**changes: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda f: {**f, "report": {**f["report"], **changes}}


def scaled(factor: float) -> Callable[[dict[str, Any]], dict[str, Any]]:
    def change(f: dict[str, Any]) -> dict[str, Any]:
        terms = Assignment.from_json(f["payload"])
        with np.errstate(over="ignore"):
            vector = (delta_for(terms) * np.float32(factor)).astype(np.float32)
        return {**f, "delta": make_codec(terms.codec).encode(vector, seed=0)}

    return change


def raw_nan(f: dict[str, Any]) -> dict[str, Any]:
    """A NaN that a hostile member packs by hand: the encoder would refuse it."""
    data = bytearray(f["delta"])
    data[16:] = b"\xff" * (len(data) - 16)
    return {**f, "delta": bytes(data)}


def without(key: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda f: {**f, "report": {k: v for k, v in f["report"].items() if k != key}}


def stale(f: dict[str, Any]) -> dict[str, Any]:
    return {**f, "payload": {**f["payload"], "round": 7}}


BAD: dict[str, tuple[Callable[[dict[str, Any]], dict[str, Any]], set[str], str]] = {
    "random bytes": (lambda f: {**f, "delta": b"\x07" * len(f["delta"])}, {"bad_header"}, "member"),
    "no bytes": (lambda f: {**f, "delta": b""}, {"truncated"}, "member"),
    "truncated": (lambda f: {**f, "delta": f["delta"][:-7]}, {"truncated"}, "member"),
    "a little too long": (lambda f: {**f, "delta": f["delta"] + b"x"}, {"oversized"}, "member"),
    "oversized": (lambda f: {**f, "delta": f["delta"] * 40}, {"oversized"}, "member"),
    "NaN": (raw_nan, {"not_finite"}, "member"),
    "huge norm": (scaled(1e6), {"huge_norm"}, "member"),
    "absurd norm": (scaled(1e30), {"huge_norm", "not_finite"}, "member"),
    "zero": (scaled(0.0), {"empty"}, "none"),
    "no contribution": (lambda f: {**f, "delta": None}, {"missing"}, "member"),
    "other weights": (report(state_hash="0" * 64), {"diverged"}, "member"),
    "more tokens than asked": (report(steps=5, tokens=5 * 128), {"impossible"}, "member"),
    "tokens without steps": (report(tokens=10**9), {"impossible"}, "member"),
    "no steps": (report(steps=0, tokens=0), {"impossible"}, "member"),
    "negative steps": (report(steps=-4), {"bad_report"}, "member"),
    "steps as text": (report(steps="4"), {"bad_report"}, "member"),
    "steps as truth": (report(steps=True), {"bad_report"}, "member"),
    "a NaN loss": (report(loss=float("nan")), {"not_finite"}, "member"),
    "a loss as text": (report(loss="low"), {"bad_report"}, "member"),
    "no hash": (without("state_hash"), {"bad_report"}, "member"),
    "no report": (lambda f: {**f, "report": {}}, {"bad_report"}, "member"),
    "a stale round": (stale, {"stale"}, "none"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_result_is_refused_and_the_others_fold(world: World, name: str) -> None:
    change, reasons, fault = BAD[name]
    prepared = world.prepare()
    fold = fold_with(world, prepared, lambda n, f: change(f) if n == 1 else f)
    verdict = fold.verdicts[1]
    assert not verdict.accepted
    assert verdict.reason in reasons
    assert verdict.fault == fault
    assert [v.accepted for v in fold.verdicts] == [True, False, True]
    assert {p.member for p in fold.payments} == {"mem_a", "mem_c"}
    assert fold.record["outcome"] == "folded"
    # And the bits are those of a round in which it had never been handed in.
    without_it = fold_with(world, prepared, lambda n, f: None if n == 1 else f)
    assert without_it.state["theta"] == fold.state["theta"]
    assert json.dumps(fold.record, allow_nan=False)


def test_a_vanished_blob_is_refused(world: World) -> None:
    job = world.job(world.prepare())
    results = results_of(world, planned(job, job.start()))
    results[0] = replace(results[0], blobs={"delta": content_hash(b"never stored")})
    assert job.fold(job.start(), results, NOW).verdicts[0].reason == "missing"


def test_the_same_member_counts_once(world: World) -> None:
    job = world.job(world.prepare())
    results = results_of(world, planned(job, job.start()))
    results[1] = replace(results[1], member=results[0].member)
    fold = job.fold(job.start(), results, NOW)
    assert [v.reason for v in fold.verdicts] == ["ok", "duplicate", "ok"]


def test_the_same_result_twice_counts_once(world: World) -> None:
    job = world.job(world.prepare())
    results = results_of(world, planned(job, job.start()))
    fold = job.fold(job.start(), [*results, results[1]], NOW)
    assert [v.reason for v in fold.verdicts] == ["ok", "ok", "duplicate", "ok"]
    assert len(fold.payments) == 3


def test_a_copied_contribution_counts_once_and_nobody_is_blamed(world: World) -> None:
    job = world.job(world.prepare())
    results = results_of(world, planned(job, job.start()))
    results[2] = replace(results[2], blobs=results[0].blobs)
    fold = job.fold(job.start(), results, NOW)
    assert [(v.reason, v.fault) for v in fold.verdicts] == [("ok", "none"), ("ok", "none"), ("copy", "none")]


def test_a_long_contribution_is_clipped_to_the_median(world: World) -> None:
    fold = fold_with(world, world.prepare(), lambda n, f: scaled(5.0)(f) if n == 1 else f)
    clips = [m["clip"] for m in fold.record["members"]]
    norms = [m["norm"] for m in fold.record["members"]]
    assert clips[1] * norms[1] == pytest.approx(sorted(norms)[1])
    assert fold.verdicts[1].accepted


def test_a_lone_absurd_contribution_is_refused(world: World) -> None:
    """Nobody to compare with: what AdamW can reach in so many steps is the measure."""
    job = world.job(world.prepare())
    plan = planned(job, job.start(), [view("mem_a")])
    fold = job.fold(job.start(), results_of(world, plan, lambda n, f: scaled(1e5)(f)), NOW)
    assert fold.verdicts[0].reason == "huge_norm"
    assert fold.state["theta"] == job.start()["theta"]


def scored_fold(world: World, change: Callable[[int, dict[str, Any]], dict[str, Any] | None]) -> Fold:
    prepared = world.prepare()
    theta = state_from(world.blobs.get(BlobHash(prepared.spec["theta"])), prepared.parameters)
    shared = np.random.default_rng(0).normal(0, 0.01, prepared.parameters).astype(np.float32)
    job = world.job(prepared, Valley(theta - shared))
    state = job.start()
    return job.fold(state, results_of(world, planned(job, state), change), NOW + 5)


def test_the_negated_gradient_is_refused_by_the_loss(world: World) -> None:
    fold = scored_fold(world, lambda n, f: scaled(-1.0)(f) if n == 1 else f)
    assert [v.reason for v in fold.verdicts] == ["ok", "raises_loss", "ok"]
    gains = [m["gain"] for m in fold.record["members"]]
    assert gains[1] < 0 < min(gains[0], gains[2])


def test_noise_of_the_right_length_is_not_paid(world: World) -> None:
    def noise(n: int, f: dict[str, Any]) -> dict[str, Any]:
        terms = Assignment.from_json(f["payload"])
        shared = np.random.default_rng(0).normal(0, 0.01, terms.stop)
        vector = np.random.default_rng(99).normal(0, 0.014, terms.stop)
        vector = (vector - shared * (vector @ shared) / (shared @ shared)).astype(np.float32)
        return {**f, "delta": make_codec(terms.codec).encode(vector, seed=0)} if n == 1 else f

    fold = scored_fold(world, noise)
    assert [v.reason for v in fold.verdicts] == ["ok", "no_gain", "ok"]
    assert "mem_b" not in {p.member for p in fold.payments}


def test_scoring_never_empties_a_round_that_is_slightly_worse(world: World) -> None:
    """Everybody raises the loss a little: that is the noise of a small sample, not a conspiracy."""
    prepared = world.prepare()

    class Rising:
        def loss(self, theta: Vector, turn: int) -> float:
            start = state_from(world.blobs.get(BlobHash(prepared.spec["theta"])), prepared.parameters)
            shared = np.random.default_rng(0).normal(0, 0.01, prepared.parameters)
            moved = float(np.dot(start - theta, shared) / np.dot(shared, shared))
            return 2.0 + 0.01 * moved

        def held_out(self, theta: Vector) -> HeldOut:
            return HeldOut(loss=2.0, bits_per_byte=1.0)

    job = world.job(prepared, Rising())
    fold = job.fold(job.start(), results_of(world, planned(job, job.start())), NOW)
    assert sum(v.accepted for v in fold.verdicts) >= 2


def test_with_nothing_handed_in_the_round_is_repeated(world: World) -> None:
    job = world.job(world.prepare())
    state = job.start()
    for attempt in range(8):
        fold = job.fold(state, [], NOW)
        assert fold.status == "running"
        assert "no member handed anything in" in fold.record["message"]
        assert fold.state["theta"] == state["theta"]
        state = fold.state
        assert state["attempt"] == attempt + 1
    keys = {unit.key for unit in planned(job, state).units}
    assert not keys & {unit.key for unit in planned(job, job.start()).units}


def test_a_job_whose_every_contribution_is_refused_fails_with_the_reason(world: World) -> None:
    job = world.job(world.prepare(rounds={"fruitless": 3}))
    state, statuses = job.start(), []
    for _ in range(3):
        results = results_of(world, planned(job, state), lambda n, f: {**f, "delta": b"junk"})
        fold = job.fold(state, results, NOW)
        statuses.append(fold.status)
        state = fold.state
    assert statuses == ["running", "running", "failed"]
    assert "truncated" in fold.record["message"]
    assert fold.payments == ()


def test_accepted_tokens_are_paid_within_the_budget(world: World) -> None:
    full = fold_with(world, world.prepare(pay={"per_1000_tokens": 2000}), lambda n, f: f)
    assert [p.microcredits for p in full.payments] == [1024] * 3
    short = fold_with(world, world.prepare(pay={"per_1000_tokens": 2000, "budget": 1500}), lambda n, f: f)
    assert [p.microcredits for p in short.payments] == [1024, 476]
    assert short.status == "done"
    assert "budget" in short.record["message"]


def run_rounds(world: World, job: TrainJob, count: int) -> list[Fold]:
    state, folds = job.start(), []
    for _ in range(count):
        folds.append(job.fold(state, results_of(world, planned(job, state)), NOW))
        state = folds[-1].state
        if folds[-1].status != "running":
            break
    return folds


def test_a_job_ends_after_its_steps_or_its_tokens(world: World) -> None:
    folds = run_rounds(world, world.job(world.prepare(train={"steps": 10})), 9)
    assert [f.status for f in folds] == ["running", "running", "done"]
    folds = run_rounds(world, world.job(world.prepare(train={"tokens": 3000})), 9)
    assert [f.status for f in folds] == ["running", "done"]


def test_checkpoints_are_kept_and_pruned(world: World) -> None:
    folds = run_rounds(world, world.job(world.prepare(checkpoints={"every": 2, "keep": 2})), 7)
    state = TrainState.from_json(folds[-1].state)
    assert [c.round for c in state.checkpoints] == [4, 6]
    assert {c.theta for c in state.checkpoints} <= folds[-1].keeps
    assert TrainState.from_json(folds[1].state).theta not in folds[-1].keeps


def test_the_chain_stays_short(world: World) -> None:
    folds = run_rounds(world, world.job(world.prepare(train={"steps": 100})), 10)
    chain = TrainState.from_json(folds[-1].state).chain
    assert [u.round for u in chain] == list(range(2, 10))
    assert all(a.after == b.before for a, b in pairwise(chain))


class Failing(Blobs):
    """A store that fills up after so many blobs."""

    def __init__(self, inner: Blobs, room: int) -> None:
        self._inner, self._room = inner, room

    def put(self, data: bytes) -> BlobHash:
        if self._room == 0:
            raise StorageFull("the blob store has no space left")
        self._room -= 1
        return self._inner.put(data)

    def get(self, name: BlobHash) -> bytes:
        return self._inner.get(name)

    def size(self, name: BlobHash) -> int:
        return self._inner.size(name)


@pytest.mark.parametrize("room", [0, 1, 2, 3])
def test_a_fold_that_is_cut_off_anywhere_is_simply_done_again(world: World, room: int) -> None:
    prepared = world.prepare()
    whole = world.job(prepared)
    results = results_of(world, planned(whole, whole.start()))
    assert len(whole.fold(whole.start(), results, NOW).keeps) >= 4, "state, update, momentum, residual"
    job = TrainJob(whole._id, prepared.spec, Failing(world.blobs, room))
    with pytest.raises(StorageFull):
        job.fold(whole.start(), results, NOW)
    assert world.job(prepared).fold(whole.start(), results, NOW) == whole.fold(whole.start(), results, NOW)


def test_fragments_take_turns(world: World) -> None:
    prepared = world.prepare(rounds={"fragments": 4})
    folds = run_rounds(world, world.job(prepared), 5)
    ranges = [tuple(f.record["fragment"]) for f in folds]
    assert ranges[0][0] == 0
    assert ranges[3][1] == prepared.parameters
    assert ranges[4] == ranges[0]
    before = state_from(world.blobs.get(BlobHash(folds[0].state["theta"])), prepared.parameters)
    after = state_from(world.blobs.get(BlobHash(folds[1].state["theta"])), prepared.parameters)
    changed = np.flatnonzero(before != after)
    start, stop = ranges[1]
    assert changed.size
    assert start <= changed.min()
    assert changed.max() < stop


def test_the_planner_answers_slow_links_with_fewer_bytes(world: World) -> None:
    job = world.job(world.prepare(rounds={"plan": True, "first_inner_steps": 8, "last_inner_steps": 8}))

    def codec(link: float) -> str:
        views = [view(name, rate=1.0, link=link) for name in ("mem_a", "mem_b")]
        return Assignment.from_json(planned(job, job.start(), views).units[0].payload).codec

    assert codec(1e9) == "int4"
    assert codec(2e3) != "int4"


def test_without_measurements_the_job_says(world: World) -> None:
    job = world.job(world.prepare(rounds={"plan": True}))
    terms = Assignment.from_json(planned(job, job.start()).units[0].payload)
    assert terms.codec == "int4"
    assert "no link is measured yet" in terms.reason


def test_the_outer_step_grows_from_averaging_to_what_is_set() -> None:
    rounds = RoundSettings(outer_lr=0.7, outer_momentum=0.9, growth=0.5)
    steps = [outer_options(step, 100, outer_schedule(rounds)) for step in (0, 30, 50, 90)]
    assert [s.lr for s in steps] == pytest.approx([1.0, 0.85, 0.7, 0.7])
    assert [s.momentum for s in steps] == pytest.approx([0.0, 0.45, 0.9, 0.9])
