"""Whose account brought a machine, and whether the operator trusts it with anybody's prompts."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    op.add_column("members", sa.Column("owner", sa.Text(), nullable=False, server_default=""))
    op.add_column("members", sa.Column("trusted", sa.Boolean(), nullable=False, server_default="false"))
