"""What the rounds of training jobs say, read once: records never change, so only the new ones are asked for.

Owns a bounded memory of the jobs that were looked at last: each one's curve and its latest rounds. It is a cache of
what the database says, so several hub processes show the same. Knows the form of a training round's record.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONPATH

from commonweal.pool.schema import rounds
from commonweal.train.curve import LATEST, MOST_POINTS, Point, point_of, thinned

_JOBS = 64
_AT_ONCE = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """A contribution that did not count."""

    number: int
    member: str
    verdict: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """A round: its point, its record without the members, and whom of them it refused."""

    point: Point
    record: Mapping[str, Any]
    refused: Sequence[Refused]


@dataclass(slots=True)
class History:
    """``points`` are spread over the whole job, ``latest`` are its last rounds, the newest last."""

    points: Sequence[Point] = ()
    latest: deque[Told] = field(default_factory=lambda: deque(maxlen=LATEST))

    @property
    def last(self) -> int:
        return self.points[-1].number if self.points else -1

    def add(self, found: Iterable[Told]) -> None:
        new = list(found)
        self.latest.extend(new)
        self.points = thinned([*self.points, *(one.point for one in new)])


class Histories:
    """Of the jobs that were looked at last. Safe to be used by several threads."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, History] = OrderedDict()
        self._lock = Lock()

    def of(self, connection: sa.Connection, job: str, number: int) -> History:
        """The history of a job that has ``number`` rounds."""
        with self._lock:
            known = self._known.pop(job, None) or _begun(connection, job, number)
            while known.last < number - 1:
                found = read(connection, job, rounds.c.number > known.last, limit=_AT_ONCE)
                if not found:
                    break
                known.add(found)
            self._known[job] = known
            while len(self._known) > _JOBS:
                self._known.popitem(last=False)
            return History(points=known.points, latest=known.latest.copy())


def _begun(connection: sa.Connection, job: str, number: int) -> History:
    """Of a long job every so many rounds, and then the latest."""
    every = -(-number // MOST_POINTS)
    if every < 2:
        return History()
    far = sa.and_(rounds.c.number % every == 0, rounds.c.number < number - LATEST)
    made = History()
    made.add(read(connection, job, far, limit=MOST_POINTS))
    made.latest.clear()
    made.add(read(connection, job, rounds.c.number >= number - LATEST, limit=LATEST))
    return made


def read(connection: sa.Connection, job: str, where: sa.ColumnElement[bool], *, limit: int) -> list[Told]:
    """Rounds, the oldest first, without their members but for those that were refused."""
    members = rounds.c.record["members"]
    refused = sa.func.jsonb_path_query_array(members, sa.cast('$[*] ? (@.verdict != "ok")', JSONPATH))
    found: sa.Select[Any] = (
        sa.select(
            rounds.c.number,
            rounds.c.at,
            (rounds.c.record.op("-")(sa.cast("members", sa.Text))).label("told"),
            sa.func.coalesce(sa.func.jsonb_array_length(members), 0).label("members"),
            refused.label("refused"),
        )
        .where(rounds.c.job == job, where)
        .order_by(rounds.c.number)
        .limit(limit)
    )
    return [_told(row) for row in connection.execute(found)]


def by_member(
    connection: sa.Connection, job: str, member: str, *, limit: int
) -> list[tuple[int, float, Any]]:
    """What a machine handed in for the latest ``limit`` rounds of a job: number, time and its part of the record, or
    None where it took no part. The oldest first."""
    path = sa.cast("$.members[*] ? (@.member == $who)", JSONPATH)
    who = sa.func.jsonb_build_object("who", sa.cast(member, sa.Text))
    found = (
        sa.select(
            rounds.c.number,
            rounds.c.at,
            sa.func.jsonb_path_query_first(rounds.c.record, path, who).label("part"),
        )
        .where(rounds.c.job == job)
        .order_by(rounds.c.number.desc())
        .limit(limit)
    )
    return [(row.number, row.at, row.part) for row in connection.execute(found)][::-1]


def _told(row: sa.Row[Any]) -> Told:
    refused = [
        Refused(number=row.number, member=str(one.get("member")), verdict=str(one.get("verdict")))
        for one in row.refused or ()
    ]
    return Told(
        point=point_of(row.number, row.at, row.told, members=row.members, refused=len(refused)),
        record=row.told,
        refused=refused,
    )
