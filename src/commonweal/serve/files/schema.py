"""The tables of files. Times are seconds since the epoch (UTC), sizes bytes."""

from __future__ import annotations

import sqlalchemy as sa

from commonweal.core.database import metadata

files = sa.Table(
    "files",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("owner", sa.Text, nullable=False, doc="the account that it belongs to"),
    sa.Column("filename", sa.Text, nullable=False, doc="as it was sent: text for people, never a path"),
    sa.Column("purpose", sa.Text, nullable=False),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("blob", sa.Text, nullable=False),
    sa.Column("created", sa.Double, nullable=False),
    sa.Column("expires", sa.Double),
    sa.Index("ix_files_owner", "owner", "created", "id"),
)

uploads = sa.Table(
    "file_uploads",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("owner", sa.Text, nullable=False),
    sa.Column("filename", sa.Text, nullable=False),
    sa.Column("purpose", sa.Text, nullable=False),
    sa.Column("size", sa.BigInteger, nullable=False, doc="as announced"),
    sa.Column("status", sa.Text, nullable=False, server_default="pending"),
    sa.Column("created", sa.Double, nullable=False),
    sa.Column("expires", sa.Double, nullable=False),
    sa.Column("keep_seconds", sa.Double, doc="of the file that it becomes"),
    sa.Column("file", sa.Text, doc="the file that it became"),
    sa.CheckConstraint("status in ('pending', 'completed', 'cancelled')", name="status"),
    sa.Index("ix_file_uploads_owner", "owner"),
)

parts = sa.Table(
    "file_parts",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("upload", sa.Text, sa.ForeignKey("file_uploads.id"), nullable=False),
    sa.Column("blob", sa.Text, nullable=False),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("created", sa.Double, nullable=False),
    sa.Index("ix_file_parts_upload", "upload"),
)
