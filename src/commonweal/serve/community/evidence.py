"""Feedback with all that a data set needs to know of it: the conversation before the answer, the answers, who said it
under which terms, and which models had spoken. Pure records, and the pure way from the rows to them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from commonweal.core.completion import ToolCall
from commonweal.serve.community.feedback import Feedback
from commonweal.serve.community.records import Turn, path
from commonweal.serve.community.review import Kind, Status
from commonweal.serve.community.terms import Terms


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """A message as it goes into a data set."""

    role: str
    content: str
    tool_calls: tuple[ToolCall, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """One piece of feedback. ``context`` ends with the user's message; ``answer`` is what was spoken of (of a choice,
    the better draft), ``other`` the worse draft, ``ideal`` the answer as it should have been. ``terms`` are the
    narrowest of all messages'. ``clean``: nothing in it is withheld, and every answer that is spoken of was finished.
    ``aided``: the hub ran tools or looked something up for one of those, so that what the model was told is more than
    the context. ``models`` are the identities of the models that gave them."""

    feedback: str
    kind: Kind
    account: str
    conversation: str
    created: float
    terms: Terms
    status: Status
    clean: bool
    context: tuple[Said, ...]
    answer: Said
    other: Said | None = None
    ideal: str | None = None
    rating: int | None = None
    tie: bool = False
    aided: bool = False
    models: tuple[str, ...] = ()


_WIDTH = {"none": 0, "improve": 1, "publish": 2}


def evidence(given: Feedback, status: Status, turns: Mapping[str, Turn]) -> Evidence:
    """``turns`` are those of the feedback's conversation, by id."""
    answer = turns[given.message]
    other = turns[given.other] if given.other is not None else None
    before = path(turns, answer.parent)
    involved = (*before, answer) if other is None else (*before, answer, other)
    rated = (answer,) if other is None else (answer, other)
    return Evidence(
        feedback=given.id,
        kind=given.kind,
        account=given.account,
        conversation=given.conversation,
        created=given.created,
        terms=narrowest([turn.terms for turn in involved]),
        status=status,
        clean=not any(turn.withheld for turn in involved) and all(_whole(turn) for turn in rated),
        context=_context(answer.system, before),
        answer=_said(answer),
        other=None if other is None else _said(other),
        ideal=given.ideal,
        rating=given.rating,
        tie=given.tie,
        aided=any(turn.tool_runs or turn.passages for turn in rated),
        models=tuple(sorted({turn.source.identity for turn in rated if turn.source is not None})),
    )


def narrowest(several: list[Terms]) -> Terms:
    """The terms that allow least; of two licences of one consent the one that demands more (attribution)."""
    return min(several, key=lambda terms: (_WIDTH[terms.consent], terms.licence == "CC0-1.0"))


def _whole(turn: Turn) -> bool:
    """An answer that was cut off by an error or by its reader says nothing of how the model would have ended."""
    return turn.finish not in ("error", "stopped", "content_filter")


def _context(system: str | None, before: tuple[Turn, ...]) -> tuple[Said, ...]:
    first = (Said(role="system", content=system),) if system else ()
    return (*first, *(_said(turn) for turn in before))


def _said(turn: Turn) -> Said:
    return Said(role=turn.role, content=turn.content, tool_calls=turn.tool_calls)
