"""The tables of retrieval. Times are seconds since the epoch (UTC). All that is here can be made again from the files,
but for which files are in which store."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB, TSVECTOR

from commonweal.core.database import metadata

documents = sa.Table(
    "documents",
    metadata,
    sa.Column("file", sa.Text, sa.ForeignKey("files.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("language", sa.Text, nullable=False, doc="PostgreSQL's text search configuration"),
    sa.Column("passages", sa.Integer, nullable=False),
    sa.Column("words", sa.BigInteger, nullable=False, doc="of all its passages"),
    sa.Column("size", sa.BigInteger, nullable=False, doc="of the text, in bytes"),
    sa.Column("cutting", sa.Integer, nullable=False, doc="the version of the rules that cut it"),
    sa.Column("created", sa.Double, nullable=False),
)

passages = sa.Table(
    "document_passages",
    metadata,
    sa.Column("file", sa.Text, sa.ForeignKey("documents.file", ondelete="CASCADE"), nullable=False),
    sa.Column("number", sa.Integer, nullable=False),
    sa.Column("start", sa.Integer, nullable=False, doc="its place in the document's text, in characters"),
    sa.Column("stop", sa.Integer, nullable=False),
    sa.Column("text", sa.Text, nullable=False),
    sa.Column("words", sa.Integer, nullable=False, doc="how many count in the index"),
    sa.Column("terms", TSVECTOR, nullable=False),
    sa.PrimaryKeyConstraint("file", "number"),
    sa.Index("ix_document_passages_terms", "terms", postgresql_using="gin"),
)

vector_stores = sa.Table(
    "vector_stores",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("owner", sa.Text, nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("metadata", JSONB, nullable=False),
    sa.Column("created", sa.Double, nullable=False),
    sa.Column("active", sa.Double, nullable=False, doc="when it was last used"),
    sa.Column("keep_days", sa.Integer, doc="after it was last used"),
    sa.Index("ix_vector_stores_owner", "owner", "created", "id"),
)

store_files = sa.Table(
    "vector_store_files",
    metadata,
    sa.Column("store", sa.Text, sa.ForeignKey("vector_stores.id", ondelete="CASCADE"), nullable=False),
    sa.Column("id", sa.Text, sa.ForeignKey("files.id", ondelete="CASCADE"), nullable=False, doc="the file"),
    sa.Column("created", sa.Double, nullable=False),
    sa.Column("attributes", JSONB, nullable=False),
    sa.Column("error", JSONB(none_as_null=True), doc="why it could not be read: code, message"),
    sa.PrimaryKeyConstraint("store", "id"),
    sa.Index("ix_vector_store_files_id", "id"),
)
