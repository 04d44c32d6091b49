"""How far a training job is and how fast it goes, from its records; and why it stands. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from commonweal.pool.public import JobDetail
from commonweal.train.curve import Point
from commonweal.train.headway import REMEMBERED_ROUNDS, Pace
from commonweal.web.pool.history import Told


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """``share`` of the job is done; ``seconds_left`` as if it went on like the last rounds, None while unknown."""

    share: float
    seconds_left: float | None


def progress(settings: Mapping[str, Any], latest: Sequence[Told]) -> Progress:
    pace = Pace()
    for told in list(latest)[-REMEMBERED_ROUNDS:]:
        pace.add(told.point.at, told.record)
    return Progress(share=pace.share(settings), seconds_left=pace.seconds_left(settings))


def tokens_a_second(points: Sequence[Point], now: float) -> float:
    """Of the last rounds; it falls while none comes."""
    last = points[-5:]
    if len(last) < 2:
        return 0.0
    usual = (last[-1].at - last[0].at) / (len(last) - 1)
    silent = now - last[-1].at
    spent = last[-1].at - last[0].at + (silent if silent > 3 * usual else 0.0)
    return (last[-1].tokens - last[0].tokens) / spent if spent > 0 else 0.0


def why(job: JobDetail, latest: Sequence[Told]) -> str:
    """Why a job stands as it does, without the message, which may name its owner and what that has."""
    said = str(latest[-1].record.get("message") or "") if latest else ""
    if job.paused_by_budget:
        return "its budget is used up; its owner can go on with a larger one"
    return {
        "running": said,
        "paused": "by its owner or the operator; it can go on",
        "done": said.removeprefix("done: "),
        "failed": said.removeprefix("failed: ")
        or "by its own code; its owner is told why: commonweal jobs show",
        "cancelled": "by its owner or the operator",
    }[job.status]
