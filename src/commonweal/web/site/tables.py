"""A table of a run, read from Parquet and turned into Python by columns.

Arrow makes a Python value out of a cell of a nested column by way of an object for each of its parts; here such a
column is flattened first, which takes a fifth of the time. Texts that come again and again (ids, names, parameters) are
read as a dictionary, so each stands in memory once. Knows no page and no outcome.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from commonweal.core.errors import DataError
from commonweal.evals.tables import COLUMNS

if TYPE_CHECKING:
    import pyarrow as pa

_AGAIN = ("id", "perturbation", "split", "subset", "role", "kind", "parameters", "finish", "name", "failure")


def read_table(
    folder: Path, name: str, columns: Sequence[str] | None = None, filters: Any = None
) -> pa.Table:
    """A table of a run, or some of its columns and rows. Raises DataError, which names the file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = folder / f"{name}.parquet"
    try:
        if filters is not None:
            return pq.read_table(path, columns=columns, filters=filters, partitioning=None, use_threads=False)
        with pq.ParquetFile(path, read_dictionary=[one for one in COLUMNS[name] if one in _AGAIN]) as file:
            return file.read(columns=columns, use_threads=False)
    except FileNotFoundError:
        raise DataError(f"{path}: no such file", hint="the run is not finished: resume it") from None
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError) as error:
        raise damaged(path, error) from None


def damaged(path: Path, error: Exception) -> DataError:
    why = str(error).splitlines()[0] if str(error) else repr(error)
    return DataError(
        f"{path}: not a table that can be read: {why}",
        hint=f"evaluate it again: move {path.parent} away, and repeat the command in its run.json",
    )


_CERTAINLY_SMALL = 8_000_000


def is_small(folder: Path, name: str, most: int) -> bool:
    """Whether a table takes at most ``most`` bytes in memory, about. One that cannot be read is: its reader says so."""
    import pyarrow.parquet as pq

    path = folder / f"{name}.parquet"
    try:
        if path.stat().st_size <= _CERTAINLY_SMALL:
            return True
        told = pq.read_metadata(path)
    except Exception:
        return True
    return bool(sum(told.row_group(i).total_byte_size for i in range(told.num_row_groups)) <= most)


def distinct(column: pa.ChunkedArray) -> set[str]:
    """The texts that a column has."""
    import pyarrow as pa

    if pa.types.is_dictionary(column.type):
        return {text for chunk in column.chunks for text in chunk.dictionary.to_pylist()}
    return set(column.to_pylist())


def values(column: pa.ChunkedArray | pa.Array) -> list[Any]:
    """A column as Python values: None for null, a tuple for a struct, a list of pairs for a map."""
    import pyarrow as pa

    if isinstance(column, pa.ChunkedArray):
        chunks = column.chunks
        return values(chunks[0]) if len(chunks) == 1 else [one for chunk in chunks for one in values(chunk)]
    kind = column.type
    if column.null_count == len(column):
        return [None] * len(column)
    if pa.types.is_dictionary(kind):
        words = column.dictionary.to_pylist()
        return _with_gaps(column, [words[code] for code in _numbers(column.indices).tolist()])
    if pa.types.is_map(kind):
        return _cut(column, list(zip(values(column.keys), values(column.items), strict=True)))
    if pa.types.is_list(kind):
        return _cut(column, values(column.values))
    if pa.types.is_struct(kind):
        return _structs(column)
    made: list[Any] = column.to_pylist()
    return made


def _cut(column: pa.Array, flat: Sequence[Any]) -> list[Any]:
    """The parts of a list or a map from all values below it."""
    ends = _numbers(column.offsets).tolist()
    return _with_gaps(column, [flat[first:last] for first, last in pairwise(ends)])


def _structs(column: pa.Array) -> list[Any]:
    parts = (values(column.field(i)) for i in range(column.type.num_fields))
    return _with_gaps(column, list(zip(*parts, strict=True)))


def _with_gaps(column: pa.Array, made: list[Any]) -> list[Any]:
    """None where there is nothing."""
    if not column.null_count:
        return made
    return [one if there else None for one, there in zip(made, column.is_valid().to_pylist(), strict=True)]


def _numbers(column: pa.Array) -> NDArray[np.int32]:
    """The buffer of a column of int32; what stands where there is nothing is 0. (``to_numpy`` imports pandas where that
    is installed, which takes longer than a small site.)"""
    found = np.frombuffer(column.buffers()[1], dtype=np.int32)[column.offset : column.offset + len(column)]
    return np.where(_valid(column), found, 0) if column.null_count else found


def _valid(column: pa.Array) -> NDArray[np.bool_]:
    return np.array(column.is_valid().to_pylist(), dtype=np.bool_)


class InOrder:
    """The rows of a table by the instance that they belong to: those of the instances from one place to another are
    taken together. ``places`` are the instances' places by their ids; rows of others are left out."""

    def __init__(self, table: pa.Table, places: Mapping[str, int]) -> None:
        where = _places(table["id"], places)
        order = np.argsort(where, kind="stable")
        first = int(np.searchsorted(where[order], 0))
        self._table, self._order, self._where = table, order[first:], where[order][first:]

    def between(self, first: int, last: int) -> tuple[list[int], list[list[Any]]]:
        """The columns of the rows of the instances from place ``first`` until before ``last``, and the place of each
        row."""
        start, end = np.searchsorted(self._where, [first, last])
        taken = self._order[start:end]
        whole = len(taken) == self._table.num_rows and bool(np.all(taken[1:] > taken[:-1]))
        part = self._table if whole else self._table.take(_indices(taken))
        return self._where[start:end].tolist(), [values(one) for one in part.columns]


def of_text(table: pa.Table, column: str, text: str) -> pa.Table:
    """The rows that have a text in a column."""
    return table.take(_indices(np.flatnonzero(_places(table[column], {text: 0}) == 0)))


def _indices(places: NDArray[np.intp]) -> pa.Array:
    """As Arrow has them, by their buffer: ``pyarrow.array`` imports pandas where that is installed."""
    import pyarrow as pa

    whole = np.ascontiguousarray(places, dtype=np.int64)
    return pa.Array.from_buffers(pa.int64(), len(whole), [None, pa.py_buffer(whole)])


def _places(ids: pa.ChunkedArray, places: Mapping[str, int]) -> NDArray[np.int64]:
    """The place of each row by its text, -1 for one that has none."""
    import pyarrow as pa

    if not len(ids):
        return np.zeros(0, dtype=np.int64)
    if not pa.types.is_dictionary(ids.type):
        ids = ids.dictionary_encode()
    parts = []
    for chunk in ids.chunks:
        known = np.array([places.get(key, -1) for key in chunk.dictionary.to_pylist()], dtype=np.int64)
        parts.append(known[_numbers(chunk.indices)] if len(known) else np.zeros(0, dtype=np.int64))
    return np.concatenate(parts)
