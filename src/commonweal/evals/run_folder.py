"""A run as a folder, while it grows and when it is done.

Owns the names in it, the lock, and what makes a finished sample safe. Knows no metric and no model.

    run.json            what was asked, of whom, where, when, and how far it came
    samples.jsonl       finished samples, one line each, while there is something left to ask
    *.parquet           the tables (:mod:`commonweal.evals.tables`)

Invariants: a sample's line is handed to the operating system as soon as the sample is finished, so a killed process
loses at most what was in flight; a torn last line is dropped; ``samples.jsonl`` is removed only when the tables hold
all of it and nothing is left to ask; one process writes at a time.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from commonweal.core.errors import Conflict, DataError, StorageFull
from commonweal.evals.sample_record import record_of

RUN = "run.json"
SAMPLES = "samples.jsonl"
LOCK = ".lock"

_FULL = (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Be the only process that writes in ``folder``, which is made. Raises Conflict where another one does. The lock is
    the operating system's: it ends with the process, however that ends."""
    folder.mkdir(parents=True, exist_ok=True)
    file = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Conflict(
                f"{folder}: another process works on it{_owner(file)}",
                hint="wait until it is done, or evaluate into another folder (--out)",
            ) from None
        os.ftruncate(file, 0)
        os.pwrite(file, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(file)


def _owner(file: int) -> str:
    number = os.pread(file, 20, 0).decode("ascii", "replace").strip()
    return f" (process {number})" if number.isdigit() else ""


@contextmanager
def room(folder: Path) -> Iterator[None]:
    """A full disk becomes StorageFull, which says that nothing is lost."""
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise StorageFull(
            f"{folder}: no space left on the disk",
            hint=f"finished samples are kept; free some space, then: commonweal eval --resume {folder}",
        ) from error


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Replace ``path`` as a whole."""
    new = path.with_name(f".{path.name}.new")
    try:
        with room(path.parent):
            new.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
            new.replace(path)
    finally:
        new.unlink(missing_ok=True)


def read_json(path: Path) -> dict[str, Any]:
    """Raises DataError, naming the file."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(f"{path}: no such file", hint="give the folder of a run") from None
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read: {error}") from None
    if not isinstance(value, dict):
        raise DataError(f"{path}: expected a JSON object")
    return value


class SampleLog:
    """``samples.jsonl``, open for appending. Close it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file = os.open(folder / SAMPLES, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        self._size = os.fstat(self._file).st_size

    def append(self, line: bytes) -> None:
        """Hand one whole line to the operating system. Raises StorageFull; what was written of it is taken back."""
        with room(self._folder):
            try:
                written = os.write(self._file, line)
                while written < len(line):
                    written += os.write(self._file, line[written:])
            except OSError:
                os.ftruncate(self._file, self._size)
                raise
        self._size += len(line)

    def close(self) -> None:
        os.close(self._file)


def sample_records(folder: Path) -> Iterator[dict[str, Any]]:
    """The records of ``samples.jsonl``, in the order of their ends; none where there is no such file.

    A last line that was torn is left out. Raises DataError, with the line's number, for a damaged one before it.
    """
    for _, record in _lines(folder):
        yield record


def compact(folder: Path, keep: Callable[[Mapping[str, Any]], bool]) -> None:
    """Rewrite ``samples.jsonl`` with the records that are to be kept, as a whole; a torn last line goes."""
    path = folder / SAMPLES
    if not path.exists():
        return
    new = folder / f".{SAMPLES}.new"
    try:
        with room(folder), new.open("wb") as file:
            file.writelines(line for line, record in _lines(folder) if keep(record))
        new.replace(path)
    finally:
        new.unlink(missing_ok=True)


def _lines(folder: Path) -> Iterator[tuple[bytes, dict[str, Any]]]:
    path = folder / SAMPLES
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return
    with file:
        for number, line in enumerate(file, 1):
            if not line.endswith(b"\n"):
                return
            try:
                record = record_of(line)
            except ValueError as error:
                raise DataError(
                    f"{path}:{number}: not a sample: {error}", hint="delete that line to ask its sample again"
                ) from None
            yield line, record


def remove_samples(folder: Path) -> None:
    (folder / SAMPLES).unlink(missing_ok=True)
