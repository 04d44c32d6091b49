"""A table of rows to load: as CSV and as Parquet, with the columns named and typed alike. Knows no page."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

from commonweal.evals.columns import column as arrow_column

KINDS = ("csv", "json", "parquet")

MEDIA_TYPES = {
    "csv": "text/csv; charset=utf-8",
    "json": "application/json",
    "parquet": "application/vnd.apache.parquet",
}


def kind_name(kind: str) -> str:
    """
    >>> [kind_name(kind) for kind in KINDS]
    ['CSV', 'JSON', 'Parquet']
    """
    return "Parquet" if kind == "parquet" else kind.upper()


def csv_of(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str]) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(columns), lineterminator="\r\n")
    writer.writeheader()
    writer.writerows({name: _harmless(value) for name, value in row.items()} for row in rows)
    return text.getvalue().encode("utf-8", "replace")


def _harmless(value: Any) -> Any:
    """A spreadsheet carries out text that begins like a formula: a name that does is set in quotes."""
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t")) else value


def parquet_of(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str]) -> bytes:
    """``columns`` are the types by name: string, bool, double or int64."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    types = {"string": pa.string(), "bool": pa.bool_(), "double": pa.float64(), "int64": pa.int64()}
    made = {name: arrow_column([row[name] for row in rows], types[kind]) for name, kind in columns.items()}
    sink = io.BytesIO()
    pq.write_table(pa.table(made), sink, compression="zstd")
    return sink.getvalue()
