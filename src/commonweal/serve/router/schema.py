"""The hub processes on this database, and the workers that are connected to each. ``seen`` is by the database's
clock."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from commonweal.core.database import metadata

hubs = sa.Table(
    "serve_hubs",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("seen", sa.Double, nullable=False),
    sa.Column("workers", JSONB, nullable=False, server_default="[]"),
)
