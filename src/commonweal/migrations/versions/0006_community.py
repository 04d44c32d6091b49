"""Conversations, feedback and the data sets made of it."""

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    pass
