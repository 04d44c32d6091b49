"""A model that the pool trained is evaluated, twice: its saved folder, and what the hub's own API answers for it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from e2e_pool import HubProcess, MemberProcess, as_toml, commonweal, job_table, place

ASPECTS = {"accuracy", "calibration", "robustness", "fairness", "bias", "toxicity", "efficiency"}
WINDOW = 4096
"""Bytes are its tokens, and the longest prompt of the offline suite has some three thousand."""

INSTANCES = 10
NAME = "pool-trained"


@pytest.fixture(scope="module")
def hub() -> Iterator[HubProcess]:
    """Its own: members earn by answering too, and the other tests compare what they earned with what jobs paid."""
    with place() as folder:
        made = HubProcess(folder)
        try:
            made.start()
            yield made
        finally:
            made.stop()


@pytest.fixture(scope="module")
def member(hub: HubProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MemberProcess]:
    made = MemberProcess(hub, "gwen", tmp_path_factory.mktemp("gwen"))
    made.start()
    yield made
    made.stop()


@pytest.fixture(scope="module")
def trained(
    hub: HubProcess, member: MemberProcess, work: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The folder that ``commonweal train --out`` has made of a job of the pool."""
    folder = tmp_path_factory.mktemp("trained")
    (folder / "texts").mkdir()
    for number in range(40):
        (folder / "texts" / f"{number:02d}.txt").write_text("he he she " * 100)
    table = job_table(
        folder / "texts",
        model={"config": {"hidden_size": 64, "num_hidden_layers": 1, "max_position_embeddings": WINDOW}},
        train={"steps": 480, "seq_len": 64},
        rounds={"min_members": 1, "first_inner_steps": 40, "last_inner_steps": 40},
    )
    (folder / "job.toml").write_text(as_toml(table))
    done = commonweal(
        *("train", str(folder / "job.toml"), "--work", str(work), "--out", str(folder / "model"), "--json"),
        hub=hub,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["status"] == "done"
    return folder / "model"


def evaluated(model: str, out: Path, *more: str, hub: HubProcess | None = None) -> dict[str, Any]:
    asked = ("--suite", "offline", "--max-instances", str(INSTANCES), "--out", str(out), "--json")
    done = commonweal("eval", "--model", model, *asked, *more, hub=hub, seconds=500)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def assert_seven_aspects(told: dict[str, Any]) -> None:
    assert told["status"] == "done"
    assert len(told["runs"]) >= 10
    measured = set()
    for run in told["runs"]:
        assert (run["status"], run["coverage"]["share"]) == ("done", 1), f"{run['name']}: {run['reason']}"
        assert set(run["aspects"]) == ASPECTS
        for aspect, cell in run["aspects"].items():
            if cell["mean"] is None:
                assert cell["reason"], f"{run['name']}: {aspect}"
            else:
                measured.add(aspect)
                assert cell["low"] <= cell["mean"] <= cell["high"], f"{run['name']}: {aspect}"
    assert measured == ASPECTS


@pytest.mark.slow
@pytest.mark.timeout(700)
def test_the_folder_of_a_model_of_the_pool_has_seven_aspects(trained: Path, tmp_path: Path) -> None:
    told = evaluated(str(trained), tmp_path / "runs")
    assert_seven_aspects(told)
    calibration = {run["aspects"]["calibration"]["stat"] for run in told["runs"]}
    assert "ece_10_bin" in calibration, "a model in this process tells its log-probabilities"
    [folder] = (tmp_path / "runs").iterdir()
    board = commonweal("leaderboard", str(folder), "--json")
    assert board.returncode == 0, board.stderr


@pytest.mark.slow
@pytest.mark.timeout(700)
def test_the_hub_answers_for_its_own_model_with_seven_aspects(
    hub: HubProcess, trained: Path, tmp_path: Path
) -> None:
    published = commonweal("models", "publish", str(trained), NAME, "--json", hub=hub)
    assert published.returncode == 0, published.stderr
    told = evaluated(f"{hub.url}/v1#{NAME}", tmp_path / "runs", "--key-env", "COMMONWEAL_KEY", hub=hub)
    assert_seven_aspects(told)
    assert sum(run["cost"]["requests"] for run in told["runs"]) > 10 * INSTANCES
