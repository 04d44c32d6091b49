"""The proof: two members over a pool teach a model a task that it could not do, and which answers are preferred."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from train_world import Tampering, with_delta
from tuning_world import (
    MEMBERS,
    chats,
    exact_match,
    load_tuned,
    make_base,
    pool_of,
    preferences,
    tasks,
    theta_of,
    write_files,
)

from commonweal.core.blobs import Blobs, open_blobs
from commonweal.core.work import Outcome, Task, WorkIO
from commonweal.train.assignment import Assignment
from commonweal.train.codecs import make_codec
from commonweal.train.executor import TrainExecutor
from commonweal.train.local import LocalPool
from commonweal.train.tuning import Base, TuningOptions
from commonweal.train.tuning.preparing import prepare_tuning
from commonweal.train.tuning.results import export_tuning

ASKED = tasks(9, 30)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Base:
    return Base(folder=make_base(tmp_path_factory.mktemp("base")), name="tiny")


@pytest.fixture(scope="module")
def blobs() -> Blobs:
    return open_blobs("memory://")


@pytest.fixture
def pools() -> Iterator[list[LocalPool]]:
    opened: list[LocalPool] = []
    yield opened
    for pool in opened:
        pool.close()


def trained(
    base: Base, blobs: Blobs, pools: list[LocalPool], data: bytes, **options: Any
) -> tuple[Any, list[Any]]:
    made = prepare_tuning(base, data, TuningOptions(**options), blobs.put, name="proof")
    pool = pool_of(made.job, blobs)
    pools.append(pool)
    records = pool.run(200)
    assert records[-1]["message"].startswith("done")
    return made, records


def test_two_members_teach_a_task(base: Base, blobs: Blobs, pools: list[LocalPool], tmp_path: Path) -> None:
    before = exact_match(*load_tuned(base.folder, None), ASKED)
    made, records = trained(base, blobs, pools, chats(tasks(1, 400)), epochs=4)
    adapter = write_files(export_tuning(made.job.spec, theta_of(pools[-1]), blobs.get), tmp_path / "adapter")
    after = exact_match(*load_tuned(base.folder, adapter), ASKED)
    assert before <= 0.05
    assert after >= 0.3
    assert records[-1]["held_out_loss"] < 0.3 * records[0]["held_out_loss"]
    assert records[-1]["metrics"]["token_accuracy"] > records[0]["metrics"]["token_accuracy"]
    assert {m["member"] for record in records for m in record["members"]} == set(MEMBERS)
    # Four bits a number: what a member sends in a round, and less than a tenth of all in float32.
    assert all(m["up_bytes"] < 0.6 * made.job.parameters for record in records for m in record["members"])
    # Every example is seen by one member in an epoch, so the job ends where its epochs do.
    assert made.checked.tokens <= records[-1]["tokens"] <= 1.1 * made.checked.tokens


def test_preferences_widen_the_margin(base: Base, blobs: Blobs, pools: list[LocalPool]) -> None:
    _, records = trained(base, blobs, pools, preferences(tasks(1, 60)), method="dpo", epochs=2)
    margins = [record["metrics"]["margin"] for record in records]
    assert margins[-1] > margins[0] > 0
    assert margins[-1] > 3
    assert records[-1]["metrics"]["right"] >= 0.9
    assert records[-1]["held_out_loss"] < 0.6 < records[0]["held_out_loss"] + 0.1


def test_preferences_of_all_weights_too(base: Base, blobs: Blobs, pools: list[LocalPool]) -> None:
    """Compared with the log-probabilities that were stored at preparation: there are no adapters to turn off."""
    _, records = trained(base, blobs, pools, preferences(tasks(1, 40)), method="dpo", lora=False, epochs=2)
    assert records[-1]["metrics"]["margin"] > records[0]["metrics"]["margin"] > 0


def negated(task: Task, outcome: Outcome, io: WorkIO) -> Outcome:
    terms = Assignment.from_json(task.payload)
    codec = make_codec(terms.codec)
    vector = codec.decode(outcome.blobs["delta"], terms.stop - terms.start)
    return with_delta(outcome, codec.encode(-vector, seed=1))


@pytest.mark.parametrize("method", ["supervised", "dpo"])
def test_who_works_against_the_objective_is_found_out(
    base: Base, blobs: Blobs, pools: list[LocalPool], method: str
) -> None:
    data = chats(tasks(1, 60)) if method == "supervised" else preferences(tasks(1, 60))
    made = prepare_tuning(base, data, TuningOptions(method=method, epochs=3), blobs.put, name="x")  # type: ignore[arg-type]
    pool = pool_of(made.job, blobs)
    pools.append(pool)
    pool.members[MEMBERS[1]] = Tampering(negated, TrainExecutor(None, threads=1))
    found = [{m["member"]: m["verdict"] for m in record["members"]} for record in pool.run(4)]
    assert all(verdicts[MEMBERS[0]] == "ok" for verdicts in found)
    # The learning rate warms up: what the first round does, forth or back, may be next to nothing.
    assert all(verdicts[MEMBERS[1]] == "raises_loss" for verdicts in found[1:])


def test_a_restarted_hub_and_members_go_on_to_the_same_bits(
    base: Base, blobs: Blobs, pools: list[LocalPool], tmp_path: Path
) -> None:
    made = prepare_tuning(base, chats(tasks(1, 60)), TuningOptions(epochs=3), blobs.put, name="x")
    straight, broken = pool_of(made.job, blobs), pool_of(made.job, blobs)
    pools += [straight, broken]
    straight.run(3)
    for _ in range(3):
        broken.members = {m: TrainExecutor(tmp_path / m, threads=1) for m in MEMBERS}
        broken.round()
        broken.close()
    assert broken.state["theta"] == straight.state["theta"]
