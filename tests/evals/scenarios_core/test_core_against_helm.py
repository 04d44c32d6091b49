"""The core scenarios give HELM's own instances and prompts: helm_golden.json was written by crfm-helm 0.5.16 from the
same small files (see make_helm_golden.py)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from commonweal.evals.instance import Instance
from commonweal.evals.loading import DataLoader
from commonweal.evals.scenarios.core.raft_prompts import INSTRUCTIONS
from commonweal.evals.scenarios.registry import resolve

GOLDEN = json.loads((Path(__file__).parent / "helm_golden.json").read_text(encoding="utf-8"))
METHODS = {
    "multiple_choice_separate_original": "multiple_choice_separate",
    "binary_ranking": "ranking_binary",
}


@pytest.mark.parametrize("name", sorted(GOLDEN["instances"]))
def test_instances(name: str, small_root: Path, load: Callable[[Path], DataLoader]) -> None:
    scenario, args = resolve(name)
    instances = list(scenario.read(load(small_root), args))
    assert [_plain(instance, name) for instance in instances] == GOLDEN["instances"][name]
    assert len({instance.id for instance in instances}) == len(instances)


@pytest.mark.parametrize("name", sorted(GOLDEN["adapters"]))
def test_prompts(name: str) -> None:
    scenario, args = resolve(name)
    ours = scenario.vary(scenario.adaptation, args) if scenario.vary else scenario.adaptation
    helm: dict[str, Any] = dict(GOLDEN["adapters"][name])
    if name.startswith("raft"):  # HELM downloads its instructions
        helm["instructions"] = INSTRUCTIONS["overruling"] + "\n"
    assert ours.method == METHODS.get(helm["method"], helm["method"])
    names = (
        "global_prefix",
        "instructions",
        "input_prefix",
        "input_suffix",
        "output_prefix",
        "output_suffix",
    )
    names += ("instance_prefix", "temperature", "max_tokens")
    assert {n: getattr(ours, n) for n in names} == {n: helm[n] for n in names}
    assert list(ours.stop) == helm["stop_sequences"]
    assert ours.shots == helm["max_train_instances"]
    if ours.method in ("multiple_choice_joint", "ranking_binary"):
        assert ours.reference_prefix == helm["reference_prefix"]
        assert ours.reference_suffix == helm["reference_suffix"]


def _plain(instance: Instance, name: str) -> dict[str, Any]:
    text = instance.input
    made: dict[str, Any] = {
        "input": text if len(text) < 500 else "sha256:" + hashlib.sha256(text.encode()).hexdigest(),
        "split": instance.split,
        "references": [[reference.text, reference.correct] for reference in instance.references],
    }
    if instance.contrasts:
        made["contrasts"] = [
            [c.input, [reference.text for reference in c.references]] for c in instance.contrasts
        ]
    if name.startswith("civil"):  # HELM has a subset nowhere else
        made["subset"] = instance.subset
    return made
