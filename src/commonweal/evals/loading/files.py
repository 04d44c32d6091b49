"""Rows of one local file, by its suffix. Knows no data root, no hub and no scenario.

Every reader is a generator that parses as far as it is asked (.json alone is read whole), and gives each row its
``__file__`` and ``__line__``. What is not as it should be is a DataError with file and line:

    .jsonl .ndjson   one JSON object a line; empty lines are passed over
    .json            an array: each element is a row; an object: one row; several objects, one a line: as .jsonl
    .csv .tsv .ssv   by comma, tab, space: the first line names the columns, unless ``columns`` does
    .txt             {"line": text without its newline}
    .parquet         one row a row

An element that is no object becomes ``{"value": element}``. Each but .parquet also as ``.gz``; ``a.zip/b.csv`` is
the member ``b.csv`` of the archive ``a.zip``.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from commonweal.core.errors import DataError
from commonweal.evals.loading.fields import FILE, LINE
from commonweal.evals.scenario import Row

_CSV_FIELD_LIMIT = 1 << 28  # characters; Python's own default of 128 KiB is shorter than a book
_BATCH = 256


def file_rows(path: Path, columns: Sequence[str] = ()) -> Iterator[Row]:
    """The rows of ``path`` in file order, read as they are asked for. ``columns`` names those of a CSV or TSV file
    without a header. Raises DataError."""
    archive, member = _archive(path)
    name = (member or path.name).removesuffix(".gz")
    suffix = name[name.rfind(".") :].lower() if "." in name else ""
    if suffix == ".parquet" and not member:
        return _parquet(path)
    reader = _READERS.get(suffix)
    if reader is None:
        hint = f"known: {', '.join(_READERS)}, each also as .gz, and .parquet"
        raise DataError(f"{path}: no reader for '{suffix or name}'", hint=hint)
    return _text_rows(path, archive, member, reader, columns)


def _text_rows(
    path: Path, archive: Path | None, member: str, reader: _Reader, columns: Sequence[str]
) -> Iterator[Row]:
    with _opened(path, archive, member) as stream:
        name, line = str(path), 0
        try:
            for line, row in reader(stream, name, columns):
                row[FILE], row[LINE] = name, line
                yield row
        except UnicodeDecodeError as error:
            raise DataError(f"{path}, after line {line}: not UTF-8 ({error.reason})") from None
        except (gzip.BadGzipFile, zipfile.BadZipFile, zlib.error, EOFError) as error:
            raise DataError(f"{path}, after line {line}: the compressed file is damaged: {error}") from None
        except csv.Error as error:
            raise DataError(f"{path}, after line {line}: {error}") from None


def _archive(path: Path) -> tuple[Path | None, str]:
    """The archive and the member's name where ``path`` leads into a .zip file, else (None, "")."""
    for parent in path.parents:
        if parent.suffix.lower() == ".zip" and parent.is_file():
            return parent, path.relative_to(parent).as_posix()
    return None, ""


@contextmanager
def _opened(path: Path, archive: Path | None, member: str) -> Iterator[IO[str]]:
    """UTF-8 text, with or without a byte order mark; lines end at a newline only."""
    with _binary(path, archive, member) as raw:
        unpacked = gzip.GzipFile(fileobj=raw) if path.name.endswith(".gz") else raw
        with io.TextIOWrapper(unpacked, encoding="utf-8-sig", newline="\n") as text:
            yield text


@contextmanager
def _binary(path: Path, archive: Path | None, member: str) -> Iterator[IO[bytes]]:
    if archive is None:
        with path.open("rb") as raw:
            yield raw
        return
    with zipfile.ZipFile(archive) as unzipped:
        try:
            inner = unzipped.open(member)
        except KeyError:
            raise DataError(f"{archive}: has no member '{member}'") from None
        with inner:
            yield inner


_Rows = Iterator[tuple[int, dict[str, Any]]]
_Reader = Callable[[IO[str], str, Sequence[str]], _Rows]


def _json_lines(stream: Iterable[str], name: str, columns: Sequence[str]) -> _Rows:
    for line, text in enumerate(stream, 1):
        if not text.isspace():
            try:
                value = json.loads(text)
            except json.JSONDecodeError as error:
                raise DataError(
                    f"{name}, line {line}: not valid JSON: {error.msg} (column {error.colno})",
                    hint="a .jsonl file has one complete JSON object a line",
                ) from None
            yield line, value if isinstance(value, dict) else {"value": value}


def _json(stream: IO[str], name: str, columns: Sequence[str]) -> _Rows:
    text = stream.read()
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        if error.msg == "Extra data":
            yield from _json_lines(io.StringIO(text), name, columns)
            return
        raise DataError(
            f"{name}, line {error.lineno}: not valid JSON: {error.msg} (column {error.colno})"
        ) from None
    for number, element in enumerate(value if isinstance(value, list) else [value], 1):
        yield number, element if isinstance(element, dict) else {"value": element}


def _separated(delimiter: str) -> _Reader:
    def read(stream: IO[str], name: str, columns: Sequence[str]) -> _Rows:
        csv.field_size_limit(_CSV_FIELD_LIMIT)
        reader = csv.reader(stream, delimiter=delimiter)
        header = list(columns) or next(reader, [])
        for cells in reader:
            if not cells:
                continue
            if len(cells) != len(header):
                raise DataError(
                    f"{name}, line {reader.line_num}: expected {len(header)} columns "
                    f"({', '.join(header)}), found {len(cells)}"
                )
            yield reader.line_num, dict(zip(header, cells, strict=True))

    return read


def _text(stream: IO[str], name: str, columns: Sequence[str]) -> _Rows:
    for line, text in enumerate(stream, 1):
        yield line, {"line": text.rstrip("\r\n")}


_READERS: dict[str, _Reader] = {
    ".jsonl": _json_lines,
    ".ndjson": _json_lines,
    ".json": _json,
    ".csv": _separated(","),
    ".tsv": _separated("\t"),
    ".ssv": _separated(" "),
    ".txt": _text,
}


def _parquet(path: Path) -> Iterator[Row]:
    import pyarrow as pa  # heavy: only where a Parquet file is read
    import pyarrow.parquet as pq

    name, number = str(path), 0
    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=_BATCH):
                for row in batch.to_pylist():
                    number += 1
                    row[FILE], row[LINE] = name, number
                    yield row
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(f"{path}, after row {number}: not a readable Parquet file: {error}") from None
