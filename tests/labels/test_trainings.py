"""What was read of a job's rounds and payments is kept, and only what is new is read: it is as if all had been."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import sqlalchemy as sa

import hub_records
from commonweal.core.database import Database
from commonweal.core.errors import NotFound
from commonweal.labels.records import payment
from commonweal.labels.trainings import Trainings
from commonweal.ledger.accounts import ISSUANCE, AccountId, open_account
from commonweal.ledger.export import read as read_journals
from commonweal.ledger.journal import Posting, post
from commonweal.ledger.schema import journals
from commonweal.pool.schema import jobs, rounds

JOB = hub_records.JOB


@pytest.fixture
def filled(database: Database, blobs: Any) -> Database:
    hub_records.fill(database, blobs)
    with database.transaction() as connection:
        open_account(connection, ISSUANCE, "issuance")
        for name in ("member:a", "member:b"):
            open_account(connection, AccountId(name), "member")
    return database


@contextmanager
def counted(database: Database) -> Iterator[list[str]]:
    """The statements that are sent meanwhile."""
    said: list[str] = []

    def hear(_: Any, __: Any, statement: str, *more: Any) -> None:
        said.append(statement)

    sa.event.listen(database.engine, "before_cursor_execute", hear)
    try:
        yield said
    finally:
        sa.event.remove(database.engine, "before_cursor_execute", hear)


def more(connection: sa.Connection, number: int) -> None:
    """One more round of the job, paid to two members."""
    last = connection.execute(
        sa.select(rounds).where(rounds.c.job == JOB).order_by(rounds.c.number.desc()).limit(1)
    ).one()
    record = {**last.record, "round": number, "step": last.record["step"] + 40}
    connection.execute(rounds.insert().values(**{**last._mapping, "number": number, "record": record}))
    lines = [(AccountId("member:a"), number), (AccountId("member:b"), 2), (ISSUANCE, -number - 2)]
    post(
        connection,
        key=f"{JOB}:round:{number}",
        kind="grant",
        postings=[Posting(account=account, microcredits=paid) for account, paid in lines],
        now=1.0,
    )


def test_only_new_rounds_are_read_and_all_is_as_read_at_once(filled: Database) -> None:
    kept = Trainings()
    with filled.transaction() as connection:
        first = kept.of(connection, JOB)
        for number in range(10, 14):
            more(connection, number)
        second = kept.of(connection, JOB)
        assert len(second.rounds) == len(first.rounds) + 4
        assert second == Trainings().of(connection, JOB)
        assert second.rounds_hash == Trainings().of(connection, JOB).rounds_hash != first.rounds_hash
        assert second.rounds[0] is first.rounds[0], "what was read is kept"
        paid = [payment(one) for one in read_journals(connection, journals.c.key.like(f"{JOB}:round:%"))]
        assert list(second.payments or ()) == sorted(paid, key=lambda one: one.key)
        assert [one.microcredits for one in second.payments or ()] == [12, 13, 14, 15]
    with filled.transaction() as connection, counted(filled) as said:
        assert kept.of(connection, JOB, word="publisher").word == "publisher"
    assert len(said) <= 3, said
    assert not [one for one in said if "ledger" in one]


def test_what_may_change_is_read_each_time(filled: Database) -> None:
    kept = Trainings()
    with filled.transaction() as connection:
        assert kept.of(connection, JOB).status != "cancelled"
        connection.execute(jobs.update().where(jobs.c.id == JOB).values(status="cancelled"))
        assert kept.of(connection, JOB).status == "cancelled"
        with pytest.raises(NotFound):
            kept.of(connection, "job_0000000000000000")
