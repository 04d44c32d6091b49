"""What scenarios read besides plain fields: lines of text, nested tables, lists, one of some values.

Files are the loader's, errors are those of :mod:`commonweal.evals.loading.fields`: DataError with file, line, field.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from commonweal.core.errors import DataError, NotFound
from commonweal.evals.loading.fields import FILE, LINE, bad, field
from commonweal.evals.scenario import Hub, Loader, Origin, Row, Web


def mirror(path: str, *, config: str | None = None, split: str = "test", file: str = "") -> Hub:
    """A data set of the Hub for which neither HELM nor its authors name a revision: the newest. The loader notes
    which commit that was."""
    return Hub(path=path, revision="main", config=config, split=split, file=file)


def github(repository: str, commit: str, path: str, sha256: str = "") -> Web:
    """A file of a repository, at a commit."""
    url = f"https://raw.githubusercontent.com/{repository}/{commit}/{path}"
    return Web(url=url, name=path.rpartition("/")[2], sha256=sha256)


def drive(number: str, name: str) -> Web:
    """A file that its authors have put on Google's drive, as HELM fetches it."""
    return Web(url=f"https://drive.google.com/uc?export=download&id={number}", name=name)


def rows_if_any(loader: Loader, *origins: Origin) -> Iterator[Row]:
    """The rows, none where no origin is within reach: for a split that a scenario can be measured without."""
    try:
        return loader.rows(*origins)
    except NotFound:
        return iter(())


def lines(loader: Loader, *origins: Origin) -> Iterator[str]:
    """The lines of text files, each with its line feed. A text data set of the Hub has its lines in ``text``."""
    for row in loader.rows(*origins):
        line = field(row, "line" if "line" in row else "text")
        yield line if line.endswith("\n") else line + "\n"


def one_of(row: Row, name: str, *allowed: str) -> str:
    """A text that is one of a few. Raises DataError."""
    value = field(row, name)
    if value not in allowed:
        raise bad(row, f"field '{name}' should be {' or '.join(allowed)}, but is {value!r}")
    return value


def texts(row: Row, name: str) -> list[str]:
    """A list of texts. Raises DataError."""
    values: list[Any] = field(row, name, list)
    for number, value in enumerate(values):
        if not isinstance(value, str):
            raise bad(row, f"field '{name}', item {number}: should be text, but is {value!r}")
    return values


def table(row: Row, name: str) -> Row:
    """The fields below a field, which know where they stand. Raises DataError."""
    return _placed(row, name, row.get(name))


def tables(row: Row, name: str) -> list[Row]:
    """A list of such tables. Raises DataError."""
    values: list[Any] = field(row, name, list)
    return [_placed(row, f"{name}[{number}]", value) for number, value in enumerate(values)]


def _placed(row: Row, name: str, value: object) -> Row:
    if not isinstance(value, Mapping):
        raise bad(row, f"field '{name}' should be an object, but is {value!r:.60}")
    return {**value, FILE: row.get(FILE, "row"), LINE: row.get(LINE)}


def single(loader: Loader, *origins: Origin) -> Row:
    """The only row of a file that is one JSON object. Raises DataError, NotFound."""
    row = next(loader.rows(*origins), None)
    if row is None:
        raise DataError(f"{origins[0].path}: is empty", hint="fetch the file again from its source")
    return row
