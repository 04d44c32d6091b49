"""A result in words: made from the rows and nothing else, so it says what the database says. Pure."""

from __future__ import annotations

from commonweal.serve.tools.databases import Found
from commonweal.serve.tools.tables import cell_text

MOST_ROWS = 10
MOST_COLUMNS = 6


def worded(found: Found) -> str:
    """The answer that a result is: a value, a list, the fields of a row, a short table, or how many rows there are.

    >>> worded(Found(status="ok", columns=("count(*)",), rows=((3,),)))
    '3'
    """
    rows = [[cell_text(cell) for cell in row] for row in found.rows]
    if not rows:
        return "There are no such rows."
    if found.cut or len(rows) > MOST_ROWS or len(found.columns) > MOST_COLUMNS:
        return f"{'More than ' if found.cut else ''}{len(rows)} rows."
    if len(found.columns) == 1:
        return ", ".join(row[0] for row in rows)
    if len(rows) == 1:
        return ", ".join(f"{name}: {cell}" for name, cell in zip(found.columns, rows[0], strict=True))
    lines = [list(map(cell_text, found.columns)), ["---"] * len(found.columns), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
