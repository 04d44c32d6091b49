"""Vector stores: named sets of files, under the names that OpenAI's API has for them (there are no vectors in them).

Functions that join the caller's transaction. Another account's store is not found. A store may expire some days after
it was last used; one that has is found no more, and :func:`forget_expired` deletes it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from commonweal.core.errors import DataError, NotFound, UserError
from commonweal.core.ids import new_id
from commonweal.serve.files.schema import files
from commonweal.serve.paging import Page, page
from commonweal.serve.retrieval.schema import documents, store_files, vector_stores

MOST_FILES = 1000
"""In one store."""

MOST_STORES = 1000
"""Of one account."""

_DAY = 86_400.0
Attributes = Mapping[str, str | float | bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class Store:
    """``completed`` and ``failed`` count its files, ``size`` is the bytes of their texts. ``keep_days``: how long it
    stays after it was last used, None for always."""

    id: str
    owner: str
    name: str
    metadata: Mapping[str, str]
    created: float
    active: float
    keep_days: int | None
    completed: int = 0
    failed: int = 0
    size: int = 0

    @property
    def expires(self) -> float | None:
        return None if self.keep_days is None else self.active + self.keep_days * _DAY


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreFile:
    """A file in a store. ``error``: why it cannot be searched."""

    id: str
    store: str
    created: float
    attributes: Attributes
    error: str | None
    size: int


def create(
    connection: sa.Connection,
    owner: str,
    name: str,
    now: float,
    *,
    metadata: Mapping[str, str] | None = None,
    keep_days: int | None = None,
) -> Store:
    """Raises UserError where the account has too many."""
    count = sa.select(sa.func.count()).select_from(vector_stores).where(vector_stores.c.owner == owner)
    if connection.execute(count).scalar_one() >= MOST_STORES:
        raise UserError(f"an account has at most {MOST_STORES} vector stores", hint="delete some")
    store = Store(
        id=new_id("vs"),
        owner=owner,
        name=name,
        metadata=dict(metadata or {}),
        created=now,
        active=now,
        keep_days=keep_days,
    )
    row = {column.name: getattr(store, column.name) for column in vector_stores.columns}
    connection.execute(sa.insert(vector_stores).values(row))
    return store


def find(connection: sa.Connection, store: str, owner: str, now: float) -> Store:
    """Raises NotFound."""
    row = connection.execute(
        sa.select(vector_stores).where(vector_stores.c.id == store, *_visible(owner, now))
    ).first()
    if row is None:
        raise NotFound(f"no vector store '{store[:80]}'", hint="GET /v1/vector_stores lists yours")
    return _stores(connection, [row])[0]


def every(
    connection: sa.Connection, owner: str, now: float, *, after: str | None, limit: int, newest_first: bool
) -> tuple[tuple[Store, ...], bool]:
    """A page of an account's stores, and whether there are more."""
    found: Page = page(
        connection,
        vector_stores,
        *_visible(owner, now),
        after=after,
        limit=limit,
        newest_first=newest_first,
    )
    return tuple(_stores(connection, found.rows)), found.more


def change(
    connection: sa.Connection, store: str, owner: str, now: float, changes: Mapping[str, Any]
) -> Store:
    """Set ``name``, ``metadata`` or ``keep_days``. Raises NotFound."""
    find(connection, store, owner, now)
    if changes:
        connection.execute(sa.update(vector_stores).where(vector_stores.c.id == store).values(dict(changes)))
    return find(connection, store, owner, now)


def remove(connection: sa.Connection, store: str, owner: str, now: float) -> None:
    """Delete a store; its files stay. Raises NotFound."""
    find(connection, store, owner, now)
    connection.execute(sa.delete(vector_stores).where(vector_stores.c.id == store))


def forget_expired(connection: sa.Connection, now: float) -> int:
    """Delete the stores whose time is over; returns how many."""
    return connection.execute(sa.delete(vector_stores).where(sa.not_(_alive(now)))).rowcount


def add_file(
    connection: sa.Connection,
    store: str,
    owner: str,
    file: str,
    attributes: Attributes,
    error: DataError | None,
    now: float,
) -> StoreFile:
    """Put a file into a store, again with these attributes if it is there. Raises NotFound and UserError."""
    found = find(connection, store, owner, now)
    if found.completed + found.failed >= MOST_FILES:
        raise UserError(f"a vector store has at most {MOST_FILES} files", hint="make another one")
    row = {
        "store": store,
        "id": file,
        "created": now,
        "attributes": dict(attributes),
        "error": None if error is None else {"code": "unsupported_file", "message": str(error)},
    }
    entry = insert(store_files).values(row)
    again = {name: entry.excluded[name] for name in ("attributes", "error")}
    connection.execute(entry.on_conflict_do_update(index_elements=["store", "id"], set_=again))
    _used(connection, store, now)
    return find_file(connection, store, owner, file, now)


