"""The registry: every family, every stat, and the errors for what is in neither."""

from __future__ import annotations

import importlib
import json
import pkgutil
from dataclasses import asdict

import pytest

import commonweal.evals.metrics as package
from commonweal.core.errors import ConfigError
from commonweal.evals.metrics.metric import Family
from commonweal.evals.metrics.registry import DEFINITIONS, FAMILIES, definition, families, family


def test_every_family_in_the_package_is_registered() -> None:
    found = set()
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        for value in vars(importlib.import_module(module.name)).values():
            if isinstance(value, Family):
                found.add(value.name)
    assert found == set(FAMILIES)


def test_every_definition_says_what_it_is() -> None:
    for name, found in DEFINITIONS.items():
        assert found.name == name
        assert found.title
        assert found.description.endswith("."), name
        json.dumps(asdict(found))


def test_one_stat_has_one_definition() -> None:
    for one in FAMILIES.values():
        for found in one.definitions:
            assert DEFINITIONS[found.name] == found, (one.name, found.name)


def test_families_are_taken_once_and_efficiency_is_always_there() -> None:
    assert [one.name for one in families(["f1", "exact_match", "f1"])] == ["f1", "exact_match", "efficiency"]


def test_unknown_names_get_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean 'exact_match'"):
        family("exact_mach")
    with pytest.raises(ConfigError, match="did you mean 'ece_10_bin'"):
        definition("ece_10_bins")
    with pytest.raises(ConfigError, match="known: "):
        family("zzz")


def test_best_of_k() -> None:
    found = definition("f1_score@5")
    assert found.title == "F1, best of 5"
    assert found.name == "f1_score@5"
    with pytest.raises(ConfigError):
        definition("nothing@5")
    assert definition("selective_acc@10").aspect == "calibration"
