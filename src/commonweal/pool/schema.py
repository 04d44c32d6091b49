"""The pool's tables. Times are seconds since the epoch (UTC), sizes bytes, rates per second.

Secrets are stored as their SHA-256 only: they have 160 random bits, so a plain hash is as good as a slow one.
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from commonweal.core.database import metadata

_TIME = sa.Double

keys = sa.Table(
    "keys",
    metadata,
    sa.Column("hash", sa.Text, primary_key=True),
    sa.Column("role", sa.Text, nullable=False),
    sa.Column("owner", sa.Text, nullable=False, doc="the account that it speaks for"),
    sa.Column("label", sa.Text, nullable=False, server_default=""),
    sa.Column("created", _TIME, nullable=False),
    sa.Column("revoked", _TIME),
    sa.Column("request_id", sa.Text, unique=True, doc="who asked for it, and under which id"),
    sa.Column("revoked_by", sa.Text, doc="the request that revoked it"),
    sa.CheckConstraint("role in ('admin', 'user', 'join', 'member')", name="role"),
)

members = sa.Table(
    "members",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("client_version", sa.Text, nullable=False),
    sa.Column("roles", ARRAY(sa.Text), nullable=False),
    sa.Column("platform", JSONB, nullable=False),
    sa.Column("state", sa.Text, nullable=False, server_default="idle"),
    sa.Column("joined", _TIME, nullable=False),
    sa.Column("last_seen", _TIME, nullable=False),
    sa.Column("free_memory", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("memory_limit", sa.BigInteger, doc="the smallest need that it ran out of memory on"),
    sa.Column("upload", sa.Double),
    sa.Column("download", sa.Double),
    sa.Column("reputation", sa.Double, nullable=False, server_default="0.5"),
    sa.Column("accepted", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("refused", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("missed", sa.Integer, nullable=False, server_default="0", doc="groups in a row, see scheduler"),
    sa.Column("request_id", sa.Text, nullable=False, unique=True),
    sa.Column("owner", sa.Text, nullable=False, server_default="", doc="the account whose key registered it"),
    sa.Column("trusted", sa.Boolean, nullable=False, server_default="false", doc="the operator's word"),
    sa.Index("ix_members_last_seen", "last_seen"),
)

transfers = sa.Table(
    "transfers",
    metadata,
    sa.Column("member", sa.Text, sa.ForeignKey("members.id"), primary_key=True),
    sa.Column("up_bytes", sa.BigInteger, nullable=False, server_default="0", doc="that the store has"),
    sa.Column("up_since", _TIME, doc="when the first of them were announced"),
    sa.Column("down_bytes", sa.BigInteger, nullable=False, server_default="0", doc="sent, or pointed to"),
    sa.Column("down_seconds", sa.Double, nullable=False, server_default="0", doc="that sending took"),
    sa.Column("down_since", _TIME, doc="when the first of them were asked for"),
)

rates = sa.Table(
    "rates",
    metadata,
    sa.Column("member", sa.Text, sa.ForeignKey("members.id"), primary_key=True),
    sa.Column("job", sa.Text, primary_key=True, doc="speed depends on the model, so it is kept by job"),
    sa.Column("rate", sa.Double, nullable=False, doc="amount a second, while computing"),
    sa.Column("samples", sa.Integer, nullable=False),
    sa.Column("measured", _TIME, nullable=False),
)

jobs = sa.Table(
    "jobs",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("owner", sa.Text, nullable=False),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("message", sa.Text, nullable=False, server_default=""),
    sa.Column("spec", JSONB, nullable=False),
    sa.Column("state", JSONB, nullable=False),
    sa.Column("version", sa.BigInteger, nullable=False, server_default="0", doc="compared and set"),
    sa.Column("plan", JSONB, doc="the group being worked on: deadline, quorum, since"),
    sa.Column("keeps", ARRAY(sa.Text), nullable=False, doc="blobs of the current state"),
    sa.Column("spec_blobs", ARRAY(sa.Text), nullable=False),
    sa.Column("rounds", sa.Integer, nullable=False, server_default="0"),
    sa.Column("budget", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("spent", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("hold", sa.Text),
    sa.Column("created", _TIME, nullable=False),
    sa.Column("updated", _TIME, nullable=False),
    sa.Column("request_id", sa.Text, nullable=False, unique=True),
    sa.Column(
        "resumed_by", ARRAY(sa.Text), nullable=False, server_default="{}", doc="the latest requests to"
    ),
    sa.CheckConstraint("status in ('running', 'paused', 'done', 'failed', 'cancelled')", name="status"),
    sa.Index("ix_jobs_status", "status"),
)

rounds = sa.Table(
    "rounds",
    metadata,
    sa.Column("job", sa.Text, sa.ForeignKey("jobs.id"), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("at", _TIME, nullable=False),
    sa.Column("record", JSONB, nullable=False),
)

_OPEN = "status in ('queued', 'leased', 'submitted')"
_HELD = "status in ('leased', 'submitted')"

units = sa.Table(
    "units",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("job", sa.Text, sa.ForeignKey("jobs.id"), nullable=False),
    sa.Column("key", sa.Text, nullable=False),
    sa.Column("group", sa.Text, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("payload", JSONB, nullable=False),
    sa.Column("amount", JSONB, nullable=False),
    sa.Column("role", sa.Text, nullable=False),
    sa.Column("memory", sa.BigInteger, nullable=False),
    sa.Column("min_reputation", sa.Double, nullable=False),
    sa.Column("prefers", sa.Text),
    sa.Column("excludes", ARRAY(sa.Text), nullable=False),
    sa.Column("max_attempts", sa.Integer, nullable=False),
    sa.Column("deadline", _TIME, nullable=False),
    sa.Column("pickup_until", _TIME, nullable=False),
    sa.Column("status", sa.Text, nullable=False, server_default="queued"),
    sa.Column("attempt", sa.Integer, nullable=False, server_default="0"),
    sa.Column("fence", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("member", sa.Text),
    sa.Column("request_id", sa.Text),
    sa.Column("asked", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("progress", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("leased_at", _TIME),
    sa.Column("leased_until", _TIME),
    sa.Column("submitted_at", _TIME),
    sa.Column("result", JSONB),
    sa.Column("failure", sa.Text),
    sa.Column("created", _TIME, nullable=False),
    sa.UniqueConstraint("job", "key"),
    sa.CheckConstraint("status in ('queued', 'leased', 'submitted', 'folded', 'dropped')", name="status"),
    sa.Index("ix_units_queued", "job", "prefers", "created", postgresql_where=sa.text("status = 'queued'")),
    sa.Index("ix_units_leased", "leased_until", postgresql_where=sa.text("status = 'leased'")),
    sa.Index("ix_units_open", "job", "status", postgresql_where=sa.text(_OPEN)),
    sa.Index("ix_units_held", "member", "request_id", postgresql_where=sa.text(_HELD)),
)

attempts = sa.Table(
    "attempts",
    metadata,
    sa.Column("unit", sa.Text, primary_key=True),
    sa.Column("fence", sa.BigInteger, primary_key=True),
    sa.Column("member", sa.Text, nullable=False),
    sa.Column("leased_at", _TIME, nullable=False),
    sa.Column("ended_at", _TIME, nullable=False),
    sa.Column("outcome", sa.Text, nullable=False, doc="expired, released, or what failed"),
    sa.Index("ix_attempts_member", "member"),
)

uploads = sa.Table(
    "uploads",
    metadata,
    sa.Column("blob", sa.Text, primary_key=True),
    sa.Column("owner", sa.Text, primary_key=True, doc="the account whose quota it counts against"),
    sa.Column("size", sa.BigInteger, nullable=False, doc="bytes, as announced or more"),
    sa.Column("at", _TIME, nullable=False, doc="when it was last gone on with"),
    sa.Index("ix_uploads_owner", "owner"),
)
