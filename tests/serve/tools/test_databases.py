"""Users' SQLite files: what they have, what may be asked of them, and hostile ones."""

from __future__ import annotations

import contextlib
import sqlite3
import tempfile
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from commonweal.core.blobs import Blobs
from commonweal.core.errors import NotFound, UserError
from commonweal.core.hashing import BlobHash
from commonweal.core.sandbox import Sandbox
from commonweal.core.sandbox.sqlite import QueryLimits
from commonweal.serve.tools import databases as module
from commonweal.serve.tools.databases import DatabaseOptions, Databases
from commonweal.serve.tools.tables import identifier, rows_text, schema_text


def made(path: Path, *statements: str) -> bytes:
    path.unlink(missing_ok=True)
    with sqlite3.connect(path) as connection:
        for statement in statements:
            connection.execute(statement)
    connection.close()
    return path.read_bytes()


def test_a_query_reads(databases: Databases, towns_blob: BlobHash) -> None:
    found = databases.query(towns_blob, "SELECT name, people FROM town ORDER BY people DESC LIMIT 2")
    assert (found.status, found.columns) == ("ok", ("name", "people"))
    assert found.rows == (("Upper", 250000), ("Middle", 90000))
    assert not found.cut


def test_the_tables_with_keys_and_values(databases: Databases, towns_blob: BlobHash) -> None:
    assert schema_text(databases.tables(towns_blob)) == "\n".join(
        [
            "table country",
            "  code TEXT primary key -- such as 'aa', 'bb'",
            "  \"full name\" TEXT -- such as 'Aland', 'Beland'",
            "table town",
            "  name TEXT -- such as 'Upper', 'Lower', 'Middle'",
            "  people INTEGER -- such as 250000, 1200, 90000",
            "  country TEXT -- such as 'aa', 'bb'",
            "  country references country(code)",
            "view large",
            "  name TEXT -- such as 'Upper'",
        ]
    )


@pytest.mark.parametrize(
    "sql",
    [
        "DELETE FROM town",
        "DROP TABLE town",
        "ATTACH '/etc/passwd' AS other",
        "ATTACH '/tmp/new.sqlite' AS other",
        "PRAGMA writable_schema = 1",
        "SELECT load_extension('/tmp/evil.so')",
        "SELECT readfile('/etc/passwd')",
        "VACUUM INTO '/tmp/copy.sqlite'",
        "SELECT name FROM town; DROP TABLE town",
        "CREATE TEMP TABLE x (a)",
    ],
)
def test_all_but_reading_is_refused(databases: Databases, towns_blob: BlobHash, sql: str) -> None:
    found = databases.query(towns_blob, sql)
    assert found.status in ("denied", "error")
    assert found.message
    assert found.rows == ()
    assert databases.query(towns_blob, "SELECT count(*) FROM town").rows == ((3,),)


ENDLESS = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT count(*) FROM n"


def test_a_query_that_never_ends_is_ended(
    blobs: Blobs, sandbox: Sandbox | None, towns_blob: BlobHash
) -> None:
    for steps, seconds in ((1_000_000, 60.0), (10**15, 0.3)):
        limits = QueryLimits(steps=steps, seconds=seconds, rows=10)
        databases = Databases(blobs, sandbox, DatabaseOptions(query=limits))
        assert databases.query(towns_blob, ENDLESS).status == "timeout"
        databases.close()


