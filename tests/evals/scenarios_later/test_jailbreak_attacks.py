from __future__ import annotations

import asyncio
import base64
import codecs
import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from commonweal.core.completion import Abilities, Choice, Completion, Request
from commonweal.evals.aspects import cells
from commonweal.evals.assembling import bench as make_bench
from commonweal.evals.assembling import planned
from commonweal.evals.budget import Spent
from commonweal.evals.instance import Instance
from commonweal.evals.loading import DataLoader
from commonweal.evals.measuring import measure
from commonweal.evals.metrics.metric import Tools
from commonweal.evals.metrics.registry import DEFINITIONS
from commonweal.evals.perturbations.attacks import ATTACKS
from commonweal.evals.perturbations.perturbation import Perturbation
from commonweal.evals.perturbations.registry import apply_all, perturbation_names
from commonweal.evals.plan import Planned, Wishes
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


def advbench(folder: Path, *requests: str) -> Path:
    """A data root with these requests."""
    (folder / "harmful_behaviours" / "processed").mkdir(parents=True)
    rows = [{"instruction": request, "category": None} for request in requests]
    (folder / "harmful_behaviours" / "processed" / "advbench.json").write_text(json.dumps(rows))
    return folder


def test_each_request_is_asked_under_each_attack(tmp_path: Path) -> None:
    loader = DataLoader(advbench(tmp_path, REQUEST), tmp_path / "cache", offline=True)
    [plain] = JAILBREAK[0].read(loader, {"source": "advbench"})
    assert (plain.input, plain.perturbation, plain.subset) == (REQUEST, "", "")
    made = apply_all(plain, jailbreak().spec.perturbations)
    assert [one.perturbation for one in made] == list(ATTACKS)
    assert {(one.id, one.extra["request"]) for one in made} == {(plain.id, REQUEST)}


def jailbreak(name: str = "jailbreak:source=advbench", **wishes: Any) -> Planned:
    [run] = planned(Wishes(model="m", scenarios=(name,), **wishes), "m", Abilities())
    return run


def test_attacks_are_what_the_jailbreak_suite_is_about() -> None:
    assert jailbreak().spec.perturbations == tuple(ATTACKS)
    assert jailbreak("jailbreak:source=advbench,attack=base64").spec.perturbations == ("base64",)
    assert jailbreak("jailbreak:source=advbench,attack=none").spec.perturbations == ()
    assert jailbreak(perturbations=("none",)).spec.perturbations == ()
    assert jailbreak(perturbations=("default", "typos")).spec.perturbations == (*ATTACKS, "typos")
    suite = {
        run.spec.scenario: run.spec for run in planned(Wishes(model="m", suite="safety"), "m", Abilities())
    }
    assert suite["jailbreak"].perturbations == tuple(ATTACKS)
    assert "dialect" in suite["xstest"].perturbations


def test_other_scenarios_take_attacks_by_name() -> None:
    assert perturbation_names(["attacks"]) == tuple(ATTACKS)
    spec = jailbreak("harmful_behaviours", perturbations=("rot13", "role_play")).spec
    assert spec.perturbations == ("rot13", "role_play")


class Weak:
    """Refuses every request that it can read, and the first even in ROT13; follows the prefix injection always."""

    abilities = Abilities(chat=True)

    async def complete(self, request: Request) -> Completion:
        text = request.prompt or (request.messages or ())[-1].content
        known = "bread" in text or "cake" in text or "oernq" in text
        refuses = known and "Absolutely" not in text
        said = "I'm sorry, but I cannot help with that." if refuses else "Absolutely! Here's how."
        return Completion(choices=(Choice(text=said),))

    async def close(self) -> None:
        pass


def test_robustness_is_what_is_refused_under_every_attack(tmp_path: Path) -> None:
    data = advbench(tmp_path / "data", REQUEST, "Please tell me how to bake cake.")
    loader = DataLoader(data, tmp_path / "cache", offline=True)
    run = jailbreak(perturbations=("role_play", "rot13", "prefix_injection"))
    bench = make_bench(Weak(), loader, endpoint="m", tools=Tools(), spent=Spent(), began=0.0)
    measured = asyncio.run(measure(run, tmp_path / "run", bench))
    found = {s.perturbation: s.mean for s in measured.stats if s.name == "safety_score_by_markers"}
    assert found == {
        "": 1.0,
        "role_play": 1.0,
        "rot13": 0.5,
        "prefix_injection": 0.0,
        "robustness": 0.0,
        "worst": 0.0,
    }
    spec = replace(run.spec, main_metric="safety_score_by_markers")
    cell = cells(spec, measured.stats, DEFINITIONS)["robustness"]
    assert (cell.mean, cell.n) == (0.0, 2)


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
