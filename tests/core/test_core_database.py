"""The database: its migrations make what the code declares, and its failures are named."""

from __future__ import annotations

import threading

import alembic.autogenerate
import pytest
import sqlalchemy as sa
from alembic.migration import MigrationContext

import commonweal.ledger.schema
import commonweal.pool.schema
import commonweal.serve.audit.schema
import commonweal.serve.batches.schema
import commonweal.serve.billing.schema
import commonweal.serve.files.schema
import commonweal.serve.retrieval.schema
import commonweal.serve.router.schema
import commonweal.serve.schema
import commonweal.serve.tuning.schema  # noqa: F401  all declare their tables on the metadata
from commonweal.core.database import Database, connect, metadata
from commonweal.core.errors import ConfigError, StorageFull, Unavailable


def test_the_migrations_make_the_declared_tables(database: Database) -> None:
    with database.engine.connect() as connection:
        context = MigrationContext.configure(
            connection, opts={"compare_type": True, "compare_server_default": True}
        )
        assert alembic.autogenerate.compare_metadata(context, metadata) == []


def test_partial_indexes_are_as_declared(database: Database) -> None:
    """Alembic does not compare their conditions."""
    with database.transaction() as connection:
        rows = connection.execute(sa.text("select indexname, indexdef from pg_indexes"))
        found = {row.indexname: row.indexdef for row in rows}
    declared = [index for table in metadata.tables.values() for index in table.indexes]
    partial = [i for i in declared if i.dialect_options["postgresql"]["where"] is not None]
    assert len(partial) >= 4
    for index in partial:
        for status in ("queued", "leased", "submitted"):
            condition = str(index.dialect_options["postgresql"]["where"])
            assert (f"'{status}'" in condition) == (f"'{status}'" in found[str(index.name)]), index.name


def test_connecting_twice_migrates_once(database: Database, database_url: str) -> None:
    other = connect(database_url)
    with other.transaction() as connection:
        assert connection.execute(sa.text("select version_num from alembic_version")).scalars().all() == [
            "0010"
        ]
    other.close()


def test_hubs_that_start_together_migrate_once(database_url: str) -> None:
    databases: list[Database] = []
    threads = [threading.Thread(target=lambda: databases.append(connect(database_url))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(databases) == 3
    for database in databases:
        database.close()


def test_a_newer_database_is_not_touched(database: Database, database_url: str) -> None:
    with database.transaction() as connection:
        connection.execute(sa.text("update alembic_version set version_num = '9999'"))
    with pytest.raises(ConfigError, match="newer Commonweal"):
        connect(database_url)


@pytest.mark.parametrize(
    "url",
    ["mysql://host/name", "host/name", "", "postgresql://user:pass@host:port/name", "postgresql://[::1/x"],
)
def test_a_url_that_cannot_be_used_is_explained(url: str) -> None:
    with pytest.raises(ConfigError, match="--database") as caught:
        connect(url)
    assert "postgresql://user:password@host/name" in (caught.value.hint or "")
    assert "pass@" not in caught.value.message


def test_a_server_that_is_away_is_unavailable() -> None:
    with pytest.raises(Unavailable, match="does not answer"):
        connect("postgresql://nobody@127.0.0.1:9/none")


def test_an_error_rolls_back(database: Database) -> None:
    def insert(text: str) -> None:
        with database.transaction() as connection:
            connection.execute(sa.text(text))

    with pytest.raises(sa.exc.DBAPIError):
        insert("insert into keys values ('h', 'user', 'o', '', 0, null); select 1 / 0")
    with database.transaction() as connection:
        assert connection.execute(sa.text("select count(*) from keys")).scalar() == 0


@pytest.mark.parametrize(
    ("state", "raised"), [("53100", StorageFull), ("57P01", Unavailable), ("40P01", Unavailable)]
)
def test_the_servers_troubles_are_translated(database: Database, state: str, raised: type[Exception]) -> None:
    with pytest.raises(raised) as caught, database.transaction() as connection:
        connection.execute(
            sa.text(f"do $$ begin raise exception 'trouble' using errcode = '{state}'; end $$")
        )
    assert type(caught.value) is raised


def test_a_users_mistake_is_not_the_servers(database: Database) -> None:
    with pytest.raises(sa.exc.ProgrammingError), database.transaction() as connection:
        connection.execute(sa.text("select nonsense"))


def test_one_at_a_time_without_a_transaction(database: Database) -> None:
    with database.exclusive("a") as mine:
        assert mine
        with database.exclusive("a") as again, database.exclusive("b") as other:
            assert (again, other) == (False, True)
        with database.transaction() as connection:
            activity = "select state from pg_stat_activity where datname = current_database()"
            others = activity + " and pid <> pg_backend_pid()"
            states = connection.execute(sa.text(others)).scalars()
            assert "idle in transaction" not in list(states)
    with database.exclusive("a") as mine:
        assert mine


def test_the_lock_of_a_lost_connection_is_free(database: Database) -> None:
    with database.exclusive("a") as mine:
        assert mine
        with database.transaction() as connection:
            connection.execute(
                sa.text(
                    "select pg_terminate_backend(pid) from pg_locks where locktype = 'advisory' and granted"
                )
            )
        for _ in range(100):
            with database.exclusive("a") as taken:
                if taken:
                    break
        assert taken, "held although its connection is gone"
