"""The executor: sessions kept, bad specifications answered, nothing but data taken from a job."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from train_world import JOB, MEMBERS, World

from commonweal.core.errors import CommonwealError, ConfigError, InvalidContribution
from commonweal.core.work import MemberView, Task
from commonweal.train.executor import TrainExecutor
from commonweal.train.local import LocalIO
from commonweal.train.prepare import PreparedJob
from commonweal.train.replica import open_model
from commonweal.train.spec import JobSpec, WorkerSpec


def task_of(world: World, prepared: PreparedJob, **payload: Any) -> Task:
    view = MemberView(id=MEMBERS[0], rate=None, upload=None, download=None, reputation=0.5)
    job = world.job(prepared)
    plan = job.plan(job.start(), [view], 0.0)
    assert plan is not None
    unit = plan.units[0]
    return Task(
        job=JOB,
        unit_key=unit.key,
        kind=unit.kind,
        payload={**json.loads(json.dumps(unit.payload)), **payload},
        amount=2,
        seconds=60.0,
    )


def test_a_unit_is_done(world: World, tmp_path: Path) -> None:
    executor = TrainExecutor(tmp_path, threads=1)
    outcome = executor.run(task_of(world, world.prepare()), LocalIO(world.blobs))
    assert outcome.amount_done == 2
    assert set(outcome.blobs) == {"delta"}
    assert json.loads(json.dumps(outcome.report, allow_nan=False)) == outcome.report
    executor.close()
    assert [file.suffix for file in tmp_path.iterdir()] == [".safetensors"]


def test_the_model_is_made_once_a_job(world: World) -> None:
    executor, io = TrainExecutor(None, threads=1), LocalIO(world.blobs)
    executor.run(task_of(world, world.prepare()), io)
    io.fetched.clear()
    executor.run(task_of(world, world.prepare()), io)
    assert io.fetched == []
    executor.close()


def test_only_so_many_jobs_stay_in_memory(world: World) -> None:
    executor, io = TrainExecutor(None, threads=1, sessions=1), LocalIO(world.blobs)
    executor.run(task_of(world, world.prepare()), io)
    executor.run(task_of(world, world.prepare(train={"seed": 5})), io)
    assert len(executor._sessions) == 1
    executor.close()


def test_progress_is_told(world: World) -> None:
    class Told(LocalIO):
        seen: list[int] = []  # noqa: RUF012

        def progress(self, amount_done: int) -> None:
            self.seen.append(amount_done)

    io = Told(world.blobs)
    executor = TrainExecutor(None, threads=1)
    executor.run(task_of(world, world.prepare()), io)
    assert io.seen == [1, 2]
    executor.close()


def test_a_lost_lease_stops_at_once(world: World) -> None:
    io = LocalIO(world.blobs)
    io.stop.set()
    executor = TrainExecutor(None, threads=1)
    assert executor.run(task_of(world, world.prepare()), io).amount_done == 0
    executor.close()


@pytest.mark.parametrize("payload", [{"round": None, "surplus": 1}, {"chain": [{}]}, {"chain": 3}])
def test_a_unit_of_another_version_is_refused(world: World, payload: dict[str, Any]) -> None:
    with pytest.raises(InvalidContribution):
        TrainExecutor(None).run(task_of(world, world.prepare(), **payload), LocalIO(world.blobs))


def worker_of(world: World, **changes: Any) -> WorkerSpec:
    spec = JobSpec.from_json(world.prepare().spec)
    return WorkerSpec.from_json({**json.loads(world.blobs.get(spec.worker)), **changes})


@pytest.mark.parametrize("name", ["../evil.json", "/etc/passwd", "a/b", "", ".hidden", "x\x00y"])
def test_a_file_cannot_leave_its_folder(world: World, name: str) -> None:
    worker = worker_of(world)
    files = {**worker.files, name: next(iter(worker.files.values()))}
    with pytest.raises(ConfigError, match="not a file's name"):
        open_model(worker_of(world, files=files), world.blobs.get)


def test_code_in_a_configuration_is_not_looked_at(world: World) -> None:
    worker = worker_of(world)
    config = json.loads(world.blobs.get(worker.files["config.json"]))
    config["auto_map"] = {"AutoModelForCausalLM": "stranger/repository--modeling.Evil"}
    config["_attn_implementation"] = "stranger/kernels"
    config["attn_implementation"] = "stranger/kernels"
    blob = world.blobs.put(json.dumps(config).encode())
    model, _ = open_model(worker_of(world, files={**worker.files, "config.json": blob}), world.blobs.get)
    assert type(model).__name__ == "LlamaForCausalLM"


@pytest.mark.parametrize(
    "config",
    [b"not json", b"{}", b'{"model_type": "llama", "hidden_size": -5}', b'{"model_type": "vit"}', b"[]"],
)
def test_a_model_that_cannot_be_made_is_answered(world: World, config: bytes) -> None:
    worker = worker_of(world)
    files = {"config.json": world.blobs.put(config)}
    with pytest.raises(CommonwealError):
        open_model(worker_of(world, files={**worker.files, **files}), world.blobs.get)


def test_another_layout_is_answered(world: World) -> None:
    worker = worker_of(world)
    with pytest.raises(ConfigError, match="other parameters"):
        open_model(worker_of(world, layout=worker.layout[:-1]), world.blobs.get)
