"""A stranger's query on a SQLite database: it can read, and nothing else, and it ends.

No jail is needed for that: the file is opened read-only; SQLite's authorizer allows SELECT, reading columns, recursion
and harmless functions, and denies all else (ATTACH, PRAGMA, writing, load_extension); a progress handler ends a query
after a number of virtual machine steps or a time; lengths of texts and of the query are bounded; rows are capped. A
database *file* of a stranger is another matter: a broken one is SQLite's parser's to survive, so such files are opened
in a jail or at least in a process of their own. For that this module imports nothing but the standard library.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

Status = Literal["ok", "error", "denied", "timeout", "too_many_rows"]

_ALLOWED = frozenset({sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_RECURSIVE})
_FORBIDDEN = frozenset(
    {"load_extension", "fts3_tokenizer", "readfile", "writefile", "edit", "randomblob", "random"}
)
_CHECK_EVERY = 10_000
_LIMITS = (
    (sqlite3.SQLITE_LIMIT_LENGTH, 100_000),
    (sqlite3.SQLITE_LIMIT_SQL_LENGTH, 20_000),
    (sqlite3.SQLITE_LIMIT_ATTACHED, 0),
    (sqlite3.SQLITE_LIMIT_LIKE_PATTERN_LENGTH, 1000),
    (sqlite3.SQLITE_LIMIT_WORKER_THREADS, 0),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryLimits:
    """``steps`` of SQLite's virtual machine, ``seconds`` of wall time, ``rows`` of the result."""

    steps: int = 20_000_000
    seconds: float = 5.0
    rows: int = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """What a query gave. ``message`` says why it gave nothing; of too many rows the first are there."""

    status: Status
    columns: tuple[str, ...] = ()
    rows: tuple[tuple[Any, ...], ...] = ()
    message: str = ""


def query(
    database: Path,
    sql: str,
    limits: QueryLimits | None = None,
    *,
    clock: Callable[[], float] = time.monotonic,
) -> Rows:
    """Run one SELECT. Never raises for what ``sql`` is; raises FileNotFoundError where there is no database."""
    if not database.is_file():
        raise FileNotFoundError(f"{database}: no such database")
    bounds = limits or QueryLimits()
    uri = database.resolve().as_uri() + "?mode=ro&immutable=1"
    connection = sqlite3.connect(uri, uri=True, isolation_level=None)
    try:
        return _guarded(connection, sql, bounds, clock)
    finally:
        connection.close()


def _guarded(
    connection: sqlite3.Connection, sql: str, bounds: QueryLimits, clock: Callable[[], float]
) -> Rows:
    """The guards hold from here on; the schema is read before them, as reading it is no SELECT."""
    connection.text_factory = lambda data: data.decode("utf-8", "replace")
    connection.execute("PRAGMA trusted_schema = OFF")  # what a view or a generated column may call
    for what, most in _LIMITS:
        connection.setlimit(what, most)
    denied: list[str] = []
    deadline, left = clock() + bounds.seconds, bounds.steps // _CHECK_EVERY
    stopped = False

    def progress() -> int:
        nonlocal left, stopped
        left -= 1
        stopped = left < 0 or clock() >= deadline
        return int(stopped)

    connection.set_authorizer(_authorizer(denied))
    connection.set_progress_handler(progress, _CHECK_EVERY)
    try:
        cursor = connection.execute(sql)
        found = cursor.fetchmany(bounds.rows + 1)
    except (sqlite3.Error, sqlite3.Warning, ValueError, OverflowError, MemoryError) as error:
        if denied:
            return Rows(status="denied", message=f"not allowed: {denied[0]}")
        if stopped:
            return Rows(status="timeout", message="the query took too long")
        return Rows(status="error", message=str(error) or type(error).__name__)
    if cursor.description is None:
        return Rows(status="error", message="no query: nothing was selected")
    columns = tuple(column[0] for column in cursor.description)
    if len(found) > bounds.rows:
        most = bounds.rows
        return Rows(
            status="too_many_rows",
            columns=columns,
            rows=tuple(found[:most]),
            message=f"more than {most} rows",
        )
    return Rows(status="ok", columns=columns, rows=tuple(found))


def _authorizer(denied: list[str]) -> Callable[..., int]:
    def allow(action: int, first: str | None, second: str | None, *_: str | None) -> int:
        if action in _ALLOWED:
            return sqlite3.SQLITE_OK
        if action == sqlite3.SQLITE_FUNCTION and (second or "").lower() not in _FORBIDDEN:
            return sqlite3.SQLITE_OK
        denied.append(f"action {action} {first or ''} {second or ''}".strip())
        return sqlite3.SQLITE_DENY

    return allow


def schema(database: Path) -> str:
    """The CREATE TABLE statements of a database."""
    with sqlite3.connect(database.resolve().as_uri() + "?mode=ro&immutable=1", uri=True) as connection:
        found = connection.execute("SELECT sql FROM sqlite_master WHERE type = 'table' AND sql IS NOT NULL")
        statements = [str(statement) for (statement,) in found]
    connection.close()
    return ";\n".join(statements)
