"""Audits as they run: an answer is scored by a trusted machine, judged, recorded, and has consequences.

At most a few at a time, at a low priority: an audit is not to cost those who wait. Where nobody trusted can score, the
answer is not picked in the first place.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field, replace
from random import Random
from typing import Protocol

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from commonweal.core.completion import Request, Token
from commonweal.core.database import Database
from commonweal.core.errors import Unavailable
from commonweal.core.streaming import Event, Piece, Streamer
from commonweal.serve.audit.evidence import Answer, scoring
from commonweal.serve.audit.sampling import AuditRates, rate
from commonweal.serve.audit.schema import audits
from commonweal.serve.audit.verdict import UNREPORTED, Comparison, Limits, Verdict, compare, judge
from commonweal.serve.gateway.frames import ModelSpec
from commonweal.serve.router.dispatcher import Dispatcher, Errand
from commonweal.serve.router.worker import Lender, Wanted

log = logging.getLogger(__name__)

_REMEMBERED = 50


class Reputation(Protocol):
    """What the pool does with a verdict, in the transaction that records it."""

    def good(self, connection: sa.Connection, member: str) -> None: ...

    def bad(self, connection: sa.Connection, member: str, *, ban: bool) -> None:
        """``ban``: it was not the first time."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditOptions:
    """``strikes``: mismatches within the last ``window`` seconds that ban a member. ``seconds``: how long an audit may
    take."""

    rates: AuditRates = field(default_factory=AuditRates)
    limits: Limits = field(default_factory=Limits)
    strikes: int = 3
    window: float = 30 * 86_400.0
    at_once: int = 4
    most_waiting: int = 256
    seconds: float = 120.0
    shortest: int = 4


class Auditor:
    """``engine`` is the hub's own, if it has one; it needs the model by its identity. ``rounding`` says how much
    rounding changes a model (nats), where that was measured."""

    def __init__(
        self,
        dispatcher: Dispatcher,
        database: Database,
        reputation: Reputation,
        now: Callable[[], float],
        options: AuditOptions | None = None,
        *,
        engine: Streamer | None = None,
        rounding: Callable[[ModelSpec], float | None] = lambda model: None,
        random: Random | None = None,
    ) -> None:
        self._dispatcher, self._database, self._reputation, self._now = dispatcher, database, reputation, now
        self._options, self._engine, self._random = options or AuditOptions(), engine, random or Random()
        self._rounding = rounding
        self._places = asyncio.Semaphore(self._options.at_once)
        self.waiting = 0
        self.counts: dict[str, int] = {"match": 0, "mismatch": 0, "unclear": 0}

    def pick(self, lender: Lender, model: ModelSpec, request: Request) -> bool:
        """Whether this answer will be looked at. Told before its first token is passed on, and to nobody."""
        if request.kind != "generate" or request.max_tokens < self._options.shortest or request.n > 8:
            return False
        if model.kind == "fronted" or self.waiting >= self._options.most_waiting:
            return False
        if self._random.random() >= rate(lender, self._options.rates):
            return False
        return self._engine is not None or self._dispatcher.answerable(self._wanted("", model, lender))

    async def passes(self, answer: Answer) -> bool:
        """Score and judge it. Raises CommonwealError if nobody could."""
        self.waiting += 1
        try:
            async with self._places:
                return await asyncio.wait_for(self._audit(answer), self._options.seconds)
        except TimeoutError:
            raise Unavailable("nobody had time to score the answer") from None
        finally:
            self.waiting -= 1

    async def _audit(self, answer: Answer) -> bool:
        chosen = answer.chosen()
        auditor, comparison = "hub", UNREPORTED
        if chosen and all(token.id is not None and token.logprob is not None for token in chosen):
            found, auditor = await self._score(answer, chosen)
            if len(found) != len(chosen):
                raise Unavailable("the answer was not scored token by token")
            comparison = compare(chosen, found, answer.request, self._options.limits)
        nats = self._rounding(answer.model)
        verdict, ban = await asyncio.to_thread(self._conclude, answer, auditor, comparison, nats)
        self.counts[verdict] += 1
        if ban:
            self._dispatcher.expel(
                answer.lender.member, "its answers are not those of the models that it claims"
            )
        return verdict != "mismatch"

    async def _score(self, answer: Answer, chosen: Sequence[Token]) -> tuple[list[Token], str]:
        request = scoring(answer, chosen)
        if self._engine is not None:
            here = replace(request, model=answer.model.identity)
            return await _tokens(self._engine.stream(here)), "hub"
        errand = Errand(wanted=self._wanted(answer.ask, answer.model, answer.lender), request=request)
        found: list[Token] = []
        async for events in self._dispatcher.run(errand):
            found += [token for event in events if isinstance(event, Piece) for token in event.tokens]
        return found, "" if errand.lender is None else errand.lender.member

    def _conclude(
        self, answer: Answer, auditor: str, one: Comparison, nats: float | None
    ) -> tuple[Verdict, bool]:
        """The verdict, and whether the member is banned for it."""
        member, identity, now = answer.lender.member, answer.model.identity, self._now()
        with self._database.transaction() as connection:
            _alone(connection, member)
            before = _before(connection, member, identity, now - self._options.window)
            verdict = judge(one, before, self._options.limits.for_rounding(nats))
            row = {
                "ask": answer.ask,
                "member": member,
                "auditor": auditor,
                "identity": identity,
                "verdict": verdict,
                "tokens": one.tokens,
                "mean": min(one.mean, 1e9),
                "worst": min(one.worst, 1e9),
                "apart": one.apart,
                "strange": one.strange,
                "at": now,
            }
            connection.execute(insert(audits).values(row).on_conflict_do_nothing())
            if verdict == "match":
                self._reputation.good(connection, member)
            if verdict != "mismatch":
                return verdict, False
            ban = _strikes(connection, member, now - self._options.window) >= self._options.strikes
            self._reputation.bad(connection, member, ban=ban)
        log.warning(
            "audit.mismatch member=%s model=%s mean=%.4f ban=%s", member, answer.model.name, one.mean, ban
        )
        return verdict, ban

    def _wanted(self, ask: str, model: ModelSpec, lender: Lender) -> Wanted:
        """Anybody trusted but the one who answered."""
        return Wanted(
            id=f"{ask}:audit",
            account="audit",
            model=model,
            since=self._now(),
            tokens=1.0,
            trusted=True,
            audit=True,
            priority=-1,
            excludes=frozenset([lender.member]),
        )


async def _tokens(events: AsyncIterator[Event]) -> list[Token]:
    found: list[Token] = []
    async for event in events:
        if isinstance(event, Piece):
            found += event.tokens
    return found


def _alone(connection: sa.Connection, member: str) -> None:
    """One verdict on a member at a time, so that two strikes at once are two."""
    lock = sa.func.pg_advisory_xact_lock(sa.func.hashtextextended(f"audit {member}", 0))
    connection.execute(sa.select(lock))


def _before(connection: sa.Connection, member: str, identity: str, since: float) -> list[Comparison]:
    c = audits.c
    rows = connection.execute(
        sa.select(c.tokens, c.mean, c.worst, c.apart, c.strange)
        .where(c.member == member, c.identity == identity, c.at > since, c.verdict != "mismatch")
        .order_by(c.at.desc())
        .limit(_REMEMBERED)
    )
    return [Comparison(**row._mapping) for row in rows]


def _strikes(connection: sa.Connection, member: str, since: float) -> int:
    c = audits.c
    wrong = sa.select(sa.func.count()).where(c.member == member, c.at > since, c.verdict == "mismatch")
    return connection.execute(wrong).scalar_one()
