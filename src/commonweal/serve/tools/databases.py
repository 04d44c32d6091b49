"""SQLite files that users uploaded, and what can be asked of them.

A file is opened in a process of its own: in a jail (no network, no other files, nothing of this machine) where the
machine has one, else in a plain child. Either way SQL passes the guard of ``core/sandbox/sqlite.py``, memory is
limited by the kernel, and a child that does not end in time is killed. Each call starts one such process and keeps
nothing of it.

Local copies lie in a scratch folder under their content's hash; the ones longest unused make room.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from commonweal.core.blobs import Blobs
from commonweal.core.errors import Unavailable, UserError
from commonweal.core.hashing import BlobHash
from commonweal.core.sandbox import Limits, Ran, Sandbox
from commonweal.core.sandbox import sqlite as guard
from commonweal.core.sandbox.process import run_limited
from commonweal.core.sandbox.sqlite import QueryLimits

Status = Literal["ok", "error", "denied", "timeout"]

LARGEST_FILE = 256 << 20
_MAGIC = b"SQLite format 3\x00"
_INSIDE = "/data/database"
_DRIVER = Path(__file__).with_name("database_driver.py")
_START_SECONDS = 5.0
_STOPPED = {
    "timeout": ("timeout", "the query took too long"),
    "memory": ("error", "the query needs too much memory"),
    "output": ("error", "the result is too large"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseOptions:
    """``query`` bounds a query by steps, seconds and rows; ``memory`` in bytes is all that the process may have;
    ``kept`` are the bytes of local copies; ``at_once`` how many processes may run."""

    query: QueryLimits = field(default_factory=lambda: QueryLimits(steps=500_000_000, seconds=5.0, rows=1000))
    memory: int = 256 << 20
    kept: int = 2 << 30
    at_once: int = max(2, os.cpu_count() or 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The result of a query. ``cut``: there are more rows than these. ``message`` says why there are none."""

    status: Status
    columns: tuple[str, ...] = ()
    rows: tuple[tuple[Any, ...], ...] = ()
    message: str = ""
    cut: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    name: str
    type: str
    key: bool
    samples: tuple[Any, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table or view. ``references`` are (column, other table, its column)."""

    name: str
    kind: str
    columns: tuple[Column, ...]
    references: tuple[tuple[str, str, str], ...]


class Databases:
    """See the module. Its methods block, and may be called from several threads. ``folder`` is where the copies lie, by
    default the machine's own for such things; the jail's user (``nobody``, where the hub is root's) must get there.
    ``sandbox`` may be how to find one: it is looked for when the first query comes."""

    def __init__(
        self,
        blobs: Blobs,
        sandbox: Sandbox | Callable[[], Sandbox | None] | None,
        options: DatabaseOptions | None = None,
        *,
        folder: Path | None = None,
    ) -> None:
        self._blobs, self._given, self._options = blobs, sandbox, options or DatabaseOptions()
        self._scratch = tempfile.TemporaryDirectory(prefix="commonweal-databases-", dir=folder)
        self._folder = Path(self._scratch.name)
        self._folder.chmod(0o711)  # a jail's user opens a copy by its name, and cannot list the others
        self._room = threading.BoundedSemaphore(self._options.at_once)
        self._lock = threading.Lock()
        self._tables: dict[BlobHash, tuple[Table, ...]] = {}

    @cached_property
    def _sandbox(self) -> Sandbox | None:
        return self._given() if callable(self._given) else self._given

    def close(self) -> None:
        self._scratch.cleanup()

    def tables(self, blob: BlobHash) -> tuple[Table, ...]:
        """What a database has. Raises UserError for a file that is none, and NotFound."""
        if blob in self._tables:
            return self._tables[blob]
        said = self._ask(blob, None)
        if "tables" not in said:
            raise UserError(f"the database cannot be read: {said.get('message', 'it is damaged')}")
        found = tuple(_table(row) for row in said["tables"])
        if len(self._tables) > 200:
            self._tables.clear()
        self._tables[blob] = found
        return found

    def query(self, blob: BlobHash, sql: str) -> Found:
        """Run one SELECT. Never raises for what ``sql`` is. Raises UserError for a file that is no database."""
        said = self._ask(blob, sql)
        return Found(
            status="ok" if said["status"] == "too_many_rows" else said["status"],
            columns=tuple(said.get("columns", ())),
            rows=tuple(tuple(row) for row in said.get("rows", ())),
            message="" if said["status"] == "too_many_rows" else said.get("message", ""),
            cut=bool(said.get("cut")),
        )

    def _ask(self, blob: BlobHash, sql: str | None) -> dict[str, Any]:
        path = self._local(blob)
        given = {
            "database": _INSIDE if self._sandbox else str(path),
            "limits": asdict(self._options.query),
            "memory": self._options.memory,
            "sql": sql,
        }
        with self._room:
            ran = self._run(path, json.dumps(given).encode())
        return _said(ran)

    def _run(self, path: Path, given: bytes) -> Ran:
        limits = Limits(
            seconds=self._options.query.seconds + _START_SECONDS,
            memory=self._options.memory,
            processes=4,
            output=2 << 20,
        )
        files = {"guarded.py": Path(guard.__file__).read_bytes()}
        driver = _DRIVER.read_bytes()
        if self._sandbox is None:
            return _in_child({"driver.py": driver} | files, given, limits)
        box = replace(self._sandbox, readable=(*self._sandbox.readable, (str(path), _INSIDE)))
        command = (box.python, "-I", "-S", "-B", "/box/program")
        return box.run(driver, argv=command, stdin=given, files=files, limits=limits)

    def _local(self, blob: BlobHash) -> Path:
        """A copy of the blob on this machine's disk. Raises UserError for what is too large or no database."""
        path = self._folder / blob
        with self._lock:
            if path.exists():
                os.utime(path)
                return path
            data = self._read(blob)
            self._make_room(len(data))
            part = path.with_suffix(".part")
            part.write_bytes(data)
            part.chmod(0o444)
            part.replace(path)
        return path

    def _read(self, blob: BlobHash) -> bytes:
        if self._blobs.size(blob) > LARGEST_FILE:
            raise UserError(f"the database is larger than {LARGEST_FILE >> 20} MiB")
        data = self._blobs.get(blob)
        if not data.startswith(_MAGIC):
            raise UserError("the file is no SQLite database", hint="upload a .sqlite file (format 3)")
        return data

    def _make_room(self, size: int) -> None:
        """A copy that a process still reads stays for it, though its name is gone (its jail has it mounted)."""
        copies = sorted(self._folder.iterdir(), key=lambda path: path.stat().st_mtime)
        kept = sum(path.stat().st_size for path in copies)
        while copies and kept + size > self._options.kept:
            oldest = copies.pop(0)
            kept -= oldest.stat().st_size
            oldest.unlink()


def _in_child(files: Mapping[str, bytes], given: bytes, limits: Limits) -> Ran:
    """Without a jail: another process with limits, and none of our environment."""
    with (
        tempfile.TemporaryDirectory(prefix="commonweal-query-") as folder,
        tempfile.TemporaryFile() as stdin,
    ):
        for name, data in files.items():
            (Path(folder) / name).write_bytes(data)
        stdin.write(given)
        stdin.seek(0)
        return run_limited([sys.executable, "-I", "-S", "-B", f"{folder}/driver.py"], stdin, limits)


def _said(ran: Ran) -> dict[str, Any]:
    """What the driver answered, or how it was ended."""
    if ran.status in _STOPPED:
        status, message = _STOPPED[ran.status]
        return {"status": status, "message": message}
    if ran.status == "ok":
        said = json.loads(ran.stdout)
        assert isinstance(said, dict)
        return said
    if ran.code is not None and (ran.code < 0 or ran.code > 128):
        return {"status": "error", "message": "SQLite broke on this database"}
    raise Unavailable(f"a query could not be run: {ran.stderr.decode(errors='replace')[-300:]}")


def _table(row: Mapping[str, Any]) -> Table:
    return Table(
        name=row["name"],
        kind=row["kind"],
        columns=tuple(
            Column(name=of["name"], type=of["type"], key=of["key"], samples=tuple(of["samples"]))
            for of in row["columns"]
        ),
        references=tuple((mine, table, theirs) for mine, table, theirs in row["references"]),
    )
