"""Alembic's environment: always on a connection that :mod:`commonweal.core.database` opened."""

from alembic import context

context.configure(connection=context.config.attributes["connection"])
context.run_migrations()
