"""The tables of the books, and the triggers that keep them append-only.

``ledger_journals`` and ``ledger_postings`` are the books: written once, never changed (:data:`TRIGGERS` makes
the database refuse). ``ledger_accounts`` and ``ledger_holds`` are running totals of them, kept because a
payment must know a balance at once; :mod:`commonweal.ledger.audit` proves that they agree. ``ledger_seals``
chains the journals: a row comes with its journal, empty, and is filled once (see
:mod:`commonweal.ledger.chain`).
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import TIMESTAMP

from commonweal.core.database import metadata

accounts = sa.Table(
    "ledger_accounts",
    metadata,
    sa.Column("account", sa.Text, primary_key=True),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("available", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("held", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("escrow", sa.BigInteger, nullable=False, server_default="0"),
    sa.CheckConstraint("kind in ('member', 'user', 'job', 'hub', 'issuance')", name="kind"),
    sa.CheckConstraint("(kind = 'issuance') = (account = 'issuance')", name="one_issuance"),
    sa.CheckConstraint("available >= 0 or kind = 'issuance'", name="available"),
    sa.CheckConstraint("held >= 0", name="held"),
    sa.CheckConstraint("escrow >= 0", name="escrow"),
)

journals = sa.Table(
    "ledger_journals",
    metadata,
    # Taken while the journal's accounts are locked: of two journals that share an account, the first has the
    # lower id. Replaying by id therefore never sees a balance that was not there.
    sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    sa.Column("key", sa.Text, nullable=False, unique=True),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("memo", sa.Text, nullable=False),
    sa.Column("at", TIMESTAMP(timezone=True), nullable=False),
    sa.Column("hold", sa.Text, nullable=True),
    sa.Column("request", sa.Text, nullable=False),
    sa.Column("hash", sa.Text, nullable=False),
    sa.Index(None, "hold", postgresql_where=sa.text("hold is not null")),
)

postings = sa.Table(
    "ledger_postings",
    metadata,
    sa.Column("journal_id", sa.BigInteger, sa.ForeignKey(journals.c.id), primary_key=True),
    sa.Column("account", sa.Text, sa.ForeignKey(accounts.c.account), primary_key=True),
    sa.Column("bucket", sa.Text, primary_key=True),
    sa.Column("microcredits", sa.BigInteger, nullable=False),
    sa.CheckConstraint("bucket in ('available', 'held', 'escrow')", name="bucket"),
    sa.CheckConstraint("microcredits <> 0", name="microcredits"),
    sa.Index(None, "account", "journal_id"),
)

holds = sa.Table(
    "ledger_holds",
    metadata,
    sa.Column("key", sa.Text, sa.ForeignKey(journals.c.key), primary_key=True),
    sa.Column("account", sa.Text, sa.ForeignKey(accounts.c.account), nullable=False),
    sa.Column("microcredits", sa.BigInteger, nullable=False),
    sa.Column("remaining", sa.BigInteger, nullable=False),
    sa.CheckConstraint("remaining between 0 and microcredits", name="remaining"),
    sa.Index(None, "account", postgresql_where=sa.text("remaining > 0")),
)

seals = sa.Table(
    "ledger_seals",
    metadata,
    sa.Column("journal_id", sa.BigInteger, sa.ForeignKey(journals.c.id), primary_key=True),
    sa.Column("position", sa.BigInteger, unique=True),
    sa.Column("hash", sa.Text),
    sa.CheckConstraint("(position is null) = (hash is null)", name="filled_once"),
    sa.Index("ix_ledger_seals_open", "journal_id", postgresql_where=sa.text("position is null")),
)

TABLES = (accounts, journals, postings, holds, seals)

TRIGGERS = (
    """
    create function ledger_refuse() returns trigger language plpgsql as $$
    begin
        raise exception '% on % refused: the ledger is append-only', tg_op, tg_table_name
            using errcode = 'restrict_violation', hint = 'post a journal that corrects the wrong one';
    end $$
    """,
    """
    create function ledger_balanced() returns trigger language plpgsql as $$
    begin
        if exists (select from written group by journal_id having sum(microcredits) <> 0) then
            raise exception 'the postings of a journal must sum to zero' using errcode = 'check_violation';
        end if;
        return null;
    end $$
    """,
    """
    create trigger ledger_journals_fixed before update or delete on ledger_journals
        for each row execute function ledger_refuse()
    """,
    """
    create trigger ledger_journals_kept before truncate on ledger_journals
        for each statement execute function ledger_refuse()
    """,
    """
    create trigger ledger_postings_fixed before update or delete on ledger_postings
        for each row execute function ledger_refuse()
    """,
    """
    create trigger ledger_postings_kept before truncate on ledger_postings
        for each statement execute function ledger_refuse()
    """,
    """
    create trigger ledger_postings_balanced after insert on ledger_postings referencing new table as written
        for each statement execute function ledger_balanced()
    """,
    """
    create trigger ledger_seals_filled_once before update on ledger_seals
        for each row when (old.position is not null) execute function ledger_refuse()
    """,
    """
    create trigger ledger_seals_fixed before delete on ledger_seals
        for each row execute function ledger_refuse()
    """,
    """
    create trigger ledger_seals_kept before truncate on ledger_seals
        for each statement execute function ledger_refuse()
    """,
)
"""What the migration runs, in this order, after it made the tables."""

UNDO_TRIGGERS = (
    "drop function if exists ledger_refuse() cascade",
    "drop function if exists ledger_balanced() cascade",
)
"""What a downgrade runs before it drops the tables."""
