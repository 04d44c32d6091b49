"""Which instances are asked, and the hash of all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from commonweal.core.completion import Image
from commonweal.core.errors import DataError
from commonweal.evals import material
from commonweal.evals.instance import Contrast, Instance, Reference
from commonweal.evals.material import gather


def instances(count: int, **changed: Any) -> list[Instance]:
    made = [Instance(id=f"t{i}", input="x", split="train") for i in range(3)]
    made += [Instance(id=f"id{i}", input=f"input {i}") for i in range(count)]
    return [*made[:-1], replace(made[-1], **changed)]


def gathered(count: int = 10, wanted: int = 0, seed: int = 0, **changed: Any) -> material.Material:
    return gather(lambda: instances(count, **changed), max_instances=wanted, seed=seed)


@pytest.mark.parametrize("seed", [0, 1])
def test_the_subset_is_that_of_helm(seed: int) -> None:
    """helm/benchmark/runner.py, downsample_eval_instances, draws so (with seed 0)."""
    np.random.seed(seed)
    everything = np.empty(100, dtype=object)
    everything[:] = [instance for instance in instances(100) if not instance.is_train]
    helm = {instance.id for instance in np.random.choice(everything, 30, replace=False)}
    ours = gathered(100, 30, seed)
    assert {instance.id for instance in ours.instances()} == helm
    assert (ours.size, ours.total) == (30, 100)


def test_a_larger_subset_contains_a_smaller_one() -> None:
    small, large = ({one.id for one in gathered(50, n).instances()} for n in (10, 20))
    assert small < large


@dataclass
class Reading:
    """A scenario that counts how often it is read."""

    made: list[Instance]
    times: int = 0

    def __call__(self) -> Iterator[Instance]:
        self.times += 1
        return iter(self.made)


@pytest.mark.parametrize("wanted", [0, 7])
def test_a_long_scenario_waits_on_disk(wanted: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    kept = gathered(1000, wanted)
    monkeypatch.setattr(material, "KEPT", 5)
    read = Reading(instances(1000))
    with closing(gather(read, max_instances=wanted, seed=0, folder=tmp_path)) as found:
        for _ in range(2):
            assert list(found.instances()) == list(kept.instances())
        assert (found.rows, found.size, read.times) == (kept.rows, kept.size, 1)
        assert len(found.train) == 3
    assert list(tmp_path.iterdir()) == []


FULL: dict[str, Any] = {
    "references": (Reference(text="é\ud800", correct=True, grade=2), Reference(text="b")),
    "split": "valid",
    "subset": "s",
    "turns": ("more",),
    "images": (Image(data=b"\x00", media_type="image/gif"),),
    "contrasts": (Contrast(input="c", references=(Reference(text="d", correct=True),)),),
    "perturbation": "p",
    "extra": {"tests": ["assert True"], "ranks": (1, 2.5, None, True), "more": {"a": {"b"}}},
}


def test_what_waits_on_disk_comes_back_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(material, "KEPT", 1)
    read = Reading(instances(3, **FULL))
    with closing(gather(read, max_instances=0, seed=0)) as found:
        assert list(found.instances()) == instances(3, **FULL)[3:]
        assert read.times == 1


@pytest.mark.parametrize("trouble", ["not plain", "no such folder"])
def test_what_cannot_wait_on_disk_is_read_again(
    trouble: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(material, "KEPT", 5)
    made = instances(20, **({"extra": {"path": Path("x")}} if trouble == "not plain" else {}))
    read = Reading(made)
    folder = tmp_path / "gone" if trouble == "no such folder" else tmp_path
    with closing(gather(read, max_instances=0, seed=0, folder=folder)) as found:
        assert list(found.instances()) == made[3:]
        assert read.times == 2


def test_nothing_is_left_on_disk_by_a_reader_that_fails(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(material, "KEPT", 5)

    def read() -> Iterator[Instance]:
        yield from instances(20)
        raise DataError("line 21")

    with pytest.raises(DataError, match="line 21"):
        gather(read, max_instances=0, seed=0, folder=tmp_path)
    assert list(tmp_path.iterdir()) == []


CHANGES: list[dict[str, Any]] = [
    {"id": "other"},
    {"input": "other"},
    {"references": (Reference(text="a"),)},
    {"references": (Reference(text="a", correct=True),)},
    {"references": (Reference(text="a", grade=2),)},
    {"split": "valid"},
    {"subset": "s"},
    {"turns": ("more",)},
    {"images": (Image(data=b"1"),)},
    {"contrasts": (Contrast(input="c", references=()),)},
    {"extra": {"tests": ["assert True"]}},
]


def test_the_hash_tells_every_change() -> None:
    hashes = {gathered(**change).rows for change in [{}, *CHANGES]}
    assert len(hashes) == 1 + len(CHANGES)
    assert gathered().rows == gathered(wanted=3).rows, "what is asked of it is another matter"


def test_no_instances_and_two_of_one_name() -> None:
    with pytest.raises(DataError, match="no instances"):
        gather(lambda: instances(1)[:3], max_instances=0, seed=0)
    with pytest.raises(DataError, match="1 of 10 instances have the id of another one"):
        gathered(id="id3")
