"""The first tables: the pool's and the ledger's."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from commonweal.ledger.schema import TRIGGERS

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "attempts",
        sa.Column("unit", sa.Text(), nullable=False),
        sa.Column("fence", sa.BigInteger(), nullable=False),
        sa.Column("member", sa.Text(), nullable=False),
        sa.Column("leased_at", sa.Double(), nullable=False),
        sa.Column("ended_at", sa.Double(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("unit", "fence", name=op.f("pk_attempts")),
    )
    op.create_index("ix_attempts_member", "attempts", ["member"], unique=False)
    op.create_table(
        "jobs",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("message", sa.Text(), server_default="", nullable=False),
        sa.Column("spec", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("state", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("version", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("plan", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("keeps", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("spec_blobs", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("rounds", sa.Integer(), server_default="0", nullable=False),
        sa.Column("budget", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("spent", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("hold", sa.Text(), nullable=True),
        sa.Column("created", sa.Double(), nullable=False),
        sa.Column("updated", sa.Double(), nullable=False),
        sa.Column("request_id", sa.Text(), nullable=False),
        sa.CheckConstraint(
            "status in ('running', 'paused', 'done', 'failed', 'cancelled')", name=op.f("ck_jobs_status")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_jobs")),
        sa.UniqueConstraint("request_id", name=op.f("uq_jobs_request_id")),
    )
    op.create_index("ix_jobs_status", "jobs", ["status"], unique=False)
    op.create_table(
        "keys",
        sa.Column("hash", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("label", sa.Text(), server_default="", nullable=False),
        sa.Column("created", sa.Double(), nullable=False),
        sa.Column("revoked", sa.Double(), nullable=True),
        sa.CheckConstraint("role in ('admin', 'user', 'join', 'member')", name=op.f("ck_keys_role")),
        sa.PrimaryKeyConstraint("hash", name=op.f("pk_keys")),
    )
    op.create_table(
        "ledger_accounts",
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("available", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("held", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("escrow", sa.BigInteger(), server_default="0", nullable=False),
        sa.CheckConstraint(
            "(kind = 'issuance') = (account = 'issuance')", name=op.f("ck_ledger_accounts_one_issuance")
        ),
        sa.CheckConstraint("available >= 0 or kind = 'issuance'", name=op.f("ck_ledger_accounts_available")),
        sa.CheckConstraint(
            "kind in ('member', 'user', 'job', 'hub', 'issuance')", name=op.f("ck_ledger_accounts_kind")
        ),
        sa.CheckConstraint("escrow >= 0", name=op.f("ck_ledger_accounts_escrow")),
        sa.CheckConstraint("held >= 0", name=op.f("ck_ledger_accounts_held")),
        sa.PrimaryKeyConstraint("account", name=op.f("pk_ledger_accounts")),
    )
    op.create_table(
        "ledger_journals",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("memo", sa.Text(), nullable=False),
        sa.Column("at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("hold", sa.Text(), nullable=True),
        sa.Column("request", sa.Text(), nullable=False),
        sa.Column("hash", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ledger_journals")),
        sa.UniqueConstraint("key", name=op.f("uq_ledger_journals_key")),
    )
    op.create_index(
        op.f("ix_ledger_journals_hold"),
        "ledger_journals",
        ["hold"],
        unique=False,
        postgresql_where=sa.text("hold is not null"),
    )
    op.create_table(
        "members",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("client_version", sa.Text(), nullable=False),
        sa.Column("roles", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("platform", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("state", sa.Text(), server_default="idle", nullable=False),
        sa.Column("joined", sa.Double(), nullable=False),
        sa.Column("last_seen", sa.Double(), nullable=False),
        sa.Column("free_memory", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("memory_limit", sa.BigInteger(), nullable=True),
        sa.Column("upload", sa.Double(), nullable=True),
        sa.Column("download", sa.Double(), nullable=True),
        sa.Column("reputation", sa.Double(), server_default="0.5", nullable=False),
        sa.Column("accepted", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("refused", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("request_id", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_members")),
        sa.UniqueConstraint("request_id", name=op.f("uq_members_request_id")),
    )
    op.create_index("ix_members_last_seen", "members", ["last_seen"], unique=False)
    op.create_table(
        "ledger_holds",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("microcredits", sa.BigInteger(), nullable=False),
        sa.Column("remaining", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("remaining between 0 and microcredits", name=op.f("ck_ledger_holds_remaining")),
        sa.ForeignKeyConstraint(
            ["account"], ["ledger_accounts.account"], name=op.f("fk_ledger_holds_account_ledger_accounts")
        ),
        sa.ForeignKeyConstraint(
            ["key"], ["ledger_journals.key"], name=op.f("fk_ledger_holds_key_ledger_journals")
        ),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_ledger_holds")),
    )
    op.create_index(
        op.f("ix_ledger_holds_account"),
        "ledger_holds",
        ["account"],
        unique=False,
        postgresql_where=sa.text("remaining > 0"),
    )
    op.create_table(
        "ledger_postings",
        sa.Column("journal_id", sa.BigInteger(), nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("bucket", sa.Text(), nullable=False),
        sa.Column("microcredits", sa.BigInteger(), nullable=False),
        sa.CheckConstraint(
            "bucket in ('available', 'held', 'escrow')", name=op.f("ck_ledger_postings_bucket")
        ),
        sa.CheckConstraint("microcredits <> 0", name=op.f("ck_ledger_postings_microcredits")),
        sa.ForeignKeyConstraint(
            ["account"], ["ledger_accounts.account"], name=op.f("fk_ledger_postings_account_ledger_accounts")
        ),
        sa.ForeignKeyConstraint(
            ["journal_id"], ["ledger_journals.id"], name=op.f("fk_ledger_postings_journal_id_ledger_journals")
        ),
        sa.PrimaryKeyConstraint("journal_id", "account", "bucket", name=op.f("pk_ledger_postings")),
    )
    op.create_index(
        op.f("ix_ledger_postings_account_journal_id"),
        "ledger_postings",
        ["account", "journal_id"],
        unique=False,
    )
    op.create_table(
        "ledger_seals",
        sa.Column("journal_id", sa.BigInteger(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=True),
        sa.Column("hash", sa.Text(), nullable=True),
        sa.CheckConstraint("(position is null) = (hash is null)", name=op.f("ck_ledger_seals_filled_once")),
        sa.ForeignKeyConstraint(
            ["journal_id"], ["ledger_journals.id"], name=op.f("fk_ledger_seals_journal_id_ledger_journals")
        ),
        sa.PrimaryKeyConstraint("journal_id", name=op.f("pk_ledger_seals")),
        sa.UniqueConstraint("position", name=op.f("uq_ledger_seals_position")),
    )
    op.create_index(
        "ix_ledger_seals_open",
        "ledger_seals",
        ["journal_id"],
        unique=False,
        postgresql_where=sa.text("position is null"),
    )
    op.create_table(
        "rates",
        sa.Column("member", sa.Text(), nullable=False),
        sa.Column("job", sa.Text(), nullable=False),
        sa.Column("rate", sa.Double(), nullable=False),
        sa.Column("samples", sa.Integer(), nullable=False),
        sa.Column("measured", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["member"], ["members.id"], name=op.f("fk_rates_member_members")),
        sa.PrimaryKeyConstraint("member", "job", name=op.f("pk_rates")),
    )
    op.create_table(
        "rounds",
        sa.Column("job", sa.Text(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("record", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.ForeignKeyConstraint(["job"], ["jobs.id"], name=op.f("fk_rounds_job_jobs")),
        sa.PrimaryKeyConstraint("job", "number", name=op.f("pk_rounds")),
    )
    op.create_table(
        "units",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("job", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("group", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("payload", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("amount", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("memory", sa.BigInteger(), nullable=False),
        sa.Column("min_reputation", sa.Double(), nullable=False),
        sa.Column("prefers", sa.Text(), nullable=True),
        sa.Column("excludes", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("max_attempts", sa.Integer(), nullable=False),
        sa.Column("deadline", sa.Double(), nullable=False),
        sa.Column("pickup_until", sa.Double(), nullable=False),
        sa.Column("status", sa.Text(), server_default="queued", nullable=False),
        sa.Column("attempt", sa.Integer(), server_default="0", nullable=False),
        sa.Column("fence", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("member", sa.Text(), nullable=True),
        sa.Column("request_id", sa.Text(), nullable=True),
        sa.Column("asked", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("progress", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("leased_at", sa.Double(), nullable=True),
        sa.Column("leased_until", sa.Double(), nullable=True),
        sa.Column("submitted_at", sa.Double(), nullable=True),
        sa.Column("result", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("failure", sa.Text(), nullable=True),
        sa.Column("created", sa.Double(), nullable=False),
        sa.CheckConstraint(
            "status in ('queued', 'leased', 'submitted', 'folded', 'dropped')", name=op.f("ck_units_status")
        ),
        sa.ForeignKeyConstraint(["job"], ["jobs.id"], name=op.f("fk_units_job_jobs")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_units")),
        sa.UniqueConstraint("job", "key", name=op.f("uq_units_job_key")),
    )
    op.create_index(
        "ix_units_held",
        "units",
        ["member", "request_id"],
        unique=False,
        postgresql_where=sa.text("status in ('leased', 'submitted')"),
    )
    op.create_index(
        "ix_units_leased",
        "units",
        ["leased_until"],
        unique=False,
        postgresql_where=sa.text("status = 'leased'"),
    )
    op.create_index(
        "ix_units_open",
        "units",
        ["job", "status"],
        unique=False,
        postgresql_where=sa.text("status in ('queued', 'leased', 'submitted')"),
    )
    op.create_index(
        "ix_units_queued",
        "units",
        ["job", "prefers", "created"],
        unique=False,
        postgresql_where=sa.text("status = 'queued'"),
    )
    for trigger in TRIGGERS:
        op.execute(trigger)
