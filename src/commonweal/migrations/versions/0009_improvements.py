"""Improvements: how a model's next version was made of feedback, measured, and promoted or refused."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    op.create_table(
        "community_improvements",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("current", sa.Text(), nullable=False),
        sa.Column("options", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("created", sa.Double(), nullable=False),
        sa.Column("finished", sa.Double(), nullable=True),
        sa.Column("stages", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("lines", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("detail", sa.Text(), server_default="", nullable=False),
        sa.Column("dataset", sa.Text(), nullable=True),
        sa.Column("feedback", sa.Integer(), nullable=True),
        sa.Column("job", sa.Text(), nullable=True),
        sa.Column("candidate", sa.Text(), nullable=True),
        sa.Column("held_out", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("decision", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("error", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("trouble", sa.Integer(), server_default="0", nullable=False),
        sa.Column("not_before", sa.Double(), server_default="0", nullable=False),
        sa.CheckConstraint(
            "state in ('queued', 'building', 'training', 'scoring', 'guarding', 'promoted', 'refused', 'failed',"
            " 'cancelled')",
            name=op.f("ck_community_improvements_state"),
        ),
        sa.CheckConstraint(
            "(finished is null) = (state in ('queued', 'building', 'training', 'scoring', 'guarding'))",
            name=op.f("ck_community_improvements_finished"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_community_improvements")),
    )
    op.create_index(
        "ix_community_improvements_open",
        "community_improvements",
        ["model"],
        unique=True,
        postgresql_where=sa.text("finished is null"),
    )
    op.create_index("ix_community_improvements_created", "community_improvements", ["created", "id"])
