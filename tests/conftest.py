"""What every test may use: a real PostgreSQL server, a fresh database on it, and no network but loopback."""

from __future__ import annotations

import itertools
import os
import signal
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from fastapi import FastAPI
from hypothesis import settings

from commonweal.app import HubSettings, build
from commonweal.core.blobs import Blobs, open_blobs
from commonweal.core.database import Database, connect, start_embedded
from commonweal.pool.wire import PREFIX

_numbers = itertools.count()
# Without a deadline an example may take as long as it takes: a busy machine is no mistake of the code.
settings.register_profile("commonweal", deadline=None)
settings.load_profile("commonweal")
_connect = socket.socket.connect
# A shell that runs the suite in the background has it ignore ctrl-c, and all that it starts: some tests press it.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _loopback_only(monkeypatch: pytest.MonkeyPatch) -> None:
    def guarded(self: socket.socket, address: Any) -> None:
        host = address[0] if isinstance(address, tuple) else ""
        if self.family != socket.AF_UNIX and host not in ("127.0.0.1", "::1", "localhost"):
            raise AssertionError(f"a test tried to reach {host}")
        _connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", guarded)


@pytest.fixture(scope="session")
def postgres_url() -> str:
    """An embedded PostgreSQL server of this test process; stopped when the process ends."""
    folder = Path(tempfile.mkdtemp(prefix="commonweal-tests-")) / "postgres"
    return start_embedded(folder)


@pytest.fixture(scope="session")
def migrated(postgres_url: str) -> str:
    """A database with all tables, for others to be copied from: that is ten times as quick as to migrate each."""
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("create database migrated")
    connect(_in_database(postgres_url, "migrated")).close()
    return "migrated"


@pytest.fixture
def database_url(postgres_url: str, request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of a fresh database: empty, or with all tables where ``database`` opens it."""
    name = f"test_{os.getpid()}_{next(_numbers)}"
    template = request.getfixturevalue("migrated") if "database" in request.fixturenames else "template1"
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f"create database {name} template {template}")
    yield _in_database(postgres_url, name)
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f"drop database if exists {name} with (force)")


def _in_database(url: str, name: str) -> str:
    return url.replace("/postgres?", f"/{name}?").replace("@/postgres", f"@/{name}")


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """A fresh database with all its tables."""
    database = connect(database_url)
    yield database
    database.close()


@pytest.fixture(scope="session")
def pool_app(tmp_path_factory: pytest.TempPathFactory) -> FastAPI:
    """The pool's half of the hub's routes. Only looked at, never started."""
    nowhere: Any = SimpleNamespace(dsn=lambda: "")
    options = HubSettings(folder=tmp_path_factory.mktemp("app"))
    app = build(nowhere, open_blobs("memory://"), {}, options)
    included = [route for route in app.router.routes if hasattr(route, "original_router")]
    for route in included:
        paths = [inner.path for inner in route.original_router.routes if hasattr(inner, "path")]
        if not any(path.startswith(PREFIX) for path in paths):
            app.router.routes.remove(route)
    assert len(included) > 5
    return app


@pytest.fixture
def engine(database: Database) -> sa.Engine:
    return database.engine


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    return open_blobs(str(tmp_path / "store"))
