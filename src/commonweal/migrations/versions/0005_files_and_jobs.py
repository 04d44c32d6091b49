"""Uploaded files, fine-tuning jobs and batches."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.create_table(
        "files",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("filename", sa.Text(), nullable=False),
        sa.Column("purpose", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("blob", sa.Text(), nullable=False),
        sa.Column("created", sa.Double(), nullable=False),
        sa.Column("expires", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_files")),
    )
    op.create_index("ix_files_owner", "files", ["owner", "created", "id"], unique=False)
    op.create_table(
        "file_uploads",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("filename", sa.Text(), nullable=False),
        sa.Column("purpose", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("status", sa.Text(), server_default="pending", nullable=False),
        sa.Column("created", sa.Double(), nullable=False),
        sa.Column("expires", sa.Double(), nullable=False),
        sa.Column("keep_seconds", sa.Double(), nullable=True),
        sa.Column("file", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "status in ('pending', 'completed', 'cancelled')", name=op.f("ck_file_uploads_status")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_file_uploads")),
    )
    op.create_index("ix_file_uploads_owner", "file_uploads", ["owner"], unique=False)
    op.create_table(
        "file_parts",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("upload", sa.Text(), nullable=False),
        sa.Column("blob", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("created", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(
            ["upload"], ["file_uploads.id"], name=op.f("fk_file_parts_upload_file_uploads")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_file_parts")),
    )
    op.create_index("ix_file_parts_upload", "file_parts", ["upload"], unique=False)
    op.create_table(
        "tuning_jobs",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("stage", sa.Text(), nullable=False),
        sa.Column("wish", sa.Text(), nullable=True),
        sa.Column("version", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("recipe", postgresql.JSONB(), nullable=False),
        sa.Column("metadata", postgresql.JSONB(), nullable=False),
        sa.Column("created", sa.Double(), nullable=False),
        sa.Column("finished", sa.Double(), nullable=True),
        sa.Column("estimated_finish", sa.Double(), nullable=True),
        sa.Column("error", postgresql.JSONB(), nullable=True),
        sa.Column("round", sa.Integer(), server_default="-1", nullable=False),
        sa.Column("steps", sa.Integer(), nullable=True),
        sa.Column("trained_tokens", sa.BigInteger(), nullable=True),
        sa.Column("spent", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("model", sa.Text(), nullable=True),
        sa.Column("result_file", sa.Text(), nullable=True),
        sa.Column("trouble", sa.Integer(), server_default="0", nullable=False),
        sa.Column("not_before", sa.Double(), server_default="0", nullable=False),
        sa.CheckConstraint(
            "stage in ('check', 'submit', 'watch', 'publish', 'stop', 'over')",
            name=op.f("ck_tuning_jobs_stage"),
        ),
        sa.CheckConstraint(
            "status in ('validating_files', 'queued', 'running', 'paused', 'succeeded', 'failed', 'cancelled')",
            name=op.f("ck_tuning_jobs_status"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tuning_jobs")),
    )
    op.create_index("ix_tuning_jobs_owner", "tuning_jobs", ["owner", "created", "id"], unique=False)
    op.create_index("ix_tuning_jobs_stage", "tuning_jobs", ["stage"], unique=False)
    op.create_table(
        "tuning_events",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("number", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("job", sa.Text(), nullable=False),
        sa.Column("created", sa.Double(), nullable=False),
        sa.Column("level", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("data", postgresql.JSONB(), nullable=True),
        sa.CheckConstraint("level in ('info', 'warn', 'error')", name=op.f("ck_tuning_events_level")),
        sa.CheckConstraint("type in ('message', 'metrics')", name=op.f("ck_tuning_events_type")),
        sa.ForeignKeyConstraint(["job"], ["tuning_jobs.id"], name=op.f("fk_tuning_events_job_tuning_jobs")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tuning_events")),
    )
    op.create_index("ix_tuning_events_job", "tuning_events", ["job", "number"], unique=False)
    op.create_table(
        "tuning_checkpoints",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("job", sa.Text(), nullable=False),
        sa.Column("step", sa.Integer(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("created", sa.Double(), nullable=False),
        sa.Column("metrics", postgresql.JSONB(), nullable=False),
        sa.ForeignKeyConstraint(
            ["job"], ["tuning_jobs.id"], name=op.f("fk_tuning_checkpoints_job_tuning_jobs")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tuning_checkpoints")),
        sa.UniqueConstraint("job", "step", name=op.f("uq_tuning_checkpoints_job_step")),
    )
    op.create_table(
        "batches",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("endpoint", sa.Text(), nullable=False),
        sa.Column("input_file", sa.Text(), nullable=False),
        sa.Column("blob", sa.Text(), nullable=False),
        sa.Column("metadata", postgresql.JSONB(), nullable=True),
        sa.Column("created", sa.Double(), nullable=False),
        sa.Column("expires", sa.Double(), nullable=False),
        sa.Column("times", postgresql.JSONB(), nullable=False),
        sa.Column("total", sa.Integer(), server_default="0", nullable=False),
        sa.Column("keep_seconds", sa.Double(), nullable=True),
        sa.Column("errors", postgresql.JSONB(), nullable=True),
        sa.Column("counted", postgresql.JSONB(), nullable=True),
        sa.Column("output_file", sa.Text(), nullable=True),
        sa.Column("error_file", sa.Text(), nullable=True),
        sa.Column("model", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "status in ('validating', 'failed', 'in_progress', 'finalizing', 'completed', 'expired', "
            "'cancelling', 'cancelled')",
            name=op.f("ck_batches_status"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_batches")),
    )
    op.create_index("ix_batches_owner", "batches", ["owner", "created", "id"], unique=False)
    op.create_index("ix_batches_status", "batches", ["status"], unique=False)
    op.create_table(
        "batch_answers",
        sa.Column("batch", sa.Text(), nullable=False),
        sa.Column("line", sa.Integer(), nullable=False),
        sa.Column("good", sa.Boolean(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("usage", postgresql.JSONB(), nullable=True),
        sa.ForeignKeyConstraint(["batch"], ["batches.id"], name=op.f("fk_batch_answers_batch_batches")),
        sa.PrimaryKeyConstraint("batch", "line", name=op.f("pk_batch_answers")),
    )
