"""One member through good and bad rounds: it always starts from the pool's bits, and forgets nothing it
owes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from train_world import MEMBERS, World

from commonweal.core.config import from_table
from commonweal.core.work import Outcome
from commonweal.models.parameters import read
from commonweal.train.assignment import Assignment
from commonweal.train.chain import apply_update, catch_up, path_from, state_from, state_hash
from commonweal.train.codecs import make_codec
from commonweal.train.config import InnerSettings
from commonweal.train.executor import TrainExecutor
from commonweal.train.memory import Memory, Pending, load_memory, save_memory
from commonweal.train.prepare import PreparedJob
from commonweal.train.session import Session
from commonweal.train.spec import JobSpec, WorkerSpec
from commonweal.train.state import TrainState

Change = Callable[[Outcome], Outcome | None]


def session_of(world: World, prepared: PreparedJob, file: Path | None = None) -> Session:
    spec = JobSpec.from_json(prepared.spec)
    worker = WorkerSpec.from_json(json.loads(world.blobs.get(spec.worker)))
    table = {key: value for key, value in worker.train.items() if value is not None}
    return Session(worker, from_table(table, InnerSettings, where="test"), world.blobs.get, file=file)


def run(
    session: Session, world: World, terms: Assignment, amount: int = 3, stop_after: int | None = None
) -> Outcome:
    done = [0]

    def progress(amount_done: int) -> None:
        done[0] = amount_done

    return session.run(
        terms,
        terms.key,
        amount,
        seconds=60.0,
        get=world.blobs.get,
        stopped=lambda: stop_after is not None and done[0] >= stop_after,
        progress=progress,
    )


def states(world: World, prepared: PreparedJob, rounds: int) -> list[TrainState]:
    """The states of a pool of two members that trained for so many rounds, the first one included."""
    pool = world.pool(prepared, {m: TrainExecutor(None, threads=1) for m in MEMBERS[:2]})
    found = [TrainState.from_json(pool.state)]
    for _ in range(rounds):
        found.append(TrainState.from_json(pool.round().state))
    pool.close()
    return found


def terms_at(world: World, prepared: PreparedJob, state: TrainState) -> Assignment:
    from commonweal.core.work import MemberView

    view = MemberView(id=MEMBERS[2], rate=None, upload=None, download=None, reputation=0.5)
    plan = world.job(prepared).plan(state.to_json(), [view], 0.0)
    assert plan is not None
    return Assignment.from_json(plan.units[0].payload)


def test_a_contribution_is_what_changed(world: World) -> None:
    prepared = world.prepare(rounds={"codec_up": "fp32"})
    (first,) = states(world, prepared, 0)
    session = session_of(world, prepared)
    terms = terms_at(world, prepared, first)
    outcome = run(session, world, terms)
    assert session.memory is not None
    delta = make_codec("fp32").decode(outcome.blobs["delta"], terms.stop)
    expected = session.memory.anchor - read(session.model, session.layout)
    assert np.array_equal(delta, expected)
    assert np.abs(delta).max() > 0
    assert outcome.report["state_hash"] == first.theta == state_hash(session.memory.anchor)
    assert (outcome.report["steps"], outcome.report["tokens"], outcome.amount_done) == (3, 3 * 128, 3)
    session.close()


def test_small_updates_lead_to_the_same_bits_as_the_whole_state(world: World) -> None:
    prepared = world.prepare()
    history = states(world, prepared, 5)
    follower, joiner = session_of(world, prepared), session_of(world, prepared)
    assert run(follower, world, terms_at(world, prepared, history[0])).amount_done == 3
    outcome = run(follower, world, terms_at(world, prepared, history[5]))
    fresh = run(joiner, world, terms_at(world, prepared, history[5]))
    assert outcome.report["state_hash"] == fresh.report["state_hash"] == history[5].theta
    assert fresh.report["down_bytes"] == 4 * prepared.parameters
    assert outcome.report["down_bytes"] == sum(u.size for u in history[5].chain)
    assert outcome.report["down_bytes"] < 4 * prepared.parameters
    follower.close()
    joiner.close()


def test_who_was_away_too_long_fetches_the_whole_state(world: World) -> None:
    prepared = world.prepare(train={"steps": 100})
    history = states(world, prepared, 10)
    session = session_of(world, prepared)
    run(session, world, terms_at(world, prepared, history[0]))
    outcome = run(session, world, terms_at(world, prepared, history[10]))
    assert outcome.report["state_hash"] == history[10].theta
    assert outcome.report["down_bytes"] == 4 * prepared.parameters
    assert session.memory is not None
    assert session.memory.residual is None
    session.close()


def test_a_damaged_anchor_is_noticed_and_replaced(world: World) -> None:
    prepared = world.prepare()
    history = states(world, prepared, 1)
    session = session_of(world, prepared)
    run(session, world, terms_at(world, prepared, history[0]))
    assert session.memory is not None
    session.memory.anchor[17] += 1
    outcome = run(session, world, terms_at(world, prepared, history[1]))
    assert outcome.report["state_hash"] == history[1].theta
    assert state_hash(session.memory.anchor) == history[1].theta
    assert outcome.report["down_bytes"] == 4 * prepared.parameters
    session.close()


def test_the_residual_counts_only_what_was_folded(world: World) -> None:
    """The next contribution owes what this one dropped if the chain names this one, and nothing if it does
    not."""
    prepared = world.prepare(rounds={"codec_up": "int2"})
    pool = world.pool(prepared, {MEMBERS[2]: TrainExecutor(None, threads=1)})
    before = TrainState.from_json(pool.state)
    terms = terms_at(world, prepared, before)
    pool.round()
    after = TrainState.from_json(pool.state)
    pool.close()
    assert after.chain[0].folded == (terms.key,)
    session = session_of(world, prepared)
    outcome = run(session, world, terms, amount=4)
    assert session.memory is not None
    assert session.memory.residual is None
    assert session.memory.pending is not None
    sent = make_codec("int2").decode(outcome.blobs["delta"], terms.stop)
    owed = (session.memory.anchor - read(session.model, session.layout)) - sent
    run(session, world, terms_at(world, prepared, after))
    assert session.memory.residual is not None
    assert np.array_equal(session.memory.residual, owed)
    session.close()

    other = session_of(world, prepared)
    run(other, world, terms_at(world, prepared, before), amount=4)
    assert other.memory is not None
    assert other.memory.pending is not None
    other.memory.pending.unit_key = "another"
    run(other, world, terms_at(world, prepared, after))
    assert other.memory.residual is None
    other.close()


def test_a_lost_contribution_leaves_no_trace_in_the_weights(world: World) -> None:
    """The round is repeated: the member starts again from the same bits, not from where it had come to."""
    prepared = world.prepare(rounds={"codec_up": "fp32"})
    (first,) = states(world, prepared, 0)
    session, fresh = session_of(world, prepared), session_of(world, prepared)
    run(session, world, terms_at(world, prepared, first))
    session.optimizer = fresh.optimizer.__class__(
        session.optimizer.model, session.optimizer.names, session.optimizer.options
    )
    again = run(session, world, terms_at(world, prepared, first))
    only = run(fresh, world, terms_at(world, prepared, first))
    assert again.blobs == only.blobs
    session.close()
    fresh.close()


def test_a_stopped_unit_is_given_up(world: World) -> None:
    prepared = world.prepare()
    history = states(world, prepared, 1)
    session = session_of(world, prepared)
    outcome = run(session, world, terms_at(world, prepared, history[0]), amount=9, stop_after=2)
    assert (outcome.amount_done, outcome.blobs) == (0, {})
    again = run(session, world, terms_at(world, prepared, history[1]))
    assert again.report["state_hash"] == history[1].theta
    assert again.amount_done == 3
    session.close()


def test_time_is_up(world: World) -> None:
    prepared = world.prepare()
    (first,) = states(world, prepared, 0)
    session = session_of(world, prepared)
    terms = terms_at(world, prepared, first)
    outcome = session.run(
        terms,
        terms.key,
        10_000,
        seconds=0.0,
        get=world.blobs.get,
        stopped=lambda: False,
        progress=lambda done: None,
    )
    assert outcome.amount_done == 1
    session.close()


def test_steps_ahead_are_kept_on_top_of_the_update(world: World) -> None:
    prepared = world.prepare(rounds={"codec_up": "fp32", "overlap": True})
    history = states(world, prepared, 1)
    session = session_of(world, prepared)
    run(session, world, terms_at(world, prepared, history[0]))
    assert session._ahead is not None
    assert session._ahead.thread is not None
    session._ahead.thread.join()
    assert session.memory is not None
    assert session.memory.local is not None
    since = read(session.model, session.layout) - session.memory.local
    assert np.abs(since).max() > 0
    asked = 3  # as many as were taken ahead, so the unit has nothing left to do
    outcome = run(session, world, terms_at(world, prepared, history[1]), amount=asked)
    terms = terms_at(world, prepared, history[1])
    delta = make_codec("fp32").decode(outcome.blobs["delta"], terms.stop)
    theta = state_from(world.blobs.get(history[1].theta), prepared.parameters)
    assert np.array_equal(delta, theta - (theta + since))
    assert outcome.report["steps"] == 3
    session.close()


def test_other_fragments_keep_their_drift(world: World) -> None:
    prepared = world.prepare(rounds={"codec_up": "fp32", "fragments": 2})
    history = states(world, prepared, 1)
    session = session_of(world, prepared)
    terms = terms_at(world, prepared, history[0])
    outcome = run(session, world, terms)
    assert (
        make_codec("fp32").decode(outcome.blobs["delta"], terms.stop - terms.start).size < prepared.parameters
    )
    assert session.memory is not None
    assert session.memory.local is not None
    drifted = session.memory.local.copy()
    session._come_to(terms_at(world, prepared, history[1]), world.blobs.get)
    local, theta = (
        read(session.model, session.layout),
        state_from(world.blobs.get(history[1].theta), prepared.parameters),
    )
    assert np.array_equal(local[terms.start : terms.stop], theta[terms.start : terms.stop])
    assert np.array_equal(local[terms.stop :], drifted[terms.stop :])
    assert not np.array_equal(local[terms.stop :], theta[terms.stop :])
    session.close()


@pytest.mark.parametrize("overlap", [False, True])
def test_a_restarted_member_goes_on_where_it_was(world: World, tmp_path: Path, overlap: bool) -> None:
    prepared = world.prepare(rounds={"codec_up": "int2", "overlap": overlap})
    history = states(world, prepared, 1)
    file = tmp_path / "session.safetensors"
    session = session_of(world, prepared, file)
    run(session, world, terms_at(world, prepared, history[0]))
    session.close()
    assert session.memory is not None
    restarted = session_of(world, prepared, file)
    assert restarted.memory is not None
    assert np.array_equal(restarted.memory.anchor, session.memory.anchor)
    moments = restarted.optimizer.state()
    assert moments
    if not overlap:
        assert all(torch.equal(moments[n], t) for n, t in session.optimizer.state().items())
        terms = terms_at(world, prepared, history[1])
        outcome = run(restarted, world, terms)
        assert outcome.report["down_bytes"] < 4 * prepared.parameters
        assert outcome.blobs == run(session, world, terms).blobs
    restarted.close()
    session.close()


@pytest.mark.parametrize("damage", ["gone", "cut", "text", "flipped", "another size"])
def test_a_damaged_file_is_as_none(world: World, tmp_path: Path, damage: str) -> None:
    file = tmp_path / "session.safetensors"
    anchor = np.arange(50, dtype=np.float32)
    pending = Pending(unit_key="r1", start=0, stop=2, residual=np.ones(2, np.float32))
    memory = Memory(anchor=anchor, anchor_hash=state_hash(anchor), pending=pending)
    assert save_memory(file, memory, {"exp_avg:w": torch.ones(3)})
    loaded = load_memory(file, 50)
    assert loaded is not None
    assert loaded[0].pending is not None
    assert loaded[0].pending.unit_key == "r1"
    assert torch.equal(loaded[1]["exp_avg:w"], torch.ones(3))
    data = file.read_bytes()
    if damage == "gone":
        file.unlink()
    elif damage == "cut":
        file.write_bytes(data[:-10])
    elif damage == "text":
        file.write_bytes(b"not a tensor file")
    elif damage == "flipped":
        anchor_at = data.index(anchor.tobytes())
        file.write_bytes(data[:anchor_at] + b"\x01" + data[anchor_at + 1 :])
    assert load_memory(file, 49 if damage == "another size" else 50) is None


def test_a_full_disk_does_not_stop_the_work(tmp_path: Path) -> None:
    (tmp_path / "blocked").write_text("a file where a folder should be")
    anchor = np.zeros(3, np.float32)
    memory = Memory(anchor=anchor, anchor_hash=state_hash(anchor))
    assert not save_memory(tmp_path / "blocked" / "session.safetensors", memory, {})


def test_paths_through_the_chain(world: World) -> None:
    history = states(world, world.prepare(), 4)
    chain = history[-1].chain
    assert path_from(chain, history[4].theta, history[4].theta) == ()
    assert path_from(chain, history[1].theta, history[3].theta) == chain[1:3]
    assert path_from(chain, history[3].theta, history[1].theta) is None
    theta = state_from(world.blobs.get(history[0].theta), world.prepare().parameters)
    assert catch_up(theta, history[0].theta, chain[1:], history[4].theta, world.blobs.get) is None
    for update in chain:
        apply_update(theta, update, world.blobs.get(update.blob))
    assert state_hash(theta) == history[4].theta