def find_file(connection: sa.Connection, store: str, owner: str, file: str, now: float) -> StoreFile:
    """Raises NotFound."""
    find(connection, store, owner, now)
    row = connection.execute(
        sa.select(store_files).where(store_files.c.store == store, store_files.c.id == file)
    ).first()
    if row is None:
        raise NotFound(f"no file '{file[:80]}' in this vector store")
    return _store_files(connection, [row])[0]


def files_of(
    connection: sa.Connection,
    store: str,
    owner: str,
    now: float,
    *,
    after: str | None = None,
    limit: int = MOST_FILES,
    newest_first: bool = True,
    failed: bool | None = None,
) -> tuple[tuple[StoreFile, ...], bool]:
    """A page of a store's files, and whether there are more. ``failed``: only those that could not be read, or only the
    others. Raises NotFound."""
    find(connection, store, owner, now)
    conditions = [store_files.c.store == store]
    if failed is not None:
        conditions.append(_failed() if failed else sa.not_(_failed()))
    found = page(connection, store_files, *conditions, after=after, limit=limit, newest_first=newest_first)
    return tuple(_store_files(connection, found.rows)), found.more


def change_file(
    connection: sa.Connection, store: str, owner: str, file: str, attributes: Attributes, now: float
) -> StoreFile:
    """Raises NotFound."""
    find_file(connection, store, owner, file, now)
    connection.execute(
        sa.update(store_files)
        .where(store_files.c.store == store, store_files.c.id == file)
        .values(attributes=dict(attributes))
    )
    return find_file(connection, store, owner, file, now)


def remove_file(connection: sa.Connection, store: str, owner: str, file: str, now: float) -> None:
    """Take a file out of a store; the file stays. Raises NotFound."""
    find_file(connection, store, owner, file, now)
    connection.execute(sa.delete(store_files).where(store_files.c.store == store, store_files.c.id == file))


def searchable(connection: sa.Connection, store: str, owner: str, now: float) -> tuple[str, ...]:
    """The files of a store that were read, and whose time is not over; and the store counts as used. Raises
    NotFound."""
    find(connection, store, owner, now)
    _used(connection, store, now)
    rows = connection.execute(
        sa.select(store_files.c.id)
        .join(files, files.c.id == store_files.c.id)
        .where(
            store_files.c.store == store,
            sa.not_(_failed()),
            files.c.owner == owner,
            sa.or_(files.c.expires.is_(None), files.c.expires > now),
        )
        .order_by(store_files.c.created, store_files.c.id)
    )
    return tuple(rows.scalars())


def _used(connection: sa.Connection, store: str, now: float) -> None:
    connection.execute(sa.update(vector_stores).where(vector_stores.c.id == store).values(active=now))


def _visible(owner: str, now: float) -> tuple[sa.ColumnElement[bool], ...]:
    return vector_stores.c.owner == owner, _alive(now)


def _alive(now: float) -> sa.ColumnElement[bool]:
    days = vector_stores.c.keep_days
    return sa.or_(days.is_(None), vector_stores.c.active + days * _DAY > now)


def _failed() -> sa.ColumnElement[bool]:
    return store_files.c.error.is_not(None)


def _stores(connection: sa.Connection, rows: Sequence[sa.Row[Any]]) -> list[Store]:
    """With the counts of their files."""
    counted = connection.execute(
        sa.select(
            store_files.c.store,
            sa.func.count().filter(sa.not_(_failed())).label("completed"),
            sa.func.count().filter(_failed()).label("failed"),
            sa.func.coalesce(sa.func.sum(documents.c.size), 0).label("size"),
        )
        .outerjoin(documents, documents.c.file == store_files.c.id)
        .where(store_files.c.store.in_([row.id for row in rows]))
        .group_by(store_files.c.store)
    )
    counts = {
        row.store: {"completed": row.completed, "failed": row.failed, "size": int(row.size)}
        for row in counted
    }
    return [Store(**row._mapping, **counts.get(row.id, {})) for row in rows]


def _store_files(connection: sa.Connection, rows: Sequence[sa.Row[Any]]) -> list[StoreFile]:
    known = connection.execute(
        sa.select(documents.c.file, documents.c.size).where(documents.c.file.in_([row.id for row in rows]))
    )
    size = {row.file: row.size for row in known}
    return [
        StoreFile(
            id=row.id,
            store=row.store,
            created=row.created,
            attributes=row.attributes,
            error=None if row.error is None else row.error["message"],
            size=size.get(row.id, 0),
        )
        for row in rows
    ]