def test_what_does_not_heed_its_limits_is_killed(
    blobs: Blobs, sandbox: Sandbox | None, towns_blob: BlobHash, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The guard trusts SQLite to call it; the process around it does not."""
    monkeypatch.setattr(module, "_START_SECONDS", -4.0)
    limits = QueryLimits(steps=10**15, seconds=5.0, rows=10)
    for box in (sandbox, None):
        databases = Databases(blobs, box, DatabaseOptions(query=limits))
        found = databases.query(towns_blob, ENDLESS)
        assert (found.status, found.message) == ("timeout", "the query took too long")
        databases.close()


def test_memory_is_limited(blobs: Blobs, sandbox: Sandbox | None, towns_blob: BlobHash) -> None:
    options = DatabaseOptions(query=QueryLimits(steps=10**9, seconds=20, rows=10**9), memory=128 << 20)
    sql = (
        "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n LIMIT 100000) "
        "SELECT hex(zeroblob(20000)) || x FROM n"
    )
    for box in (sandbox, None):
        databases = Databases(blobs, box, options)
        found = databases.query(towns_blob, sql)
        assert found.status == "error"
        assert "memory" in found.message
        databases.close()


def test_long_results_are_cut(databases: Databases, towns_blob: BlobHash) -> None:
    numbers = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n LIMIT 5000) SELECT x FROM n"
    found = databases.query(towns_blob, numbers)
    assert (found.status, len(found.rows), found.cut) == ("ok", 1000, True)
    assert rows_text(found).endswith("(there are more rows; the first 50 are shown)")
    wide = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n LIMIT 900) " + (
        "SELECT replace(hex(zeroblob(900)), '0', 'a') FROM n"
    )
    found = databases.query(towns_blob, wide)
    assert (found.status, found.cut) == ("ok", True)
    assert len(found.rows) < 400


def test_cells_of_every_kind_are_json(databases: Databases, towns_blob: BlobHash) -> None:
    found = databases.query(towns_blob, "SELECT NULL, x'00ff', 9e999, -9e999, 1.5, 'ä', zeroblob(5000)")
    assert found.rows[0][:6] == (None, "x'00ff'", "Infinity", "-Infinity", 1.5, "ä")
    assert found.rows[0][6].endswith("...'")


def test_a_file_that_is_none_is_refused(databases: Databases, blobs: Blobs) -> None:
    with pytest.raises(UserError, match="no SQLite database"):
        databases.query(blobs.put(b"hello"), "SELECT 1")
    with pytest.raises(NotFound):
        databases.query(BlobHash("0" * 64), "SELECT 1")
    broken = blobs.put(b"SQLite format 3\x00" + b"\xff" * 5000)
    assert databases.query(broken, "SELECT * FROM t").status == "error"
    with pytest.raises(UserError, match="cannot be read"):
        databases.tables(broken)


def test_a_file_that_is_too_large_is_refused(
    databases: Databases, blobs: Blobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LARGEST_FILE", 10)
    with pytest.raises(UserError, match="larger than"):
        databases.query(blobs.put(b"SQLite format 3\x00"), "SELECT 1")


def test_views_and_triggers_of_a_hostile_file_do_nothing(
    databases: Databases, blobs: Blobs, tmp_path: Path
) -> None:
    data = made(
        tmp_path / "evil.sqlite",
        "CREATE TABLE t (a)",
        "INSERT INTO t VALUES (1)",
        "CREATE VIEW v AS SELECT load_extension('/tmp/evil.so') FROM t",
        "CREATE VIEW gone AS SELECT * FROM t",
        'CREATE TABLE "x""; DROP TABLE t; --" ("a`b\n c" TEXT)',
        "CREATE VIRTUAL TABLE words USING fts5(text)",
    )
    blob = blobs.put(data)
    assert databases.query(blob, "SELECT * FROM v").status in ("denied", "error")
    text = schema_text(databases.tables(blob))
    assert '"x""; DROP TABLE t; --"' in text
    assert '"a\'b  c"' in text
    assert databases.query(blob, "SELECT a FROM t").rows == ((1,),)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(100, 8000), st.integers(0, 255)), min_size=1, max_size=200))
def test_a_damaged_file_harms_nobody(
    sandbox: Sandbox | None, blobs: Blobs, towns: bytes, damage: list[tuple[int, int]]
) -> None:
    data = bytearray(towns)
    for at, value in damage:
        data[at % len(data)] = value
    data[:16] = towns[:16]
    databases = Databases(blobs, sandbox)
    blob = blobs.put(bytes(data))
    assert databases.query(blob, "SELECT * FROM town").status in ("ok", "error", "denied")
    with contextlib.suppress(UserError):
        databases.tables(blob)
    databases.close()


@pytest.mark.parametrize("bad", [b"CR\x80ATE", b"CREATE TABL\xff"])
def test_a_damaged_schema_is_an_error_of_the_file(
    sandbox: Sandbox | None, blobs: Blobs, towns: bytes, bad: bytes
) -> None:
    """SQLite's message quotes what it could not read, and that is no text."""
    good = b"CREATE TABLE"[: len(bad)]
    databases = Databases(blobs, sandbox)
    blob = blobs.put(towns.replace(good, bad))
    assert databases.query(blob, "SELECT * FROM town").status == "error"
    with pytest.raises(UserError):
        databases.tables(blob)
    databases.close()


def test_inside_is_no_network_and_no_other_file(
    blobs: Blobs,
    sandbox: Sandbox | None,
    towns_blob: BlobHash,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """What a process that SQLite lost control of could do."""
    if sandbox is None:
        pytest.skip("no sandbox")
    spy = tmp_path / "spy.py"
    spy.write_text(
        "import os, json\n"
        "found = {'status': 'ok', 'columns': [], 'message': '',\n"
        "  'rows': [[sorted(os.listdir('/data')), os.path.exists('/etc/passwd'),\n"
        "            os.access('/data/database', os.W_OK)]]}\n"
        "print(json.dumps(found))\n"
    )
    monkeypatch.setattr(module, "_DRIVER", spy)
    databases = Databases(blobs, sandbox)
    assert databases.query(towns_blob, "SELECT 1").rows == ((["database"], False, False),)
    databases.close()


def test_copies_make_room(blobs: Blobs, sandbox: Sandbox | None, tmp_path: Path) -> None:
    files = [
        made(tmp_path / "n.sqlite", "CREATE TABLE t (a)", f"INSERT INTO t VALUES ({n})") for n in range(4)
    ]
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    databases = Databases(blobs, sandbox, DatabaseOptions(kept=len(files[0]) * 2), folder=folder)
    for number, data in enumerate(files):
        assert databases.query(blobs.put(data), "SELECT a FROM t").rows == ((number,),)
    (scratch,) = folder.iterdir()
    assert len(list(scratch.iterdir())) == 2
    assert databases.query(blobs.put(files[0]), "SELECT a FROM t").rows == ((0,),)
    databases.close()
    assert not scratch.exists()
    folder.rmdir()


def test_several_at_once(databases: Databases, towns_blob: BlobHash) -> None:
    found: list[object] = []

    def ask(number: int) -> None:
        found.append(databases.query(towns_blob, f"SELECT {number}").rows[0][0])

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(map(str, found)) == ["0", "1", "2", "3", "4", "5"]


def test_a_large_schema_is_shortened(databases: Databases, towns_blob: BlobHash) -> None:
    tables = databases.tables(towns_blob)
    many = [replace(tables[1], name=f"town{number}") for number in range(100)]
    text = schema_text(many, 1500)
    assert len(text) < 1600
    assert "such as" not in text
    assert "more tables are not shown" in text
    assert schema_text([]) == "(no tables)"


@given(st.text(min_size=1, max_size=30))
def test_identifiers_are_sqls(name: str) -> None:
    if "\0" in name or not name.isprintable():
        return
    with sqlite3.connect(":memory:") as connection:
        shown = identifier(name)
        if "`" not in name:
            connection.execute(f"CREATE TABLE t ({shown} TEXT)")
            columns = connection.execute("SELECT name FROM pragma_table_info('t')").fetchall()
            assert columns == [(name,)]
    connection.close()
