"""Answers that were scored anew, and what came of it."""

from __future__ import annotations

import sqlalchemy as sa

from commonweal.core.database import metadata

audits = sa.Table(
    "serve_audits",
    metadata,
    sa.Column("ask", sa.Text, primary_key=True),
    sa.Column("member", sa.Text, nullable=False),
    sa.Column("auditor", sa.Text, nullable=False, doc="the member that scored it, or 'hub'"),
    sa.Column("identity", sa.Text, nullable=False, doc="of the model"),
    sa.Column("verdict", sa.Text, nullable=False, doc="match, mismatch or unclear"),
    sa.Column("tokens", sa.Integer, nullable=False),
    sa.Column("mean", sa.Double, nullable=False, doc="of the differences in log-probability, in nats"),
    sa.Column("worst", sa.Double, nullable=False),
    sa.Column("apart", sa.Double, nullable=False, doc="share of tokens that are clearly apart"),
    sa.Column("strange", sa.Double, nullable=False, doc="share of tokens that the model would not choose"),
    sa.Column("at", sa.Double, nullable=False),
    sa.CheckConstraint("verdict in ('match', 'mismatch', 'unclear')", name="verdict"),
    sa.Index("ix_serve_audits_member_at", "member", "at"),
)
