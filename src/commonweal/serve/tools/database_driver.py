"""Looks into one SQLite database, in the jail: it is handed in as a program and never imported by the package.

Beside it lies ``guarded.py``, a copy of ``core/sandbox/sqlite.py``. Standard input holds JSON: ``database`` (a path),
``limits`` (of the guard) and ``memory`` in bytes, and either ``sql`` or nothing, which asks for the tables. Standard
output gets one JSON object: ``{status, columns, rows, message, cut}``, or ``{tables: [...]}``. What a file holds that
is no SQLite database ends as status ``error``.
"""

from __future__ import annotations

import importlib
import json
import math
import os
import resource
import sqlite3
import sys
from pathlib import Path
from typing import Any

LONGEST_CELL = 2000
LARGEST_RESULT = 400_000
MOST_TABLES = 100
MOST_COLUMNS = 100
SAMPLED = 200
SAMPLES = 3
LONGEST_SAMPLE = 40


def main() -> None:
    given = json.load(sys.stdin)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (given["memory"], given["memory"]))
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
    guarded: Any = importlib.import_module("guarded")
    database, limits = Path(given["database"]), guarded.QueryLimits(**given["limits"])
    try:
        if given.get("sql") is None:
            found: dict[str, Any] = {"tables": tables(guarded, database, limits)}
        else:
            found = result(guarded.query(database, given["sql"], limits))
    except (sqlite3.Error, UnicodeDecodeError) as error:  # the latter from a message that quotes the file
        found = {"status": "error", "message": str(error)}
    json.dump(found, sys.stdout)


def result(found: Any) -> dict[str, Any]:
    """The rows as JSON, as many as fit."""
    rows: list[list[Any]] = []
    size = 0
    for row in found.rows:
        cells = [cell_json(cell) for cell in row]
        size += sum(len(cell) if isinstance(cell, str) else 8 for cell in cells)
        if size > LARGEST_RESULT:
            break
        rows.append(cells)
    cut = len(rows) < len(found.rows) or found.status == "too_many_rows"
    return {
        "status": found.status,
        "columns": [name[:200] for name in found.columns],
        "rows": rows,
        "message": found.message.replace("MemoryError", "the query needs too much memory")[:500],
        "cut": cut,
    }


def cell_json(cell: Any) -> Any:
    if isinstance(cell, bytes):
        text = f"x'{cell[: LONGEST_CELL // 2].hex()}'"
        return text if len(cell) <= LONGEST_CELL // 2 else text[:-1] + "...'"
    if isinstance(cell, float) and not math.isfinite(cell):
        return "Infinity" if cell > 0 else "-Infinity"
    if isinstance(cell, str) and len(cell) > LONGEST_CELL:
        return cell[:LONGEST_CELL] + "..."
    return cell


def tables(guarded: Any, database: Path, limits: Any) -> list[dict[str, Any]]:
    """Tables and views with their columns, foreign keys and a few values."""
    connection = sqlite3.connect(database.resolve().as_uri() + "?mode=ro&immutable=1", uri=True)
    connection.text_factory = lambda data: data.decode("utf-8", "replace")
    names = connection.execute(
        "SELECT name, type FROM sqlite_master WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite\\_%' "
        "ESCAPE '\\' ORDER BY rowid"
    ).fetchall()
    made = [
        described(guarded, connection, database, limits, name, kind) for name, kind in names[:MOST_TABLES]
    ]
    connection.close()
    return made


def described(
    guarded: Any, connection: sqlite3.Connection, database: Path, limits: Any, name: str, kind: str
) -> dict[str, Any]:
    try:
        columns = connection.execute("SELECT name, type, pk FROM pragma_table_info(?)", (name,)).fetchall()
        keys = connection.execute(
            'SELECT "from", "table", "to" FROM pragma_foreign_key_list(?)', (name,)
        ).fetchall()
    except (
        sqlite3.Error,
        UnicodeDecodeError,
    ):  # a virtual table without its module, a view of what is gone
        columns, keys = [], []
    samples = sampled(guarded, database, limits, name, [column for column, _, _ in columns[:MOST_COLUMNS]])
    return {
        "name": name,
        "kind": kind,
        "columns": [
            {"name": column, "type": of_type or "", "key": bool(key), "samples": samples.get(column, [])}
            for column, of_type, key in columns[:MOST_COLUMNS]
        ],
        "more_columns": max(0, len(columns) - MOST_COLUMNS),
        "references": [[mine, table, theirs or ""] for mine, table, theirs in keys[:MOST_COLUMNS]],
    }


def sampled(
    guarded: Any, database: Path, limits: Any, table: str, columns: list[str]
) -> dict[str, list[Any]]:
    """A few values of each column, from the first rows, read as a stranger's query is."""
    if not columns:
        return {}
    listed = ", ".join(map(quoted, columns))
    found = guarded.query(database, f"SELECT {listed} FROM {quoted(table)} LIMIT {SAMPLED}", limits)
    samples: dict[str, list[Any]] = {column: [] for column in columns}
    for row in found.rows:
        for column, cell in zip(columns, row, strict=True):
            values = samples[column]
            fits = isinstance(cell, int | float) or (isinstance(cell, str) and len(cell) <= LONGEST_SAMPLE)
            if fits and len(values) < SAMPLES and cell not in values:
                values.append(cell_json(cell))
    return samples


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


if __name__ == "__main__":
    main()
