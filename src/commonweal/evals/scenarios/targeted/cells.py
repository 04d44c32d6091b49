"""The cells of a table as pandas writes them, without pandas: HELM's prompts are made of such texts.

Knows no file: rows come from the loader. Rules of ``pandas.read_csv``: a column whose values are all whole numbers is
written so; with gaps or fractions as floating-point numbers; all else as it stands; a gap is ``nan``.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from commonweal.evals.loading.fields import FILE, LINE, bad, field
from commonweal.evals.scenario import Row

MISSING = "nan"

_GAPS = frozenset(
    {"", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN"}
    | {"<NA>", "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null"}
)
_WHOLE = re.compile(r"\s*[+-]?\d+\s*\Z")
_NUMBER = re.compile(r"\s*[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?\s*\Z")


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of texts by column, in the order of ``columns``."""

    columns: Sequence[str]
    rows: Sequence[dict[str, str]]


def table_of(rows: Sequence[Row], drop: Sequence[str] = ()) -> Table:
    """The rows as pandas would write them, without the columns ``drop``."""
    if not rows:
        return Table([], [])
    columns = [name for name in rows[0] if name not in (FILE, LINE, *drop)]
    values = [_column([field(row, name) for row in rows]) for name in columns]
    return Table(columns, [dict(zip(columns, cells, strict=True)) for cells in zip(*values, strict=True)])


def _column(texts: list[str]) -> list[str]:
    present = [text for text in texts if text not in _GAPS]
    gaps = len(present) < len(texts)
    write: Callable[[str], str] = str
    if present and all(_WHOLE.match(text) for text in present) and not gaps:
        write = _whole
    elif all(_NUMBER.match(text) for text in present):
        write = _float
    return [MISSING if text in _GAPS else write(text) for text in texts]


def _whole(text: str) -> str:
    return str(int(text))


def _float(text: str) -> str:
    return str(float(text))


def arff(rows: Sequence[Row], drop: str) -> Table:
    """The table of an ARFF file, whose lines are ``rows``: texts without their quotation marks, rows with a gap left
    out, without the column ``drop``."""
    names: list[str] = []
    made: list[dict[str, str]] = []
    in_data = False
    for row in rows:
        line = field(row, "line").strip()
        if line.startswith("@attribute"):
            names.append(line.split(maxsplit=2)[1])
        elif line.startswith("@data"):
            in_data = True
        elif in_data and line:
            cells = next(csv.reader([line]))
            if len(cells) != len(names):
                raise bad(row, f"expected {len(names)} values ({', '.join(names)}), found {len(cells)}")
            if not any(cell in _GAPS for cell in cells):
                made.append(
                    {n: c.replace('"', "").strip() for n, c in zip(names, cells, strict=True) if n != drop}
                )
    return Table([name for name in names if name != drop], made)
