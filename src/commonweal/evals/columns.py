"""Python values as Arrow arrays, by their buffers.

``pyarrow.array`` would do, but it imports pandas wherever that is installed, which takes longer than a small run. Knows
the types that the tables have: string, bool, int32, int64, double, and lists, maps and structs of these. A column whose
values are all the same (many of a run's are) is made without looking at each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pyarrow as pa

_MOST = np.iinfo(np.int32).max
"""Bytes or elements of a column: an offset has 32 bits."""


def column(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
    """``values`` as an array of type ``kind``; None is null, a struct is a mapping, a map is a list of pairs.

    Raises TypeError and ValueError for values that are not of that type.
    """
    import pyarrow as pa

    gone = values.count(None)
    if gone == len(values):
        return pa.nulls(gone, kind)
    alike = not gone and len(values) > 1 and values.count(values[0]) == len(values)
    if alike and (same := _same(values[0], len(values), kind)) is not None:
        return same
    valid = _bits([value is not None for value in values]) if gone else None
    if pa.types.is_string(kind):
        return pa.Array.from_buffers(kind, len(values), [valid, *_strings(values, gone)], gone)
    if pa.types.is_struct(kind):
        children = [_field(values, kind.field(i)) for i in range(kind.num_fields)]
        return pa.Array.from_buffers(kind, len(values), [valid], gone, children=children)
    if pa.types.is_list(kind) or pa.types.is_map(kind):
        lists = [value if value is not None else () for value in values]
        flat: list[Any] = list(chain.from_iterable(lists))
        child = _pairs(flat, kind) if pa.types.is_map(kind) else column(flat, kind.value_type)
        return pa.Array.from_buffers(kind, len(values), [valid, _offsets(lists)], gone, children=[child])
    return pa.Array.from_buffers(kind, len(values), [valid, _numbers(values, gone, kind)], gone)


def _same(value: Any, count: int, kind: pa.DataType) -> pa.Array | None:
    """``count`` times the same text, number or empty list; None for another list, a map or a struct."""
    import pyarrow as pa

    if pa.types.is_string(kind):
        data = value.encode("utf-8", "replace")
        if len(data) * count > _MOST:
            return None
        ends = np.arange(count + 1, dtype=np.int32) * np.int32(len(data))
        return pa.Array.from_buffers(kind, count, [None, pa.py_buffer(ends), pa.py_buffer(data * count)], 0)
    if pa.types.is_list(kind):
        if value:
            return None
        ends, child = np.zeros(count + 1, dtype=np.int32), pa.nulls(0, kind.value_type)
        return pa.Array.from_buffers(kind, count, [None, pa.py_buffer(ends)], 0, children=[child])
    if pa.types.is_map(kind) or pa.types.is_struct(kind) or (pa.types.is_floating(kind) and not value):
        return None  # a zero may have either sign
    if pa.types.is_boolean(kind):
        bits = pa.py_buffer((b"\xff" if value else b"\x00") * (-(-count // 8)))
        return pa.Array.from_buffers(kind, count, [None, bits], 0)
    numbers = pa.py_buffer(np.full(count, value, dtype=kind.to_pandas_dtype()))
    return pa.Array.from_buffers(kind, count, [None, numbers], 0)


def _strings(values: Sequence[str | None], gone: int) -> tuple[pa.Buffer, pa.Buffer]:
    """Offsets and bytes. Where all is ASCII, a character is a byte and nothing is encoded by itself."""
    import pyarrow as pa

    texts = [value or "" for value in values] if gone else values
    whole = "".join(texts)  # type: ignore[arg-type]
    if whole.isascii():
        return _offsets(texts), pa.py_buffer(whole.encode())  # type: ignore[arg-type]
    parts = [text.encode("utf-8", "replace") for text in texts]  # type: ignore[union-attr]
    return _offsets(parts), pa.py_buffer(b"".join(parts))


def _offsets(parts: Sequence[Sequence[Any]]) -> pa.Buffer:
    """Where each part begins, and where the last one ends. Raises OverflowError beyond 2 GiB."""
    import pyarrow as pa

    ends = np.zeros(len(parts) + 1, dtype=np.int64)
    np.cumsum(np.fromiter(map(len, parts), dtype=np.int64, count=len(parts)), out=ends[1:])
    if ends[-1] > _MOST:
        raise OverflowError("a row group of more than 2 GiB")
    return pa.py_buffer(ends.astype(np.int32))


def _numbers(values: Sequence[Any], gone: int, kind: pa.DataType) -> pa.Buffer:
    import pyarrow as pa

    if pa.types.is_boolean(kind):
        return _bits([bool(value) for value in values])
    kept = [0 if value is None else value for value in values] if gone else values
    return pa.py_buffer(np.array(kept, dtype=kind.to_pandas_dtype()))


def _bits(values: Sequence[bool]) -> pa.Buffer:
    import pyarrow as pa

    return pa.py_buffer(np.packbits(np.array(values, dtype=np.bool_), bitorder="little"))


def _field(values: Sequence[Mapping[str, Any] | None], field: pa.Field) -> pa.Array:
    name = field.name
    return column([value.get(name) if value is not None else None for value in values], field.type)


def _pairs(flat: Sequence[tuple[Any, Any]], kind: pa.MapType) -> pa.Array:
    import pyarrow as pa

    entries = pa.struct([pa.field("key", kind.key_type, nullable=False), pa.field("value", kind.item_type)])
    children = [column([pair[i] for pair in flat], entries.field(i).type) for i in (0, 1)]
    return pa.Array.from_buffers(entries, len(flat), [None], 0, children=children)
