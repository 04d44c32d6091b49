"""What the hub saw of members' transfers, and how often a group was folded without what a member had been lent."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    op.add_column("members", sa.Column("missed", sa.Integer(), nullable=False, server_default="0"))
    op.create_table(
        "transfers",
        sa.Column("member", sa.Text(), nullable=False),
        sa.Column("up_bytes", sa.BigInteger(), nullable=False, server_default="0"),
        sa.Column("up_since", sa.Double(), nullable=True),
        sa.Column("down_bytes", sa.BigInteger(), nullable=False, server_default="0"),
        sa.Column("down_seconds", sa.Double(), nullable=False, server_default="0"),
        sa.Column("down_since", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(["member"], ["members.id"], name=op.f("fk_transfers_member_members")),
        sa.PrimaryKeyConstraint("member", name=op.f("pk_transfers")),
    )
