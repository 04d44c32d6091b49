"""Runs of a mock model, for labels to tell of."""

from __future__ import annotations

from pathlib import Path

import pytest
from label_world import run


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("runs")
    asked = ("--scenario", "people", "--scenario", "kinds", "--max-instances", "12", "--out", str(root))
    done = run("eval", "--model", "mock", *asked, "--perturbations", "dialect")
    assert done.returncode == 0, done.stderr
    return root
