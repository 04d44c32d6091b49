"""Text from local files: whole text files, JSON lines, and the standard library's own source.

Yields ``(name, text)`` in an order that depends on names only. A text file is read in bounded memory: a long
one is cut at line ends into pieces of about 256 KiB, each a document of its own, so that part of it can be
held out. Every error names the file, and the line or byte at fault.
"""

from __future__ import annotations

import glob
import json
import os
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from commonweal.core.errors import DataError

PIECE_BYTES = 256 * 1024
_NOT_STDLIB = frozenset({"site-packages", "dist-packages", "__pycache__", "test", "tests", "idle_test"})
_TABLES = frozenset({".parquet", ".arrow", ".csv"})


def iter_files(location: str, text_field: str) -> Iterator[tuple[str, str]]:
    """The documents of a file, a folder (every file in it, recursively) or a glob, by name."""
    root, paths = list_files(location)
    for path in paths:
        name = path.relative_to(root).as_posix()
        if path.suffix == ".jsonl":
            yield from _read_jsonl(path, name, text_field)
        else:
            yield from _read_text(path, name)


def iter_stdlib() -> Iterator[tuple[str, str]]:
    """The modules of this interpreter's standard library, without its tests. A folder of real, licensed text
    that every machine with Python has."""
    root = Path(sysconfig.get_path("stdlib"))
    for path in list_stdlib(root):
        yield from _read_text(path, path.relative_to(root).as_posix())


def list_stdlib(root: Path) -> list[Path]:
    """The ``.py`` files under ``root`` that are the library's own, sorted by relative name."""
    found: list[Path] = []
    for folder, inside, files in os.walk(root):
        inside[:] = [name for name in inside if name not in _NOT_STDLIB]
        found.extend(Path(folder, name) for name in files if name.endswith(".py"))
    if not found:
        raise DataError(
            "stdlib: this interpreter carries no source files", hint='set kind = "files" and a path instead'
        )
    return sorted(found, key=lambda p: p.relative_to(root).as_posix())


def list_files(location: str) -> tuple[Path, list[Path]]:
    """The folder that names are relative to, and the files. Hidden files and folders are left out."""
    path = Path(location).expanduser()
    if path.is_file():
        return path.parent, [path]
    if path.is_dir():
        paths = sorted(p for p in path.rglob("*") if p.is_file() and not _hidden(p.relative_to(path)))
        if not paths:
            raise DataError(
                f"{location}: the folder has no files in it", hint="give a folder of text or JSONL"
            )
        return path, paths
    if not glob.has_magic(location):
        raise DataError(
            f"{location}: no such file or folder", hint="check path; it is relative to where you are"
        )
    paths = sorted(Path(p) for p in glob.glob(str(path), recursive=True) if Path(p).is_file())
    if not paths:
        raise DataError(f"{location}: no file matches", hint="'**' matches folders at any depth")
    return _fixed_part(path), paths


def _fixed_part(pattern: Path) -> Path:
    fixed: list[str] = []
    for part in pattern.parts[:-1]:
        if glob.has_magic(part):
            break
        fixed.append(part)
    return Path(*fixed)


def _hidden(relative: Path) -> bool:
    return any(part.startswith(".") for part in relative.parts)


def _read_text(path: Path, name: str) -> Iterator[tuple[str, str]]:
    if path.suffix in _TABLES:
        raise DataError(f"{path}: a table, not text", hint='read it with kind = "dataset"')
    start = 0
    for number, piece in enumerate(_pieces(path)):
        try:
            text = piece.decode()
        except UnicodeDecodeError as error:
            raise _not_utf8(path, f"byte {start + error.start}") from None
        yield (f"{name}#{number}" if number else name), text
        start += len(piece)


def _pieces(path: Path) -> Iterator[bytes]:
    """The bytes of a file, cut after line ends. A line longer than a piece is cut between characters."""
    try:
        with path.open("rb") as stream:
            while piece := stream.read(PIECE_BYTES):
                piece += stream.readline(PIECE_BYTES)
                # A line that goes on must not be cut within a character, whose later bytes are 10xxxxxx.
                while not piece.endswith(b"\n") and (following := stream.peek(1)[:1]):
                    if following[0] & 0xC0 != 0x80:
                        break
                    piece += stream.read(1)
                yield piece
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from None


def _read_jsonl(path: Path, name: str, text_field: str) -> Iterator[tuple[str, str]]:
    try:
        with path.open("rb") as stream:
            for number, line in enumerate(stream, start=1):
                if not line.isspace():
                    yield f"{name}:{number}", _text_of_line(line, text_field, path, number)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from None


def _text_of_line(line: bytes, text_field: str, path: Path, number: int) -> str:
    where = f"{path}:{number}"
    try:
        row = json.loads(line.decode("utf-8-sig" if number == 1 else "utf-8"))
    except UnicodeDecodeError as error:
        raise _not_utf8(path, f"line {number}, byte {error.start} of it") from None
    except json.JSONDecodeError as error:
        raise DataError(
            f"{where}: not valid JSON: {error.msg} at column {error.colno}",
            hint="each line is one JSON object",
        ) from None
    except RecursionError:
        raise DataError(f"{where}: JSON nested too deep", hint="each line is one JSON object") from None
    if not isinstance(row, dict):
        raise DataError(f"{where}: a {_type_name(row)}, not an object", hint="each line is one JSON object")
    return text_of_row(row, text_field, where)


def text_of_row(row: dict[str, Any], text_field: str, where: str) -> str:
    """The text of a record. Raises DataError when the field is missing or not text."""
    if text_field not in row:
        known = ", ".join(sorted(map(str, row))) or "none"
        raise DataError(f"{where}: no field '{text_field}'", hint=f"set text_field; it has: {known}")
    text = row[text_field]
    if not isinstance(text, str):
        raise DataError(
            f"{where}: the field '{text_field}' is a {_type_name(text)}, not text",
            hint="set text_field to a field of text",
        )
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise DataError(
            f"{where}: the field '{text_field}' has a lone surrogate at character {error.start}",
            hint="the text cannot be written as UTF-8; repair the file",
        ) from None
    return text


def _not_utf8(path: Path, place: str) -> DataError:
    return DataError(
        f"{path}: not UTF-8 ({place})",
        hint="convert it to UTF-8, or narrow path to leave it out (folder/**/*.txt)",
    )


def _type_name(value: Any) -> str:
    names = {type(None): "null", dict: "object", list: "list", str: "string", bool: "boolean"}
    return names.get(type(value), "number" if isinstance(value, int | float) else type(value).__name__)
