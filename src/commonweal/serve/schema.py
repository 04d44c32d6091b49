"""The tables of served models. Times are seconds since the epoch (UTC), prices micro-credits per 1,000 tokens.

Other tables of ``serve`` stand beside the code that owns them, in a ``schema`` module each.
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from commonweal.core.database import metadata

served_models = sa.Table(
    "served_models",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column(
        "kind", sa.Text, nullable=False, doc="full: its own weights; adapter: on a base; fronted: a server's"
    ),
    sa.Column("owner", sa.Text, nullable=False, doc="the account that published it"),
    sa.Column("public", sa.Boolean, nullable=False, server_default="true"),
    sa.Column("base", sa.Text, doc="of an adapter: the served model that it changes"),
    sa.Column("files", JSONB, nullable=False, doc="file name -> blob"),
    sa.Column("identity", sa.Text, nullable=False, doc="hash of files, base and quantization"),
    sa.Column("quantization", sa.Text, nullable=False, server_default="none"),
    sa.Column("parameters", sa.BigInteger, nullable=False),
    sa.Column("window", sa.Integer, nullable=False, doc="tokens of context"),
    sa.Column("price_in", sa.BigInteger, nullable=False),
    sa.Column("price_out", sa.BigInteger, nullable=False),
    sa.Column("lineage", JSONB, nullable=False, doc="where it comes from: job, parent, data, feedback"),
    sa.Column("created", sa.Double, nullable=False),
    sa.Column("retired", sa.Double),
    sa.CheckConstraint("kind in ('full', 'adapter', 'fronted')", name="kind"),
)

promotions = sa.Table(
    "promotions",
    metadata,
    sa.Column("number", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    sa.Column("name", sa.Text, nullable=False, doc="the model whose NAME:latest this is"),
    sa.Column("model", sa.Text, sa.ForeignKey("served_models.name"), nullable=False),
    sa.Column("by", sa.Text, nullable=False, doc="the account that promoted it"),
    sa.Column("at", sa.Double, nullable=False),
    sa.Column("record", JSONB, nullable=False, doc="why: what was measured, what feedback went in"),
    sa.Index("ix_promotions_name", "name", "number"),
)
