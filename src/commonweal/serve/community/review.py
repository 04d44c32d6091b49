"""Who may let feedback into data sets, and when: a state machine, and the rules by which most needs no person.

    pending -> accepted | refused;   accepted <-> refused, with a reason

Pure. Every step is kept with who, when and why; ``auto`` is who the rules are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from commonweal.core.errors import Conflict, UserError

Status = Literal["pending", "accepted", "refused"]
Kind = Literal["thumb", "edit", "choice"]
AUTO = "auto"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    status: Status
    by: str
    at: float
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Review:
    """Of a message that was flagged, or of feedback. ``because`` is why a person must look, empty where none must."""

    id: str
    conversation: str
    account: str
    message: str | None
    feedback: str | None
    because: tuple[str, ...]
    status: Status
    history: tuple[Step, ...]
    created: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What is known of an account: how much of its feedback people accepted and refused (not the rules)."""

    accepted: int = 0
    refused: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What is accepted without a person: feedback of the ``kinds``, without flags, from accounts of which people have
    accepted at least ``accepted`` and refused at most the share ``refused``. Edits are texts that a model will learn to
    say, so the default has people read those of accounts that are new."""

    kinds: Mapping[Kind, int]
    refused: float = 0.2


DEFAULT_RULES = Rules(kinds={"thumb": 0, "choice": 0, "edit": 3})
"""By kind, how many items of an account people must have accepted before."""


def because(kind: Kind, flags: tuple[str, ...], standing: Standing, rules: Rules) -> tuple[str, ...]:
    """Why a person must look at this feedback; empty if it may be accepted at once."""
    found = [f"flagged: {flag}" for flag in flags]
    if kind not in rules.kinds:
        found.append(f"every {kind} is read")
    elif standing.accepted < rules.kinds[kind]:
        found.append(
            f"{rules.kinds[kind] - standing.accepted} more to be accepted before an {kind} of this account is"
            " taken unread"
        )
    judged = standing.accepted + standing.refused
    if standing.refused > rules.refused * judged:
        found.append(f"{standing.refused} of {judged} judged items of this account were refused")
    return tuple(found)


def opened(
    *,
    id: str,
    conversation: str,
    account: str,
    message: str | None = None,
    feedback: str | None = None,
    because: tuple[str, ...],
    now: float,
) -> Review:
    """A new review: pending if there is something to look at, else accepted by the rules."""
    status: Status = "pending" if because else "accepted"
    step = Step(
        status=status, by=AUTO, at=now, why="; ".join(because) or "the rules for automatic acceptance"
    )
    return Review(
        id=id,
        conversation=conversation,
        account=account,
        message=message,
        feedback=feedback,
        because=because,
        status=status,
        history=(step,),
        created=now,
    )


def decided(review: Review, status: Status, *, by: str, why: str, now: float) -> Review:
    """The review after an operator's word. Raises Conflict where that was its state already, and UserError for a step
    back to pending or a change of mind without a reason."""
    if status == "pending":
        raise UserError("a review is accepted or refused", hint="there is no way back to pending")
    if review.status == status:
        last = review.history[-1]
        raise Conflict(f"it is {status} already, by {last.by}", hint=last.why or None)
    if not why.strip() and (status == "refused" or review.status != "pending"):
        raise UserError("a refusal or a change of mind needs a reason", hint="say why")
    step = Step(status=status, by=by, at=now, why=why.strip())
    return replace(review, status=status, history=(*review.history, step))


def step_from(plain: Mapping[str, Any]) -> Step:
    return Step(status=plain["status"], by=plain["by"], at=plain["at"], why=plain["why"])
