"""One running API for a module, its desk fresh for every test."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
from api_world import World, running_world
from openai import OpenAI

from commonweal.core.blobs import open_blobs
from commonweal.core.database import connect


@pytest.fixture(scope="module")
def module_world(postgres_url: str, request: pytest.FixtureRequest) -> Iterator[World]:
    name = request.module.__name__
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f"create database {name}")
    database = connect(postgres_url.replace("/postgres?", f"/{name}?").replace("@/postgres", f"@/{name}"))
    with running_world(database, open_blobs("memory://"), **getattr(request.module, "OPTIONS", {})) as world:
        yield world
    database.close()


@pytest.fixture
def world(module_world: World) -> World:
    module_world.desk.reset()
    return module_world


@pytest.fixture
def client(world: World) -> OpenAI:
    return world.client()
