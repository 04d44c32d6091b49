"""What was loaded from afar, kept on disk and pinned by its hash.

An entry is two files: a small JSON file that says which data set, at which commit, how many rows; and the rows, in a
file that is named by the SHA-256 of its bytes (Parquet for streamed rows, else the downloaded file itself). So two
processes that load the same at once do not harm each other, a half-written file is never found, and a file that was
changed afterwards no longer has its name. Knows no hub and no data root.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from commonweal.core.errors import DataError
from commonweal.core.hashing import record_hash
from commonweal.evals.loading.fields import FILE, LINE
from commonweal.evals.loading.files import file_rows
from commonweal.evals.scenario import Hub, Row, Web

log = logging.getLogger(__name__)

_BATCH = 1000  # rows a Parquet row group
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")

Afar = Hub | Web


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """``commit`` is the revision that a name such as "main" stood for when it was loaded, "" for a file of the web;
    ``rows`` None where they were not counted (a downloaded file)."""

    origin: Afar
    commit: str
    sha256: str
    file: Path
    rows: int | None = None


class RowCache:
    """Entries below one folder, which is made when first needed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._checked: set[Path] = set()  # a large file is hashed once a loader, not once a reading

    def find(self, origin: Afar) -> Entry | None:
        """The entry for ``origin``, None where there is none. Raises DataError where its file is not what it was."""
        note = self._note(origin)
        try:
            told = json.loads(note.read_text(encoding="utf-8"))
            entry = Entry(
                origin=origin,
                commit=told["commit"],
                sha256=told["sha256"],
                file=self._folder / told["file"],
                rows=told["rows"],
            )
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError):
            raise DataError(
                f"{note}: not a note of this cache", hint="delete it to load the data again"
            ) from None
        if not entry.file.is_file():
            return None
        if entry.file not in self._checked and file_hash(entry.file) != entry.sha256:
            raise DataError(
                f"{entry.file}: changed since it was loaded from {origin.path}",
                hint="delete it to load it again",
            )
        self._checked.add(entry.file)
        return entry

    def adopt(self, origin: Afar, commit: str, file: Path, *, rows: int | None = None) -> Entry:
        """Keep a copy of ``file`` as what ``origin`` holds. Raises OSError where it cannot be written."""
        self._folder.mkdir(parents=True, exist_ok=True)
        sha256 = file_hash(file)
        kept = self._folder / (sha256 + "".join(file.suffixes[-2:]))
        if not kept.exists():
            with file.open("rb") as data, _replacing(kept) as part:
                shutil.copyfileobj(data, part)
        entry = Entry(origin=origin, commit=commit, sha256=sha256, file=kept, rows=rows)
        self._write_note(entry)
        return entry

    @contextmanager
    def room(self) -> Iterator[Path]:
        """A folder beside the entries for what is on its way, gone afterwards."""
        self._folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self._folder, suffix=".part") as folder:
            yield Path(folder)

    def keeping(self, hub: Hub, commit: str, rows: Iterator[dict[str, Any]]) -> Iterator[Row]:
        """The same rows, each kept as it passes. The entry appears when the last one has passed; a reader that
        stops before leaves nothing. Rows that cannot be kept (Parquet would change them, the disk is full) are passed
        on all the same, with a warning."""
        with self.room() as folder:
            part = folder / "rows.parquet"
            writer = _Writer(part)
            try:
                for number, row in enumerate(rows, 1):
                    writer.add(row)
                    yield {**row, FILE: hub.path, LINE: number}
            finally:
                writer.close()
            try:
                if writer.holds_all():
                    self.adopt(hub, commit, part, rows=writer.count)
            except OSError as error:
                writer.trouble = str(error)
            if writer.trouble:
                log.warning("rows_not_cached path=%s reason=%s", hub.path, writer.trouble)

    def _note(self, origin: Afar) -> Path:
        rarely = ("first", "sha256")  # in the name only where set, which keeps the names of all others
        told = {name: value for name, value in asdict(origin).items() if name not in rarely or value}
        if isinstance(origin, Web):
            words = [origin.name, record_hash(told)[:8]]
        else:
            words = [origin.path, origin.config or "", origin.file or origin.split, record_hash(told)[:8]]
        return self._folder / (_UNSAFE.sub("-", "--".join(word for word in words if word)) + ".json")

    def _write_note(self, entry: Entry) -> None:
        told = {
            **asdict(entry.origin),
            "commit": entry.commit,
            "sha256": entry.sha256,
            "file": entry.file.name,
            "rows": entry.rows,
        }
        with _replacing(self._note(entry.origin)) as part:
            part.write(json.dumps(told, indent=2, sort_keys=True).encode())


class _Writer:
    """Rows into one Parquet file. The first batch fixes the columns; ``trouble`` says why it gave up."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._batch: list[dict[str, Any]] = []
        self._file: Any = None
        self._hash = hashlib.sha256()
        self.count = 0
        self.trouble = ""

    def add(self, row: dict[str, Any]) -> None:
        self.count += 1
        if self.trouble:
            return
        self._hash.update(_canonical(row))
        self._batch.append(row)
        if len(self._batch) >= _BATCH:
            self._flush()

    def close(self) -> None:
        if self._batch and not self.trouble:
            self._flush()
        if self._file is not None:
            try:
                self._file.close()
            except OSError as error:
                self.trouble = str(error)
            self._file = None

    def holds_all(self) -> bool:
        """Whether the file, read back, gives the very rows that were added."""
        if self.trouble or not self.count:
            return False
        read = hashlib.sha256()
        for row in file_rows(self._path):
            read.update(_canonical({key: value for key, value in row.items() if key not in (FILE, LINE)}))
        if read.digest() != self._hash.digest():
            self.trouble = "Parquet would change them"
        return not self.trouble

    def _flush(self) -> None:
        import pyarrow as pa  # heavy: only where rows are kept
        import pyarrow.parquet as pq

        try:
            if self._file is None:
                table = pa.Table.from_pylist(self._batch)
                self._file = pq.ParquetWriter(self._path, table.schema, compression="zstd")
            else:
                table = pa.Table.from_pylist(self._batch, schema=self._file.schema)
            self._file.write_table(table)
        except (pa.ArrowException, TypeError, ValueError, OSError) as error:
            self.trouble = str(error)
        self._batch = []


@contextmanager
def _replacing(path: Path) -> Iterator[IO[bytes]]:
    """A file that takes its name when it is whole, and leaves nothing where it is not."""
    with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".part", delete=False) as part:
        try:
            yield part
            part.flush()
            os.replace(part.name, path)
        except BaseException:
            os.unlink(part.name)
            raise


def _canonical(row: dict[str, Any]) -> bytes:
    return json.dumps(row, sort_keys=True, ensure_ascii=False, default=repr).encode("utf-8", "surrogatepass")


def file_hash(path: Path) -> str:
    with path.open("rb") as data:
        return hashlib.file_digest(data, "sha256").hexdigest()
