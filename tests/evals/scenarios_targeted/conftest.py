from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from pathlib import Path

import pytest
from targeted_files import FakeRemote, write_made_files

from commonweal.evals.instance import Instance
from commonweal.evals.loading import DataLoader
from commonweal.evals.scenarios.generated import GENERATED
from commonweal.evals.scenarios.targeted import TARGETED

Read = Callable[..., list[Instance]]


@pytest.fixture(scope="session")
def made_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("made")
    write_made_files(root)
    return root


SCENARIOS = {scenario.name: scenario for scenario in (*TARGETED, *GENERATED)}


def instances_of(
    loader: DataLoader, name: str, args: dict[str, str], most: int | None = None
) -> list[Instance]:
    return list(islice(SCENARIOS[name].read(loader, args), most))


@pytest.fixture
def read_from(tmp_path: Path) -> Read:
    """``read_from(root, "gsm", seed=0, subject="x")``: a scenario's instances, without a network."""

    def read(
        root: Path | None,
        name: str,
        *,
        seed: int = 0,
        remote: FakeRemote | None = None,
        most: int | None = None,
        **args: str,
    ) -> list[Instance]:
        loader = DataLoader(root, tmp_path / "cache", seed, remote=remote or FakeRemote())
        return instances_of(loader, name, args, most)

    return read


@pytest.fixture(scope="session")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Read:
    """``generated("dyck_language")``: the same of what needs no data, drawn once for all tests."""
    loader = DataLoader(None, tmp_path_factory.mktemp("cache"), 0, remote=FakeRemote())
    drawn: dict[tuple[str, tuple[tuple[str, str], ...]], list[Instance]] = {}

    def read(name: str, **args: str) -> list[Instance]:
        key = (name, tuple(sorted(args.items())))
        if key not in drawn:
            drawn[key] = instances_of(loader, name, args)
        return drawn[key]

    return read
