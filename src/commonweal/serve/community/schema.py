"""The tables of the community loop. Times are seconds since the epoch (UTC), costs micro-credits.

Everything hangs on a conversation, which hangs on an account: to delete one deletes what was said in it and of it. Only
``community_dataset_items`` outlives it: it names by random ids what a data set had, so that a withdrawal can be listed.
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from commonweal.core.database import metadata

_TIME = sa.Double


def _conversation() -> sa.Column[str]:
    return sa.Column(
        "conversation",
        sa.Text,
        sa.ForeignKey("community_conversations.id", ondelete="CASCADE"),
        nullable=False,
    )


def _message(name: str, *, nullable: bool = False) -> sa.Column[str]:
    return sa.Column(
        name, sa.Text, sa.ForeignKey("community_messages.id", ondelete="CASCADE"), nullable=nullable
    )


def _terms() -> tuple[sa.Column[str], sa.Column[str]]:
    return sa.Column("consent", sa.Text, nullable=False), sa.Column("licence", sa.Text)


_CONSENT = "consent in ('none', 'improve', 'publish') and (licence is null) = (consent = 'none')"

conversations = sa.Table(
    "community_conversations",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("account", sa.Text, nullable=False),
    sa.Column("title", sa.Text, nullable=False),
    *_terms(),
    sa.Column("created", _TIME, nullable=False),
    sa.Column("updated", _TIME, nullable=False),
    sa.CheckConstraint(_CONSENT, name="consent"),
    sa.Index("ix_community_conversations_account", "account", "updated"),
)

messages = sa.Table(
    "community_messages",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("number", sa.BigInteger, sa.Identity(always=True), nullable=False, unique=True),
    _conversation(),
    _message("parent", nullable=True),
    sa.Column("role", sa.Text, nullable=False),
    sa.Column("content", sa.Text, nullable=False),
    sa.Column("created", _TIME, nullable=False),
    *_terms(),
    sa.Column("withheld", sa.Boolean, nullable=False, doc="flagged, and nobody said that it is fine"),
    sa.Column("flags", ARRAY(sa.Text), nullable=False, doc="what moderation said"),
    sa.Column("drafts", sa.Text, doc="the blind comparison that it is a draft of"),
    sa.Column("model", sa.Text, doc="of an answer: the name that was asked"),
    sa.Column("identity", sa.Text, doc="the hash of the model that answered"),
    sa.Column("adapter", sa.Text, doc="the served adapter, where the model is one"),
    sa.Column("base", sa.Text, doc="the model that the adapter changes"),
    sa.Column("system", sa.Text, doc="the system prompt that stood before the conversation"),
    sa.Column("sampling", JSONB, nullable=False),
    sa.Column("seed", sa.BigInteger),
    sa.Column("tool_calls", JSONB, nullable=False),
    sa.Column("tool_runs", JSONB, nullable=False, doc="what the hub ran for the answer, and what came of it"),
    sa.Column("passages", JSONB, nullable=False, doc="what was looked up for the answer"),
    sa.Column("finish", sa.Text),
    sa.Column("prompt_tokens", sa.BigInteger),
    sa.Column("completion_tokens", sa.BigInteger),
    sa.Column("microcredits", sa.BigInteger),
    sa.Column("first_token_seconds", sa.Double),
    sa.Column("seconds", sa.Double),
    sa.CheckConstraint("role in ('user', 'assistant')", name="role"),
    sa.CheckConstraint(_CONSENT, name="consent"),
    sa.Index("ix_community_messages_conversation", "conversation", "number"),
    sa.Index("ix_community_messages_parent", "parent"),
)

comparisons = sa.Table(
    "community_comparisons",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    _conversation(),
    _message("first"),
    _message("second"),
    sa.Column("seed", sa.BigInteger, nullable=False, doc="decided which of the two came first"),
    sa.Column("choice", sa.Text),
    sa.Column("created", _TIME, nullable=False),
    sa.Column("chosen", _TIME),
    sa.CheckConstraint("choice in ('first', 'second', 'tie')", name="choice"),
    sa.Index("ix_community_comparisons_conversation", "conversation"),
    sa.Index("ix_community_comparisons_first", "first"),
    sa.Index("ix_community_comparisons_second", "second"),
)

feedback = sa.Table(
    "community_feedback",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("account", sa.Text, nullable=False),
    _conversation(),
    _message("message"),
    _message("other", nullable=True),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("rating", sa.Integer, doc="of a thumb: 1 or -1"),
    sa.Column("reasons", ARRAY(sa.Text), nullable=False),
    sa.Column("comment", sa.Text, nullable=False),
    sa.Column("ideal", sa.Text, doc="of an edit: the answer as it should have been"),
    sa.Column("tie", sa.Boolean, nullable=False, server_default="false"),
    sa.Column("created", _TIME, nullable=False),
    sa.CheckConstraint("kind in ('thumb', 'edit', 'choice')", name="kind"),
    sa.CheckConstraint("(kind = 'thumb') = (rating is not null and rating in (-1, 1))", name="rating"),
    sa.CheckConstraint("(kind = 'edit') = (ideal is not null)", name="ideal"),
    sa.CheckConstraint("(kind = 'choice') = (other is not null)", name="other"),
    sa.UniqueConstraint("message", "account", "kind"),
    sa.Index("ix_community_feedback_account", "account"),
    sa.Index("ix_community_feedback_conversation", "conversation"),
    sa.Index("ix_community_feedback_other", "other"),
)

reviews = sa.Table(
    "community_reviews",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    _conversation(),
    sa.Column("account", sa.Text, nullable=False),
    _message("message", nullable=True),
    sa.Column("feedback", sa.Text, sa.ForeignKey("community_feedback.id", ondelete="CASCADE"), nullable=True),
    sa.Column("because", ARRAY(sa.Text), nullable=False, doc="why a person must look"),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("history", JSONB, nullable=False, doc="every step: status, by, at, why"),
    sa.Column("created", _TIME, nullable=False),
    sa.CheckConstraint("status in ('pending', 'accepted', 'refused')", name="status"),
    sa.CheckConstraint("(message is null) <> (feedback is null)", name="subject"),
    sa.UniqueConstraint("message"),
    sa.UniqueConstraint("feedback"),
    sa.Index("ix_community_reviews_status", "status", "created"),
    sa.Index("ix_community_reviews_conversation", "conversation"),
    sa.Index("ix_community_reviews_account", "account"),
)

datasets = sa.Table(
    "community_datasets",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("built_by", sa.Text, nullable=False),
    sa.Column("created", _TIME, nullable=False),
    sa.Column("manifest", JSONB, nullable=False),
    sa.Column("files", JSONB, nullable=False, doc="file name -> blob, without what was withdrawn since"),
)

dataset_items = sa.Table(
    "community_dataset_items",
    metadata,
    sa.Column(
        "dataset", sa.Text, sa.ForeignKey("community_datasets.id", ondelete="CASCADE"), primary_key=True
    ),
    sa.Column("file", sa.Text, primary_key=True),
    sa.Column("line", sa.Text, primary_key=True, doc="the SHA-256 of the line"),
    sa.Column("feedback", sa.Text, nullable=False),
    sa.Column("conversation", sa.Text, nullable=False),
    sa.Column("withdrawn", _TIME),
    sa.Index("ix_community_dataset_items_feedback", "feedback"),
    sa.Index("ix_community_dataset_items_conversation", "conversation"),
)

improvements = sa.Table(
    "community_improvements",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("account", sa.Text, nullable=False),
    sa.Column("model", sa.Text, nullable=False, doc="whose next version it is"),
    sa.Column("current", sa.Text, nullable=False, doc="its latest version when this began"),
    sa.Column("options", JSONB, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("created", _TIME, nullable=False),
    sa.Column("finished", _TIME),
    sa.Column("stages", JSONB, nullable=False, doc="state -> when it began"),
    sa.Column("lines", JSONB, nullable=False, doc="what was said: at, text"),
    sa.Column("detail", sa.Text, nullable=False, server_default="", doc="how far the stage is, in words"),
    sa.Column("dataset", sa.Text),
    sa.Column("feedback", sa.Integer, doc="pieces of feedback in the data set, both sides"),
    sa.Column("job", sa.Text, doc="the fine-tuning job"),
    sa.Column("candidate", sa.Text),
    sa.Column("held_out", JSONB, doc="both versions on the held-out side"),
    sa.Column("decision", JSONB, doc="the gate's, with what was measured"),
    sa.Column("error", JSONB, doc="code, message, hint"),
    sa.Column("trouble", sa.Integer, nullable=False, server_default="0", doc="failures in a row"),
    sa.Column("not_before", _TIME, nullable=False, server_default="0"),
    sa.CheckConstraint(
        "state in ('queued', 'building', 'training', 'scoring', 'guarding', 'promoted', 'refused', 'failed',"
        " 'cancelled')",
        name="state",
    ),
    sa.CheckConstraint(
        "(finished is null) = (state in ('queued', 'building', 'training', 'scoring', 'guarding'))",
        name="finished",
    ),
    sa.Index(
        "ix_community_improvements_open",
        "model",
        unique=True,
        postgresql_where=sa.text("finished is null"),
    ),
    sa.Index("ix_community_improvements_created", "created", "id"),
)
