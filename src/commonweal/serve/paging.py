"""Lists in pages: rows of one table in the order in which they were made, from behind a row that the reader names.

Rows that are added meanwhile shift nothing: a page goes on from a row and not from a number of rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from commonweal.core.errors import NotFound


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """``more``: whether others follow these ``rows``."""

    rows: Sequence[sa.Row[Any]]
    more: bool


def page(
    connection: sa.Connection,
    table: sa.Table,
    *conditions: sa.ColumnElement[bool],
    after: str | None,
    limit: int,
    newest_first: bool = True,
    order: str = "created",
) -> Page:
    """At most ``limit`` rows that meet ``conditions``, behind the row ``after``. The table has an ``id``, and ``order``
    is the column that says which came first. Raises NotFound for an ``after`` that is not among them."""
    key = sa.tuple_(table.c[order], table.c.id)
    query = sa.select(table).where(*conditions)
    if after is not None:
        query = query.where(_behind(connection, table, conditions, after, key, newest_first, order))
    columns = (table.c[order], table.c.id)
    by = [column.desc() if newest_first else column.asc() for column in columns]
    rows = connection.execute(query.order_by(*by).limit(limit + 1)).all()
    return Page(rows=rows[:limit], more=len(rows) > limit)


def _behind(
    connection: sa.Connection,
    table: sa.Table,
    conditions: Sequence[sa.ColumnElement[bool]],
    after: str,
    key: sa.Tuple,
    newest_first: bool,
    order: str,
) -> sa.ColumnElement[bool]:
    found = connection.execute(
        sa.select(table.c[order], table.c.id).where(*conditions, table.c.id == after)
    ).first()
    if found is None:
        raise NotFound(f"after: there is no '{after[:80]}' in this list", hint="start again without after")
    there = sa.tuple_(sa.literal(found[0], table.c[order].type), sa.literal(found[1], sa.Text))
    return key < there if newest_first else key > there
