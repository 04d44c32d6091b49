"""Documents that answers are looked up in."""

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    pass
