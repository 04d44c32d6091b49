"""Books to test on: one migrated database for all tests of the ledger, emptied before each."""

from __future__ import annotations

import os
from collections.abc import Iterator

import psycopg
import pytest
import sqlalchemy as sa
from ledger_books import Books

from commonweal.core.database import Database, connect
from commonweal.ledger.schema import TABLES


@pytest.fixture(scope="session")
def ledger_database(postgres_url: str) -> Iterator[Database]:
    name = f"ledger_{os.getpid()}"
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f"create database {name}")
    database = connect(str(sa.make_url(postgres_url).set(database=name).render_as_string(False)))
    yield database
    database.close()


@pytest.fixture
def empty_books(ledger_database: Database) -> Books:
    books = Books(ledger_database.engine)
    with books.forged() as conn:
        conn.execute(sa.text(f"truncate {', '.join(table.name for table in TABLES)} restart identity"))
    return books


@pytest.fixture
def books(empty_books: Books) -> Books:
    """Two users with 100 credits each, two members and a job without any."""
    empty_books.open({"ann": "user", "bob": "user", "mem_1": "member", "mem_2": "member", "job_1": "job"})
    empty_books.grant("ann", 100)
    empty_books.grant("bob", 100)
    return empty_books
