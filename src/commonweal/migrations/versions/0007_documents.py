"""Documents that answers are looked up in."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.create_table(
        "documents",
        sa.Column("file", sa.Text(), nullable=False),
        sa.Column("language", sa.Text(), nullable=False),
        sa.Column("passages", sa.Integer(), nullable=False),
        sa.Column("words", sa.BigInteger(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("cutting", sa.Integer(), nullable=False),
        sa.Column("created", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(
            ["file"], ["files.id"], name=op.f("fk_documents_file_files"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("file", name=op.f("pk_documents")),
    )
    op.create_table(
        "document_passages",
        sa.Column("file", sa.Text(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("start", sa.Integer(), nullable=False),
        sa.Column("stop", sa.Integer(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("words", sa.Integer(), nullable=False),
        sa.Column("terms", postgresql.TSVECTOR(), nullable=False),
        sa.ForeignKeyConstraint(
            ["file"],
            ["documents.file"],
            name=op.f("fk_document_passages_file_documents"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("file", "number", name=op.f("pk_document_passages")),
    )
    op.create_index("ix_document_passages_terms", "document_passages", ["terms"], postgresql_using="gin")
    op.create_table(
        "vector_stores",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("metadata", postgresql.JSONB(), nullable=False),
        sa.Column("created", sa.Double(), nullable=False),
        sa.Column("active", sa.Double(), nullable=False),
        sa.Column("keep_days", sa.Integer(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_vector_stores")),
    )
    op.create_index("ix_vector_stores_owner", "vector_stores", ["owner", "created", "id"], unique=False)
    op.create_table(
        "vector_store_files",
        sa.Column("store", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("created", sa.Double(), nullable=False),
        sa.Column("attributes", postgresql.JSONB(), nullable=False),
        sa.Column("error", postgresql.JSONB(), nullable=True),
        sa.ForeignKeyConstraint(
            ["id"], ["files.id"], name=op.f("fk_vector_store_files_id_files"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["store"],
            ["vector_stores.id"],
            name=op.f("fk_vector_store_files_store_vector_stores"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("store", "id", name=op.f("pk_vector_store_files")),
    )
    op.create_index("ix_vector_store_files_id", "vector_store_files", ["id"], unique=False)
