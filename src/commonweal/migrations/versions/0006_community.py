"""Conversations, feedback and the data sets made of it."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.create_table(
        "community_conversations",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("consent", sa.Text(), nullable=False),
        sa.Column("licence", sa.Text(), nullable=True),
        sa.Column("created", sa.Double(), nullable=False),
        sa.Column("updated", sa.Double(), nullable=False),
        sa.CheckConstraint(
            "consent in ('none', 'improve', 'publish') and (licence is null) = (consent = 'none')",
            name=op.f("ck_community_conversations_consent"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_community_conversations")),
    )
    op.create_index(
        "ix_community_conversations_account", "community_conversations", ["account", "updated"], unique=False
    )
    op.create_table(
        "community_messages",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("number", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("conversation", sa.Text(), nullable=False),
        sa.Column("parent", sa.Text(), nullable=True),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("created", sa.Double(), nullable=False),
        sa.Column("consent", sa.Text(), nullable=False),
        sa.Column("licence", sa.Text(), nullable=True),
        sa.Column("withheld", sa.Boolean(), nullable=False),
        sa.Column("flags", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("drafts", sa.Text(), nullable=True),
        sa.Column("model", sa.Text(), nullable=True),
        sa.Column("identity", sa.Text(), nullable=True),
        sa.Column("adapter", sa.Text(), nullable=True),
        sa.Column("base", sa.Text(), nullable=True),
        sa.Column("system", sa.Text(), nullable=True),
        sa.Column("sampling", postgresql.JSONB(), nullable=False),
        sa.Column("seed", sa.BigInteger(), nullable=True),
        sa.Column("tool_calls", postgresql.JSONB(), nullable=False),
        sa.Column("tool_runs", postgresql.JSONB(), nullable=False),
        sa.Column("passages", postgresql.JSONB(), nullable=False),
        sa.Column("finish", sa.Text(), nullable=True),
        sa.Column("prompt_tokens", sa.BigInteger(), nullable=True),
        sa.Column("completion_tokens", sa.BigInteger(), nullable=True),
        sa.Column("microcredits", sa.BigInteger(), nullable=True),
        sa.Column("first_token_seconds", sa.Double(), nullable=True),
        sa.Column("seconds", sa.Double(), nullable=True),
        sa.CheckConstraint(
            "consent in ('none', 'improve', 'publish') and (licence is null) = (consent = 'none')",
            name=op.f("ck_community_messages_consent"),
        ),
        sa.CheckConstraint("role in ('user', 'assistant')", name=op.f("ck_community_messages_role")),
        sa.ForeignKeyConstraint(
            ["conversation"],
            ["community_conversations.id"],
            name=op.f("fk_community_messages_conversation_community_conversations"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["parent"],
            ["community_messages.id"],
            name=op.f("fk_community_messages_parent_community_messages"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_community_messages")),
        sa.UniqueConstraint("number", name=op.f("uq_community_messages_number")),
    )
    op.create_index(
        "ix_community_messages_conversation", "community_messages", ["conversation", "number"], unique=False
    )
    op.create_index("ix_community_messages_parent", "community_messages", ["parent"], unique=False)
    op.create_table(
        "community_comparisons",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("conversation", sa.Text(), nullable=False),
        sa.Column("first", sa.Text(), nullable=False),
        sa.Column("second", sa.Text(), nullable=False),
        sa.Column("seed", sa.BigInteger(), nullable=False),
        sa.Column("choice", sa.Text(), nullable=True),
        sa.Column("created", sa.Double(), nullable=False),
        sa.Column("chosen", sa.Double(), nullable=True),
        sa.CheckConstraint(
            "choice in ('first', 'second', 'tie')", name=op.f("ck_community_comparisons_choice")
        ),
        sa.ForeignKeyConstraint(
            ["conversation"],
            ["community_conversations.id"],
            name=op.f("fk_community_comparisons_conversation_community_conversations"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["first"],
            ["community_messages.id"],
            name=op.f("fk_community_comparisons_first_community_messages"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["second"],
            ["community_messages.id"],
            name=op.f("fk_community_comparisons_second_community_messages"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_community_comparisons")),
    )
    op.create_index(
        "ix_community_comparisons_conversation", "community_comparisons", ["conversation"], unique=False
    )
    op.create_index("ix_community_comparisons_first", "community_comparisons", ["first"], unique=False)
    op.create_index("ix_community_comparisons_second", "community_comparisons", ["second"], unique=False)
    op.create_table(
        "community_feedback",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("conversation", sa.Text(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("other", sa.Text(), nullable=True),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("rating", sa.Integer(), nullable=True),
        sa.Column("reasons", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("comment", sa.Text(), nullable=False),
        sa.Column("ideal", sa.Text(), nullable=True),
        sa.Column("tie", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("created", sa.Double(), nullable=False),
        sa.CheckConstraint(
            "(kind = 'choice') = (other is not null)", name=op.f("ck_community_feedback_other")
        ),
        sa.CheckConstraint("(kind = 'edit') = (ideal is not null)", name=op.f("ck_community_feedback_ideal")),
        sa.CheckConstraint(
            "(kind = 'thumb') = (rating is not null and rating in (-1, 1))",
            name=op.f("ck_community_feedback_rating"),
        ),
        sa.CheckConstraint("kind in ('thumb', 'edit', 'choice')", name=op.f("ck_community_feedback_kind")),
        sa.ForeignKeyConstraint(
            ["conversation"],
            ["community_conversations.id"],
            name=op.f("fk_community_feedback_conversation_community_conversations"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["message"],
            ["community_messages.id"],
            name=op.f("fk_community_feedback_message_community_messages"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["other"],
            ["community_messages.id"],
            name=op.f("fk_community_feedback_other_community_messages"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_community_feedback")),
        sa.UniqueConstraint(
            "message", "account", "kind", name=op.f("uq_community_feedback_message_account_kind")
        ),
    )
    op.create_index("ix_community_feedback_account", "community_feedback", ["account"], unique=False)
    op.create_index(
        "ix_community_feedback_conversation", "community_feedback", ["conversation"], unique=False
    )
    op.create_index("ix_community_feedback_other", "community_feedback", ["other"], unique=False)
    op.create_table(
        "community_reviews",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("conversation", sa.Text(), nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("message", sa.Text(), nullable=True),
        sa.Column("feedback", sa.Text(), nullable=True),
        sa.Column("because", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("history", postgresql.JSONB(), nullable=False),
        sa.Column("created", sa.Double(), nullable=False),
        sa.CheckConstraint(
            "status in ('pending', 'accepted', 'refused')", name=op.f("ck_community_reviews_status")
        ),
        sa.CheckConstraint(
            "(message is null) <> (feedback is null)", name=op.f("ck_community_reviews_subject")
        ),
        sa.ForeignKeyConstraint(
            ["conversation"],
            ["community_conversations.id"],
            name=op.f("fk_community_reviews_conversation_community_conversations"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["feedback"],
            ["community_feedback.id"],
            name=op.f("fk_community_reviews_feedback_community_feedback"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["message"],
            ["community_messages.id"],
            name=op.f("fk_community_reviews_message_community_messages"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_community_reviews")),
        sa.UniqueConstraint("feedback", name=op.f("uq_community_reviews_feedback")),
        sa.UniqueConstraint("message", name=op.f("uq_community_reviews_message")),
    )
    op.create_index("ix_community_reviews_account", "community_reviews", ["account"], unique=False)
    op.create_index("ix_community_reviews_conversation", "community_reviews", ["conversation"], unique=False)
    op.create_index("ix_community_reviews_status", "community_reviews", ["status", "created"], unique=False)
    op.create_table(
        "community_datasets",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("built_by", sa.Text(), nullable=False),
        sa.Column("created", sa.Double(), nullable=False),
        sa.Column("manifest", postgresql.JSONB(), nullable=False),
        sa.Column("files", postgresql.JSONB(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_community_datasets")),
    )
    op.create_table(
        "community_dataset_items",
        sa.Column("dataset", sa.Text(), nullable=False),
        sa.Column("file", sa.Text(), nullable=False),
        sa.Column("line", sa.Text(), nullable=False),
        sa.Column("feedback", sa.Text(), nullable=False),
        sa.Column("conversation", sa.Text(), nullable=False),
        sa.Column("withdrawn", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(
            ["dataset"],
            ["community_datasets.id"],
            name=op.f("fk_community_dataset_items_dataset_community_datasets"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("dataset", "file", "line", name=op.f("pk_community_dataset_items")),
    )
    op.create_index(
        "ix_community_dataset_items_conversation", "community_dataset_items", ["conversation"], unique=False
    )
    op.create_index(
        "ix_community_dataset_items_feedback", "community_dataset_items", ["feedback"], unique=False
    )
