"""Requests that make and revoke keys or resume jobs are known again when they are repeated, and what accounts
upload is counted until something names it."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.add_column("keys", sa.Column("request_id", sa.Text(), nullable=True))
    op.add_column("keys", sa.Column("revoked_by", sa.Text(), nullable=True))
    op.create_unique_constraint(op.f("uq_keys_request_id"), "keys", ["request_id"])
    op.add_column(
        "jobs",
        sa.Column("resumed_by", postgresql.ARRAY(sa.Text()), server_default="{}", nullable=False),
    )
    op.create_table(
        "uploads",
        sa.Column("blob", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("blob", "owner", name=op.f("pk_uploads")),
    )
    op.create_index("ix_uploads_owner", "uploads", ["owner"], unique=False)
