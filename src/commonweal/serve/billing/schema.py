"""What was answered and what it cost, and the credits that hub processes have set aside. Times are seconds since the
epoch (UTC), money micro-credits."""

from __future__ import annotations

import sqlalchemy as sa

from commonweal.core.database import metadata

usage = sa.Table(
    "usage",
    metadata,
    sa.Column("ask", sa.Text, primary_key=True),
    sa.Column("account", sa.Text, nullable=False),
    sa.Column("model", sa.Text, nullable=False),
    sa.Column("member", sa.Text, doc="who answered; empty if nobody did"),
    sa.Column("prompt_tokens", sa.BigInteger, nullable=False),
    sa.Column("completion_tokens", sa.BigInteger, nullable=False),
    sa.Column("microcredits", sa.BigInteger, nullable=False),
    sa.Column("outcome", sa.Text, nullable=False, doc="done, cancelled, failed, lost, refused, unpaid"),
    sa.Column("own", sa.Boolean, nullable=False, server_default="false", doc="by the account's own worker"),
    sa.Column("at", sa.Double, nullable=False),
    sa.Index("ix_usage_account_at", "account", "at"),
    sa.Index("ix_usage_member_at", "member", "at"),
)

tabs = sa.Table(
    "serve_tabs",
    metadata,
    sa.Column("key", sa.Text, primary_key=True, doc="of the hold"),
    sa.Column("hub", sa.Text, nullable=False),
    sa.Column("account", sa.Text, nullable=False),
    sa.Column("made", sa.Double, nullable=False),
    sa.Index("ix_serve_tabs_hub", "hub"),
)
