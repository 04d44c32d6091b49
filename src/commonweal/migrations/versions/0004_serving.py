"""Workers that serve, messages between hub processes, and tabs."""

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    pass
