"""Improvements of models in the database: what was asked for, how far each is, what was said and decided.

    queued -> building -> training -> scoring -> guarding -> promoted | refused
       `---------`----------`-----------`-----------`------> failed | cancelled

The loop moves them (:mod:`commonweal.serve.community.loop`), a stage at a time: what a stage found out is written with
the state that follows, so whoever goes on after a crash repeats one stage at most. A change is made only where the
state is still the one that was read: what was cancelled meanwhile stays so.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from commonweal.core.errors import Conflict, NotFound
from commonweal.core.ids import new_id
from commonweal.serve.community.gate import Change, Decision, GateRules, Measured, Scenario
from commonweal.serve.community.schema import improvements
from commonweal.serve.paging import Page, page

State = Literal[
    "queued",
    "building",
    "training",
    "scoring",
    "guarding",
    "promoted",
    "refused",
    "failed",
    "cancelled",
]
STATES: tuple[State, ...] = get_args(State)
OPEN = STATES[:5]
"""Those of an improvement that is not over."""
_MOST_LINES = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """``instances`` of each of the ``guards``; ``epochs`` over the feedback (None: by its size); ``fewest`` held-out
    examples tell something."""

    guards: tuple[str, ...] = ()
    instances: int = 100
    epochs: int | None = None
    fewest: int = 10

    def rules(self) -> GateRules:
        return GateRules(
            guards=self.guards, fewest_held_out=self.fewest, fewest_guarded=min(10, self.instances)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Improvement:
    """One row. ``current`` is what ``model``:latest was when it began; ``detail`` says how far the stage is;
    ``decision`` is as :func:`decision_json` makes it, ``error`` has code, message and hint."""

    id: str
    account: str
    model: str
    current: str
    options: Options
    state: State
    created: float
    finished: float | None
    stages: Mapping[str, float]
    lines: Sequence[Mapping[str, Any]]
    detail: str
    dataset: str | None
    feedback: int | None
    job: str | None
    candidate: str | None
    held_out: Sequence[Mapping[str, Any]] | None
    decision: Mapping[str, Any] | None
    error: Mapping[str, Any] | None
    trouble: int
    not_before: float


def begin(
    connection: sa.Connection, *, account: str, model: str, current: str, options: Options, now: float
) -> Improvement:
    """A new one. Raises Conflict where one of the same model is not over."""
    row = {
        "id": new_id("imp"),
        "account": account,
        "model": model,
        "current": current,
        "options": asdict(options),
        "state": "queued",
        "created": now,
        "stages": {"queued": now},
        "lines": [],
    }
    made = connection.execute(
        insert(improvements)
        .values(row)
        .on_conflict_do_nothing(index_elements=["model"], index_where=improvements.c.finished.is_(None))
        .returning(improvements)
    ).first()
    if made is not None:
        return _read(made)
    there = connection.execute(
        sa.select(improvements.c.id).where(improvements.c.model == model, improvements.c.finished.is_(None))
    ).scalar()
    raise Conflict(
        f"an improvement of '{model}' is under way: {there or 'it has just ended'}",
        hint="wait for it to end, or cancel it",
    )


def find(connection: sa.Connection, improvement: str) -> Improvement:
    """Raises NotFound."""
    row = connection.execute(sa.select(improvements).where(improvements.c.id == improvement)).first()
    if row is None:
        raise NotFound(
            f"no improvement '{improvement[:80]}'", hint="GET /v1/community/improvements lists them"
        )
    return _read(row)


def every(
    connection: sa.Connection, *, model: str | None, after: str | None, limit: int
) -> tuple[tuple[Improvement, ...], bool]:
    """A page, the newest first, of all or of one model's; and whether others follow."""
    conditions = [] if model is None else [improvements.c.model == model]
    found: Page = page(connection, improvements, *conditions, after=after, limit=limit)
    return tuple(_read(row) for row in found.rows), found.more


def locked(connection: sa.Connection, improvement: str) -> Improvement:
    """One that nobody else changes until the transaction ends. Raises NotFound."""
    connection.execute(sa.select(improvements.c.id).where(improvements.c.id == improvement).with_for_update())
    return find(connection, improvement)


def under_way(connection: sa.Connection, now: float) -> list[str]:
    """Those that the loop may have something to do for, the oldest first."""
    query = (
        sa.select(improvements.c.id)
        .where(improvements.c.finished.is_(None), improvements.c.not_before <= now)
        .order_by(improvements.c.created, improvements.c.id)
    )
    return list(connection.execute(query).scalars())


def changed(connection: sa.Connection, found: Improvement, **values: Any) -> bool:
    """Change one that is still in the state that was read; False if it is not, and then nothing was changed."""
    done = connection.execute(
        sa.update(improvements)
        .where(improvements.c.id == found.id, improvements.c.state == found.state)
        .values(**values)
    )
    return done.rowcount == 1


def moved(
    connection: sa.Connection, found: Improvement, to: State, now: float, *said: str, **values: Any
) -> bool:
    """Into the next state, with what the stage found out and the lines that tell it; False as :func:`changed`."""
    ended = {} if to in OPEN else {"finished": now}
    lines = [*found.lines, *({"at": now, "text": text} for text in said)]
    return changed(
        connection,
        found,
        state=to,
        stages={**found.stages, to: now},
        lines=lines[-_MOST_LINES:],
        detail="",
        trouble=0,
        not_before=0.0,
        **ended,
        **values,
    )


def said(connection: sa.Connection, found: Improvement, *texts: str, now: float, **values: Any) -> bool:
    """Lines within a state. The row is read anew, so that none that was said meanwhile is lost."""
    fresh = locked(connection, found.id)
    lines = [*fresh.lines, *({"at": now, "text": text} for text in texts)]
    return changed(connection, found, lines=lines[-_MOST_LINES:], **values)


def scenario_json(scenario: Scenario) -> dict[str, Any]:
    """A measure as plain JSON, which has no infinity: an interval without an end has None there."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: plain(one) for name, one in value.items()}
        return None if isinstance(value, float) and not math.isfinite(value) else value

    made: dict[str, Any] = plain(asdict(scenario))
    return made


def scenario_from(plain: Mapping[str, Any]) -> Scenario:
    """:func:`scenario_json` read back."""

    def end(value: float | None, otherwise: float) -> float:
        return otherwise if value is None else value

    def ends(part: Mapping[str, Any]) -> dict[str, Any]:
        return {"low": end(part["low"], -math.inf), "high": end(part["high"], math.inf), "n": part["n"]}

    def measured(part: Mapping[str, Any] | None) -> Measured | None:
        return None if part is None else Measured(value=end(part["value"], math.nan), **ends(part))

    change = plain["change"]
    return Scenario(
        name=plain["name"],
        metric=plain["metric"],
        current=measured(plain["current"]),
        candidate=measured(plain["candidate"]),
        change=None if change is None else Change(mean=end(change["mean"], math.nan), **ends(change)),
        higher_is_better=plain["higher_is_better"],
    )


def decision_json(
    decision: Decision, held_out: Sequence[Scenario], guards: Sequence[Scenario]
) -> dict[str, Any]:
    """The gate's decision, every finding with the numbers that it rests on."""
    measures = [
        scenario_json(scenario) | asdict(finding)
        for finding, scenario in zip(decision.findings, (*held_out, *guards), strict=True)
    ]
    return {"verdict": decision.verdict, "reason": decision.reason, "measures": measures}


def _read(row: sa.Row[Any]) -> Improvement:
    values = dict(row._mapping)
    options = values.pop("options")
    return Improvement(**values, options=Options(**options | {"guards": tuple(options["guards"])}))
