from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from tools_hub import ToolsHub, running_tools_hub

from commonweal.core.blobs import Blobs
from commonweal.core.database import Database
from commonweal.core.hashing import BlobHash
from commonweal.core.sandbox import Sandbox, find_sandbox
from commonweal.serve.tools.databases import Databases


@pytest.fixture(scope="session")
def sandbox() -> Sandbox | None:
    return find_sandbox()


@pytest.fixture
def towns(tmp_path: Path) -> bytes:
    """A SQLite file."""
    path = tmp_path / "towns.sqlite"
    with sqlite3.connect(path) as connection:
        connection.executescript(
            """
            CREATE TABLE country (code TEXT PRIMARY KEY, "full name" TEXT);
            CREATE TABLE town (name TEXT, people INTEGER, country TEXT REFERENCES country(code));
            CREATE VIEW large AS SELECT name FROM town WHERE people > 100000;
            INSERT INTO country VALUES ('aa', 'Aland'), ('bb', 'Beland');
            INSERT INTO town VALUES ('Upper', 250000, 'aa'), ('Lower', 1200, 'aa'), ('Middle', 90000, 'bb');
            """
        )
    connection.close()
    return path.read_bytes()


@pytest.fixture
def towns_blob(blobs: Blobs, towns: bytes) -> BlobHash:
    return blobs.put(towns)


@pytest.fixture(params=["jail", "child"])
def databases(request: pytest.FixtureRequest, blobs: Blobs, sandbox: Sandbox | None) -> Iterator[Databases]:
    """With a jail, and as on a machine that has none."""
    if request.param == "jail" and sandbox is None:
        pytest.skip("no sandbox: bubblewrap is missing, or user namespaces are switched off")
    made = Databases(blobs, sandbox if request.param == "jail" else None)
    yield made
    made.close()


@pytest.fixture
def hub(database: Database, blobs: Blobs) -> Iterator[ToolsHub]:
    with running_tools_hub(database, blobs) as running:
        yield running


@pytest.fixture
def towns_file(hub: ToolsHub, towns: bytes) -> str:
    """Ann's database."""
    made = hub.client().files.create(file=("towns.sqlite", towns), purpose="user_data")
    return made.id
