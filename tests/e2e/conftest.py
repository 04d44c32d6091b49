"""A hub for all end-to-end tests of a process, and texts to train on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("torch")
import torch
from e2e_pool import HubProcess, place, write_texts

from commonweal.pool.client import PoolClient


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_texts(tmp_path_factory.mktemp("data") / "texts")


@pytest.fixture(scope="session")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where jobs keep their tokens."""
    return tmp_path_factory.mktemp("work")


@pytest.fixture
def hub_folder() -> Iterator[Path]:
    with place() as folder:
        yield folder


@pytest.fixture(scope="session")
def session_hub_folder() -> Iterator[Path]:
    with place() as folder:
        yield folder


@pytest.fixture(scope="session")
def hub(session_hub_folder: Path) -> Iterator[HubProcess]:
    """Used by many tests: nobody kills this one."""
    hub = HubProcess(session_hub_folder)
    try:
        hub.start()
        yield hub
    finally:
        hub.stop()


@pytest.fixture
def client(hub: HubProcess) -> Iterator[PoolClient]:
    client = hub.client()
    yield client
    client.close()
