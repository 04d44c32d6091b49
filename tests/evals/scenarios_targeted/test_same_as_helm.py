"""The instances and the prompts are HELM's, byte for byte.

The digests were computed by running crfm-helm 0.5.16's own scenario classes over the same files (the real ones, and
the small ones of conftest.py); the adapter specifications are those that its run_specs give.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from commonweal.evals.instance import Instance
from commonweal.evals.scenarios.generated import GENERATED
from commonweal.evals.scenarios.targeted import TARGETED

SCENARIOS = {scenario.name: scenario for scenario in (*TARGETED, *GENERATED)}
ADAPTER_SPECS = json.loads(Path(__file__).with_name("helm_adapter_specs.json").read_text(encoding="utf-8"))

REAL = [
    ("bbq", {"subject": "Age"}, 3680, "d5174f41a229b3fd"),
    ("bbq", {"subject": "Religion"}, 1200, "ebeca07424c6f15c"),
    ("bbq", {"subject": "Disability_status"}, 1556, "baf2d2cb999a6196"),
    ("bold", {}, 7201, "63d40a160c181b5d"),
    ("bold", {"subject": "race"}, 3196, "0f0a38e098f4d720"),
    ("gsm", {}, 2319, "0072ab61870452b6"),
    ("babi_qa", {}, 40000, "37e626bd8f339c0d"),
    ("babi_qa", {"task": "19"}, 2000, "0e3c46a75d5c362d"),
    ("real_toxicity_prompts", {"prompts": "challenging"}, 2396, "b67d15ad2cb08fc5"),
    ("code_humaneval", {}, 164, "4651cbe42dee9656"),
    ("wikitext2", {}, 60, "9d24581a42df20e1"),
    ("blimp", {"paradigm": "wh_island"}, 1000, "34cfc440d5590221"),
]

MADE = [
    ("math", {"subject": "algebra"}, 8, "1eaade6950062350"),
    ("math", {"subject": "algebra", "use_official_examples": "True"}, 12, "8ce8ada2c743308c"),
    ("math_chain_of_thought", {"subject": "algebra"}, 8, "f5c54031d82b6a83"),
    ("wikifact", {"subject": "author"}, 3, "8663dba00084157e"),
    ("lsat_qa", {}, 12, "403fd440f405e50e"),
    ("lsat_qa", {"task": "grouping"}, 6, "756a4777c33e1196"),
    ("lsat_qa", {"task": "ordering"}, 3, "607474139815671c"),
    ("lsat_qa", {"task": "miscellaneous"}, 3, "9443c499a5e8d619"),
    ("legal_support", {}, 3, "fc4c6c6fd682cf93"),
    ("copyright_text", {}, 2, "020a7e011aa1f8a8"),
    ("copyright_code", {}, 2, "020a7e011aa1f8a8"),
    ("disinformation_reiteration", {}, 2, "62de3abdf4fec93a"),
    ("disinformation_reiteration", {"topic": "climate"}, 1, "95bef2c734d3d0bd"),
    ("disinformation_wedging", {}, 2, "7efca7f90cbe76ff"),
    ("twitter_aae", {}, 2, "ebe305954b9fd746"),
    ("the_pile", {}, 2, "65394c2d1584bcbf"),
    ("entity_data_imputation", {"dataset": "Buy"}, 22, "26edaaebceb8ecc9"),
    ("entity_data_imputation", {"dataset": "Restaurant"}, 21, "7a1d2359004a0d69"),
    ("entity_matching", {"dataset": "Beer"}, 30, "020b90116e036b0d"),
    ("code_apps", {}, 5, "46d63db47b3fcc51"),
    ("ice", {"subset": "ind"}, 2, "b51b66eb776daf2a"),
    ("ice", {"subset": "ind", "category": "S1"}, 1, "c5b7a8c0dfd5c2e9"),
    ("ice", {"subset": "ind", "gender": "female"}, 1, "c5b7a8c0dfd5c2e9"),
    ("ice", {"subset": "ea"}, 2, "634781ceb1779105"),
    ("ice", {"subset": "ea", "category": "S"}, 2, "634781ceb1779105"),
]

DRAWN = [
    ("synthetic_reasoning", "mode", "pattern_match", 11000, "369b7c428f7b5ec8"),
    ("synthetic_reasoning", "mode", "variable_substitution", 11000, "93c638841626973c"),
    ("synthetic_reasoning", "mode", "induction", 11000, "9047bc18deefa23a"),
    ("synthetic_reasoning_natural", "difficulty", "easy", 11000, "259215603e907f06"),
    ("synthetic_reasoning_natural", "difficulty", "medium", 11000, "eb8817e203dd3699"),
    ("synthetic_reasoning_natural", "difficulty", "hard", 11000, "d28fb6ccec8100f9"),
    ("dyck_language", "num_parenthesis_pairs", "2", 503, "04895f04681cc4d1"),
    ("dyck_language", "num_parenthesis_pairs", "3", 503, "7294f67e97d81bb9"),
    ("dyck_language", "num_parenthesis_pairs", "4", 503, "bc61e83ef13c7639"),
]


def digest(instances: Iterable[Instance]) -> str:
    """Of inputs, references and splits in their order."""
    made = hashlib.sha256()
    for instance in instances:
        references = [[reference.text, reference.correct] for reference in instance.references]
        made.update((json.dumps([instance.input, references, instance.split]) + "\n").encode())
    return made.hexdigest()[:16]


def check(instances: list[Instance], count: int, expected: str) -> None:
    assert len(instances) == count
    assert digest(instances) == expected
    assert [instance.id for instance in instances] == [f"id{number}" for number in range(count)]


@pytest.mark.parametrize(("name", "args", "count", "expected"), REAL)
def test_real_data(
    data_root: Path, read_from: Any, name: str, args: dict[str, str], count: int, expected: str
) -> None:
    check(read_from(data_root, name, **args), count, expected)


@pytest.mark.parametrize(("name", "args", "count", "expected"), MADE)
def test_made_files(
    made_root: Path, read_from: Any, name: str, args: dict[str, str], count: int, expected: str
) -> None:
    check(read_from(made_root, name, **args), count, expected)


@pytest.mark.parametrize(("name", "argument", "value", "count", "expected"), DRAWN)
def test_drawn_data(generated: Any, name: str, argument: str, value: str, count: int, expected: str) -> None:
    check(generated(name, **{argument: value}), count, expected)


@pytest.mark.parametrize("name", list(ADAPTER_SPECS))
def test_adaptation(name: str) -> None:
    adaptation = SCENARIOS[name].adaptation
    for setting, expected in ADAPTER_SPECS[name].items():
        value = getattr(adaptation, setting)
        assert (list(value) if isinstance(value, tuple) else value) == expected, setting


def test_every_targeted_scenario_of_helm_has_its_adaptation_checked() -> None:
    of_helm = {name for name, scenario in SCENARIOS.items() if "targeted" in scenario.tags}
    assert of_helm <= set(ADAPTER_SPECS)
