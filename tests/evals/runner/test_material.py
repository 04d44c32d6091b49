"""Which instances are asked, and the hash of all."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
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


@pytest.mark.parametrize("wanted", [0, 7])
def test_a_long_scenario_is_read_again_in_place_of_kept(wanted: int, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = gathered(20, wanted)
    monkeypatch.setattr(material, "KEPT", 5)
    reads = []

    def read() -> Iterable[Instance]:
        reads.append(1)
        return iter(instances(20))

    again = gather(read, max_instances=wanted, seed=0)
    assert list(again.instances()) == list(kept.instances())
    assert (again.rows, again.size, len(reads)) == (kept.rows, kept.size, 2)
    assert len(again.train) == 3


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
