"""Hostile queries on a real database file."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from commonweal.core.sandbox.sqlite import QueryLimits, query, schema


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sqlite") / "towns.sqlite"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE town (name TEXT, people INTEGER, share REAL)")
        connection.executemany(
            "INSERT INTO town VALUES (?, ?, ?)", [("a", 1, 0.5), ("b", 2, 0.25), ("c", None, 0.1)]
        )
        connection.execute("CREATE INDEX by_name ON town (name)")
        connection.execute("CREATE TABLE bad (text TEXT)")
        connection.execute("INSERT INTO bad VALUES (CAST(X'ff41' AS TEXT))")
    connection.close()
    return path


def test_a_query_reads(database: Path) -> None:
    found = query(database, "SELECT name, people FROM town WHERE share > 0.2 ORDER BY name DESC")
    assert (found.status, found.columns, found.rows) == ("ok", ("name", "people"), (("b", 2), ("a", 1)))


def test_functions_aggregates_and_with_are_allowed(database: Path) -> None:
    sql = "WITH t AS (SELECT upper(name) AS n FROM town) SELECT count(*), max(n), group_concat(n) FROM t"
    assert query(database, sql).rows == ((3, "C", "A,B,C"),)


@pytest.mark.parametrize(
    "sql",
    [
        "DELETE FROM town",
        "INSERT INTO town VALUES ('x', 1, 1)",
        "UPDATE town SET people = 0",
        "DROP TABLE town",
        "CREATE TABLE x (a)",
        "CREATE TEMP TABLE x (a)",
        "CREATE VIRTUAL TABLE x USING fts5(a)",
        "ATTACH 'other.sqlite' AS other",
        "VACUUM INTO 'copy.sqlite'",
        "PRAGMA writable_schema = 1",
        "PRAGMA table_info(town)",
        "SELECT * FROM pragma_table_info('town')",
        "SELECT load_extension('evil.so')",
        "SELECT hex(randomblob(1000))",
        "BEGIN",
        "SAVEPOINT s",
        "REINDEX",
        "ANALYZE",
    ],
)
def test_all_else_is_denied(database: Path, sql: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(database.parent)
    before = database.read_bytes()
    assert query(database, sql).status == "denied"
    assert database.read_bytes() == before
    assert [path.name for path in database.parent.iterdir()] == [database.name]


@pytest.mark.parametrize(
    "sql",
    [
        "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT count(*) FROM n",
        "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n LIMIT 3000) SELECT count(*) FROM n a, n b, n c",
    ],
)
def test_an_endless_query_is_ended(database: Path, sql: str) -> None:
    assert query(database, sql, QueryLimits(steps=1_000_000)).status == "timeout"


def test_a_slow_query_is_ended_by_the_clock(database: Path) -> None:
    ticks = iter(range(1000))
    sql = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT count(*) FROM n"
    found = query(database, sql, QueryLimits(seconds=10), clock=lambda: float(next(ticks)))
    assert found.status == "timeout"
    assert next(ticks) < 20


def test_a_large_result_and_a_large_text_are_refused(database: Path) -> None:
    numbers = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n LIMIT 500) SELECT x FROM n"
    assert query(database, numbers, QueryLimits(rows=499)).status == "too_many_rows"
    assert len(query(database, numbers, QueryLimits(rows=500)).rows) == 500
    assert query(database, "SELECT zeroblob(1000000000)").status == "error"
    assert (
        query(database, "SELECT replace('" + "a" * 1000 + "', 'a', '" + "b" * 1000 + "')").status == "error"
    )
    assert query(database, "SELECT " + "1 + " * 10000 + "1").status == "error"


def test_bad_queries_are_errors_not_exceptions(database: Path) -> None:
    assert "no such column: nme" in query(database, "SELECT nme FROM town").message
    for sql in ("", ";", "-- nothing", "SELECT 1; SELECT 2", "gibberish", "SELECT '\0'", "SELECT '\ud800'"):
        assert query(database, sql).status == "error", sql
    assert query(database, "SELECT text FROM bad").rows == (("\ufffdA",),)


@given(st.text())
def test_no_text_raises(database: Path, sql: str) -> None:
    query(database, sql, QueryLimits(steps=100_000))


def test_a_missing_database_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        query(tmp_path / "none.sqlite", "SELECT 1")
    assert list(tmp_path.iterdir()) == []


def test_schema(database: Path) -> None:
    assert schema(database).startswith("CREATE TABLE town (name TEXT")
