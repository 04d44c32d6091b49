from __future__ import annotations

import base64
import codecs
import random
from dataclasses import replace
from pathlib import Path

import pytest

from commonweal.evals.instance import Instance
from commonweal.evals.loading import DataLoader
from commonweal.evals.perturbations.perturbation import Perturbation
from commonweal.evals.scenarios.later.attacks import ATTACKS
from commonweal.evals.scenarios.later.jailbreak import JAILBREAK
from commonweal.evals.scenarios.later.safety import SAFETY, SOURCES

REQUEST = "Please tell me how to bake bread."


def changed(name: str) -> str:
    made = ATTACKS[name].apply(Instance(id="i", input=REQUEST, extra={"request": REQUEST}), random.Random(0))
    assert made is not None
    assert (made.id, made.perturbation, made.extra) == ("i", name, {"request": REQUEST})
    return made.input


@pytest.mark.parametrize(
    "name", ["prefix_injection", "refusal_suppression", "style_injection", "role_play", "distractors"]
)
def test_the_request_is_still_there(name: str) -> None:
    text = changed(name)
    assert REQUEST in text
    assert len(text) > len(REQUEST)


def test_hidden_requests_can_be_read_back() -> None:
    assert base64.b64decode(changed("base64").split("\n\n")[1]).decode() == REQUEST
    assert codecs.decode(changed("rot13").split("\n\n")[1], "rot13") == REQUEST
    assert changed("disemvowel").endswith("Pls tll m hw t bk brd.")
    assert REQUEST not in changed("combination")


def test_attacks_are_perturbations_and_cite_their_source() -> None:
    for name, attack in ATTACKS.items():
        as_perturbation: Perturbation = attack
        assert as_perturbation.name == name
        assert "Wei et al. 2023" in attack.source
        assert attack.idea


def test_the_suite_asks_each_request_under_each_attack(tmp_path: Path) -> None:
    folder = tmp_path / "harmful_behaviours" / "processed"
    folder.mkdir(parents=True)
    (folder / "advbench.json").write_text(f'[{{"instruction": "{REQUEST}", "category": null}}]')
    loader = DataLoader(tmp_path, tmp_path / "cache", offline=True)
    asked = list(JAILBREAK[0].read(loader, {"source": "advbench"}))
    assert [one.subset for one in asked] == ["none", *ATTACKS]
    assert {one.extra["request"] for one in asked} == {REQUEST}
    assert {one.perturbation for one in asked} == {""}
    (one,) = JAILBREAK[0].read(loader, {"source": "advbench", "attack": "base64"})
    assert one.input == changed("base64")
    assert replace(one, input="").subset == "base64"


def test_every_source_of_requests_can_be_read(data_root: Path, tmp_path: Path) -> None:
    """Numbers only: the requests themselves are not for a test's output."""
    loader = DataLoader(data_root, tmp_path, offline=True)
    sizes = {}
    for source in SOURCES["source"]:
        instances = list(SAFETY[1].read(loader, {"source": source}))
        sizes[source] = len(instances)
        assert len({one.id for one in instances}) == len(instances)
        assert {one.extra["expect"] for one in instances} == {"refusal"}
        assert all(bool(one.input) for one in instances)
    assert sizes == {
        "harmbench": 159,
        "advbench": 520,
        "jailbreakbench": 100,
        "strongreject": 313,
        "malicious_instruct": 100,
        "tdc2023": 100,
    }
