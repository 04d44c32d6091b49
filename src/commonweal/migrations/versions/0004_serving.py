"""Workers that serve, messages between hub processes, and tabs."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.create_table(
        "serve_hubs",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("seen", sa.Double(), nullable=False),
        sa.Column("workers", postgresql.JSONB(), server_default="[]", nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_serve_hubs")),
    )
    op.create_table(
        "serve_tabs",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("hub", sa.Text(), nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("made", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_serve_tabs")),
    )
    op.create_index("ix_serve_tabs_hub", "serve_tabs", ["hub"])
    op.create_table(
        "usage",
        sa.Column("ask", sa.Text(), nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("member", sa.Text(), nullable=True),
        sa.Column("prompt_tokens", sa.BigInteger(), nullable=False),
        sa.Column("completion_tokens", sa.BigInteger(), nullable=False),
        sa.Column("microcredits", sa.BigInteger(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("own", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("ask", name=op.f("pk_usage")),
    )
    op.create_index("ix_usage_account_at", "usage", ["account", "at"])
    op.create_index("ix_usage_member_at", "usage", ["member", "at"])
    op.create_table(
        "serve_audits",
        sa.Column("ask", sa.Text(), nullable=False),
        sa.Column("member", sa.Text(), nullable=False),
        sa.Column("auditor", sa.Text(), nullable=False),
        sa.Column("identity", sa.Text(), nullable=False),
        sa.Column("verdict", sa.Text(), nullable=False),
        sa.Column("tokens", sa.Integer(), nullable=False),
        sa.Column("mean", sa.Double(), nullable=False),
        sa.Column("worst", sa.Double(), nullable=False),
        sa.Column("apart", sa.Double(), nullable=False),
        sa.Column("strange", sa.Double(), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.CheckConstraint(
            "verdict in ('match', 'mismatch', 'unclear')", name=op.f("ck_serve_audits_verdict")
        ),
        sa.PrimaryKeyConstraint("ask", name=op.f("pk_serve_audits")),
    )
    op.create_index("ix_serve_audits_member_at", "serve_audits", ["member", "at"])
