"""The tables of fine-tuning. Times are seconds since the epoch (UTC)."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from commonweal.core.database import metadata

tuning_jobs = sa.Table(
    "tuning_jobs",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("owner", sa.Text, nullable=False),
    sa.Column("status", sa.Text, nullable=False, doc="what its owner is told"),
    sa.Column("stage", sa.Text, nullable=False, doc="what the loop does next; 'over' when nothing is left"),
    sa.Column("wish", sa.Text, doc="pause or resume: its owner's, that the pool is yet to be told of"),
    sa.Column("version", sa.BigInteger, nullable=False, server_default="0", doc="compared and set"),
    sa.Column("recipe", JSONB, nullable=False, doc="what was asked for, resolved"),
    sa.Column("metadata", JSONB, nullable=False),
    sa.Column("created", sa.Double, nullable=False),
    sa.Column("finished", sa.Double),
    sa.Column("estimated_finish", sa.Double),
    sa.Column("error", JSONB, doc="code, message, param"),
    sa.Column(
        "round", sa.Integer, nullable=False, server_default="-1", doc="the last round that was told of"
    ),
    sa.Column("steps", sa.Integer, doc="how many it will take"),
    sa.Column("trained_tokens", sa.BigInteger),
    sa.Column("spent", sa.BigInteger, nullable=False, server_default="0", doc="micro-credits"),
    sa.Column("model", sa.Text, doc="the name that the result is served by"),
    sa.Column("result_file", sa.Text),
    sa.Column(
        "trouble", sa.Integer, nullable=False, server_default="0", doc="failures of this stage in a row"
    ),
    sa.Column("not_before", sa.Double, nullable=False, server_default="0", doc="when it is tried again"),
    sa.CheckConstraint(
        "status in ('validating_files', 'queued', 'running', 'paused', 'succeeded', 'failed', 'cancelled')",
        name="status",
    ),
    sa.CheckConstraint("stage in ('check', 'submit', 'watch', 'publish', 'stop', 'over')", name="stage"),
    sa.Index("ix_tuning_jobs_owner", "owner", "created", "id"),
    sa.Index("ix_tuning_jobs_stage", "stage"),
)

tuning_events = sa.Table(
    "tuning_events",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("number", sa.BigInteger, sa.Identity(always=True), nullable=False, doc="in the order told"),
    sa.Column("job", sa.Text, sa.ForeignKey("tuning_jobs.id"), nullable=False),
    sa.Column("created", sa.Double, nullable=False),
    sa.Column("level", sa.Text, nullable=False),
    sa.Column("type", sa.Text, nullable=False),
    sa.Column("message", sa.Text, nullable=False),
    sa.Column("data", JSONB),
    sa.CheckConstraint("level in ('info', 'warn', 'error')", name="level"),
    sa.CheckConstraint("type in ('message', 'metrics')", name="type"),
    sa.Index("ix_tuning_events_job", "job", "number"),
)

tuning_checkpoints = sa.Table(
    "tuning_checkpoints",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("job", sa.Text, sa.ForeignKey("tuning_jobs.id"), nullable=False),
    sa.Column("step", sa.Integer, nullable=False),
    sa.Column("model", sa.Text, nullable=False, doc="the name that it is served by"),
    sa.Column("created", sa.Double, nullable=False),
    sa.Column("metrics", JSONB, nullable=False),
    sa.UniqueConstraint("job", "step"),
)
