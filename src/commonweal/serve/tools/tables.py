"""Tables as text, for a model that is to write SQL on them or to read what came of it. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from commonweal.serve.tools.databases import Column, Found, Table

LONGEST_SCHEMA = 6000
SHOWN_ROWS = 50
_KEYWORDS = frozenset(
    {
        *(
            "add",
            "all",
            "alter",
            "and",
            "as",
            "autoincrement",
            "between",
            "case",
            "check",
            "collate",
            "commit",
        ),
        *(
            "constraint",
            "create",
            "cross",
            "default",
            "deferrable",
            "delete",
            "distinct",
            "drop",
            "else",
            "escape",
        ),
        *(
            "except",
            "exists",
            "foreign",
            "from",
            "full",
            "group",
            "having",
            "if",
            "in",
            "index",
            "inner",
            "insert",
        ),
        *(
            "intersect",
            "into",
            "is",
            "isnull",
            "join",
            "left",
            "limit",
            "natural",
            "not",
            "nothing",
            "notnull",
        ),
        *(
            "null",
            "on",
            "or",
            "order",
            "outer",
            "primary",
            "references",
            "returning",
            "right",
            "select",
            "set",
        ),
        *(
            "table",
            "then",
            "to",
            "transaction",
            "union",
            "unique",
            "update",
            "using",
            "values",
            "when",
            "where",
        ),
        *("window", "with"),
    }
)
_ONE_LINE = str.maketrans({"\n": " ", "\r": " ", "\t": " ", "`": "'"})


def schema_text(tables: Sequence[Table], most: int = LONGEST_SCHEMA) -> str:
    """The tables with their columns, types, keys and a few values; without the values where that is too long, and in
    the end without the last tables."""
    for samples in (True, False):
        text = "\n".join(_table_text(table, samples=samples) for table in tables)
        if len(text) <= most:
            return text or "(no tables)"
    shown: list[str] = []
    for table in tables:
        text = _table_text(table, samples=False)
        if sum(len(piece) + 1 for piece in shown) + len(text) > most:
            break
        shown.append(text)
    return "\n".join([*shown, f"({len(tables) - len(shown)} more tables are not shown)"])


def _table_text(table: Table, *, samples: bool) -> str:
    lines = [f"{table.kind} {identifier(table.name)}"]
    lines += [_column_text(column, samples=samples) for column in table.columns]
    lines += [
        f"  {identifier(mine)} references {identifier(other)}" + (f"({identifier(theirs)})" if theirs else "")
        for mine, other, theirs in table.references
    ]
    return "\n".join(lines)


def _column_text(column: Column, *, samples: bool) -> str:
    text = f"  {identifier(column.name)} {column.type[:40].translate(_ONE_LINE)}".rstrip()
    if column.key:
        text += " primary key"
    if samples and column.samples:
        text += " -- such as " + ", ".join(map(_literal, column.samples))
    return text


def identifier(name: str) -> str:
    """A name as SQL takes it: plain, or in double quotes.

    >>> identifier("people"), identifier("last name"), identifier("order")
    ('people', '"last name"', '"order"')
    """
    plain = name.isascii() and name.replace("_", "a").isalnum() and not name[:1].isdigit()
    plain = plain and name.lower() not in _KEYWORDS
    return name if plain and len(name) < 80 else '"' + name[:80].replace('"', '""').translate(_ONE_LINE) + '"'


def _literal(value: Any) -> str:
    if isinstance(value, str):
        return "'" + value.replace("'", "''").translate(_ONE_LINE) + "'"
    return str(value)


def rows_text(found: Found, most: int = SHOWN_ROWS) -> str:
    """A result as a model reads it: a line a row."""
    lines = [" | ".join(found.columns)]
    lines += [" | ".join(map(cell_text, row)) for row in found.rows[:most]]
    if found.cut or len(found.rows) > most:
        lines.append(f"(there are more rows; the first {min(most, len(found.rows))} are shown)")
    elif not found.rows:
        lines.append("(no rows)")
    return "\n".join(lines)


def cell_text(cell: Any) -> str:
    return "NULL" if cell is None else str(cell).translate(_ONE_LINE)
