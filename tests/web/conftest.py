"""Real runs of mock models, and a site of them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from commonweal.web.site import Site, load

MODELS = ("mock", "mock:always=Yes", "mock:fails=0.08")


def evaluate(model: str, out: Path, *more: str) -> None:
    words = ["eval", "--model", model, "--out", str(out), "--max-failures", "1", *more]
    done = subprocess.run(
        [sys.executable, "-m", "commonweal", *words], capture_output=True, text=True, check=False
    )
    assert "runs" not in done.stderr, done.stderr
    assert any(out.rglob("scores.parquet")), done.stderr


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three mock models on three scenarios: yes or no with perturbations, choices, and one that one model lacks."""
    root = tmp_path_factory.mktemp("runs")
    perturbed = ("--perturbations", "dialect,first_names", "--max-instances", "60")
    for model in MODELS:
        evaluate(model, root, "--scenario", "people", *perturbed)
        evaluate(model, root, "--scenario", "kinds", "--max-instances", "10")
    evaluate("mock", root, "--scenario", "arithmetic_tools", "--max-instances", "5")
    return root


@pytest.fixture(scope="session")
def site(runs: Path) -> Site:
    return load([runs])


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The folder of real data beside the checkout."""
    root = Path(__file__).resolve().parents[3] / "shared" / "data"
    if not root.is_dir():
        pytest.skip(f"no real data at {root}")
    return root
