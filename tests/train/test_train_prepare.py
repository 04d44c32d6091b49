"""From settings to a submitted job: complete, portable, and refused early when it cannot be."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from train_world import World

from commonweal.core.errors import CommonwealError, ConfigError, DataError
from commonweal.core.hashing import BlobHash
from commonweal.train.chain import state_from
from commonweal.train.prepare import prepare_job
from commonweal.train.spec import JobSpec, WorkerSpec


def test_the_specification_is_whole(world: World) -> None:
    prepared = world.prepare()
    spec = JobSpec.from_json(json.loads(json.dumps(prepared.spec)))
    worker = WorkerSpec.from_json(json.loads(world.blobs.get(spec.worker)))
    named = {spec.theta, spec.worker, *worker.files.values(), *worker.tokenizer.values()}
    named |= {shard["hash"] for shards in (worker.shards, spec.held_out) for shard in shards["shards"]}
    assert named == set(prepared.blobs)
    assert all(world.blobs.has(BlobHash(name)) for name in named)
    assert state_from(world.blobs.get(spec.theta), spec.parameters).std() > 0
    assert spec.memory_bytes > 9 * 4 * spec.parameters


def test_members_are_not_told_what_they_are_scored_on(world: World) -> None:
    spec = JobSpec.from_json(world.prepare().spec)
    worker = world.blobs.get(spec.worker).decode()
    assert not any(shard["hash"] in worker for shard in spec.held_out["shards"])


def test_nothing_of_this_machine_is_in_it(world: World) -> None:
    """But for the path that the user typed."""
    spec = json.dumps(world.prepare().spec)
    worker = world.blobs.get(JobSpec.from_json(world.prepare().spec).worker).decode()
    assert str(world.folder) not in spec + worker


def test_preparing_again_gives_the_same(world: World) -> None:
    first = world.prepare()
    again = prepare_job(world.settings(), world.folder, world.blobs.put)
    assert again.spec == first.spec


def test_fragments_make_up_the_vector(world: World) -> None:
    spec = JobSpec.from_json(world.prepare().spec)
    for count, parts in spec.parts().items():
        assert len(parts) == count
        covered = np.zeros(spec.parameters, int)
        for start, stop in parts:
            covered[start:stop] += 1
        assert (covered == 1).all()


@pytest.mark.parametrize(
    ("sections", "kind", "said"),
    [
        ({"model": {"architecture": "lama"}}, ConfigError, "did you mean 'llama'"),
        ({"model": {"config": {"hiden_size": 8}}}, ConfigError, "hidden_size"),
        ({"model": {"config": {"hidden_size": 33, "num_attention_heads": 2}}}, ConfigError, "model.config"),
        ({"data": {"path": "no/such/folder"}}, DataError, "no/such/folder"),
        ({"train": {"steps": 5, "batch_size": 100_000}}, DataError, "batch_size"),
        ({"model": {"checkpoint": "./nowhere"}}, CommonwealError, "nowhere"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_stored(
    world: World, sections: dict[str, Any], kind: type[Exception], said: str
) -> None:
    stored: list[bytes] = []

    def put(data: bytes) -> BlobHash:
        stored.append(data)
        return BlobHash("")

    with pytest.raises(kind, match=said):
        prepare_job(world.settings(**sections), world.folder, put)
    assert not stored


def test_data_that_is_not_utf8_names_the_file(world: World, tmp_path: Path) -> None:
    (tmp_path / "fine.txt").write_text("fine " * 100)
    (tmp_path / "bad.txt").write_bytes(b"abc \xff\xfe def" * 100)
    with pytest.raises(DataError, match=r"bad\.txt"):
        prepare_job(world.settings(data={"path": str(tmp_path)}), world.folder, world.blobs.put)


@pytest.mark.parametrize(
    "change", [{"version": 2}, {"fragments": [[[0, 5]]]}, {"parameters": "many"}, {"more": 1}]
)
def test_another_specification_is_refused(world: World, change: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="specification"):
        JobSpec.from_json({**world.prepare().spec, **change})


def test_the_hub_side_needs_no_torch() -> None:
    code = (
        "import sys; import commonweal.train.job, commonweal.train.config, commonweal.train.record;"
        "assert not {'torch', 'transformers', 'tokenizers'} & set(sys.modules), 'too much'"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
