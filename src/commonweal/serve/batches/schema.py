"""The tables of batches. Times are seconds since the epoch (UTC)."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from commonweal.core.database import metadata

batches = sa.Table(
    "batches",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("owner", sa.Text, nullable=False),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("endpoint", sa.Text, nullable=False),
    sa.Column("input_file", sa.Text, nullable=False),
    sa.Column("blob", sa.Text, nullable=False, doc="the input's bytes: the file may be deleted meanwhile"),
    sa.Column("metadata", JSONB),
    sa.Column("created", sa.Double, nullable=False),
    sa.Column("expires", sa.Double, nullable=False),
    sa.Column("times", JSONB, nullable=False, doc="status -> when it was reached"),
    sa.Column("total", sa.Integer, nullable=False, server_default="0"),
    sa.Column("keep_seconds", sa.Double, doc="of its output files"),
    sa.Column("errors", JSONB, doc="of the input: code, line, message, param"),
    sa.Column("counted", JSONB, doc="completed, failed and usage, once its lines are gone"),
    sa.Column("output_file", sa.Text),
    sa.Column("error_file", sa.Text),
    sa.Column("model", sa.Text, doc="the one model of all lines"),
    sa.CheckConstraint(
        "status in ('validating', 'failed', 'in_progress', 'finalizing', 'completed', 'expired', 'cancelling', "
        "'cancelled')",
        name="status",
    ),
    sa.Index("ix_batches_owner", "owner", "created", "id"),
    sa.Index("ix_batches_status", "status"),
)

answers = sa.Table(
    "batch_answers",
    metadata,
    sa.Column("batch", sa.Text, sa.ForeignKey("batches.id"), primary_key=True),
    sa.Column("line", sa.Integer, primary_key=True, doc="of the input file, from 1"),
    sa.Column("good", sa.Boolean, nullable=False),
    sa.Column("body", sa.Text, nullable=False, doc="the line of the output file"),
    sa.Column("usage", JSONB),
)
