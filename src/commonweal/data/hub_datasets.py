"""Text from a Hugging Face data set, by name or from local files, streamed: nothing is downloaded ahead.

The only module that knows the ``datasets`` library, which is imported when the first row is asked for. Data
sets that carry code of their own are refused by that library since its version 4.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from commonweal.core.errors import CommonwealError, DataError, Unavailable
from commonweal.data.files import text_of_row

_HINT = "check path, config, split and revision"
_BUILDERS = {
    ".parquet": "parquet",
    ".jsonl": "json",
    ".json": "json",
    ".csv": "csv",
    ".txt": "text",
    ".arrow": "arrow",
}


def iter_dataset(
    location: str, *, config: str | None, split: str, revision: str | None, text_field: str
) -> Iterator[tuple[str, str]]:
    """The rows of a split as ``(name, text)``. Raises DataError naming the row, or Unavailable."""
    rows = iter(_open(location, config=config, split=split, revision=revision))
    number = 0
    while True:
        row = _next_row(rows, f"{location}: row {number} of '{split}'")
        if row is None:
            return
        yield f"{split}:{number}", text_of_row(row, text_field, f"{location}: row {number} of '{split}'")
        number += 1


def local_files(location: str) -> list[Path]:
    """The files of a data set on this machine, sorted; none when ``location`` names one elsewhere."""
    path = Path(location).expanduser()
    if path.is_file():
        return [path]
    return sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else []


def _next_row(rows: Iterator[dict[str, Any]], where: str) -> dict[str, Any] | None:
    try:
        return next(rows, None)
    except CommonwealError:
        raise
    except Exception as error:
        raise hub_error(error, where, hint=_HINT) from error


def _open(location: str, *, config: str | None, split: str, revision: str | None) -> Any:
    try:
        from datasets import load_dataset
    except ImportError:
        raise DataError(
            f"{location}: reading a data set needs the 'datasets' library",
            hint="install commonweal[torch]",
        ) from None
    builder, files = _builder_of(location)
    try:
        return load_dataset(builder, config, data_files=files, split=split, revision=revision, streaming=True)
    except Exception as error:
        raise hub_error(error, location, hint=_HINT) from error


def _builder_of(location: str) -> tuple[str, str | None]:
    """What load_dataset calls it: a file by the builder of its format, everything else by its name."""
    path = Path(location).expanduser()
    if path.is_file():
        if path.suffix not in _BUILDERS:
            known = ", ".join(sorted(_BUILDERS))
            raise DataError(f"{location}: not a data set file that is known", hint=f"known: {known}")
        return _BUILDERS[path.suffix], str(path)
    if path.is_dir():
        return str(path), None
    if location.startswith((".", "/", "~")):
        raise DataError(f"{location}: no such file or folder", hint="check path")
    return location, None


def hub_error(error: Exception, where: str, *, hint: str) -> CommonwealError:
    """The libraries raise whatever their file system, parser or HTTP client raised; say it in our words."""
    said = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    if _is_network(error):
        return Unavailable(
            f"{where}: cannot be reached: {said}", hint="check the network, or use local files"
        )
    return DataError(f"{where}: {said}", hint=hint)


def _is_network(error: BaseException | None) -> bool:
    """Whether a connection failed somewhere in the chain of causes."""
    while error is not None:
        if isinstance(error, ConnectionError | TimeoutError | socket.gaierror):
            return True
        error = error.__cause__ or error.__context__
    return False
