"""How the next round is done: how many inner steps, which codec, which part of the weights, and how long.

Pure functions of the settings, the state and what was measured of the members. The planner is asked where the
settings allow it and there is something measured to plan with.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from commonweal.core.work import Amount, MemberView
from commonweal.train.config import RoundSettings, TrainSettings
from commonweal.train.outer import OuterOptions
from commonweal.train.pace import amount_of, reckoned_with, typical_rate
from commonweal.train.planner import CODEC_COSTS, MemberSpeed, PlannerOptions, Situation, plan_communication
from commonweal.train.schedule import OuterSchedule, SyncOptions, inner_steps
from commonweal.train.state import TrainState

PLANNED_FRAGMENTS = (1, 2, 4, 8)

Fragments = Mapping[int, Sequence[tuple[int, int]]]
"""The parts ``(start, stop)`` of the vector, by how many there are."""

_USUAL_CODEC = "int4"
_LATENCY_SECONDS = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundTerms:
    """The terms of one round; ``bytes_up`` and ``bytes_down`` is what one member is expected to move, ``share`` how
    much of the round is expected to be waiting for it, where that was planned."""

    inner_steps: int
    total_steps: int
    codec_up: str
    codec_down: str
    start: int
    stop: int
    reason: str
    bytes_up: float
    bytes_down: float
    share: float | None = None


def total_steps(settings: TrainSettings, state: TrainState, members: int) -> int:
    """The job's length in inner steps of a typical member.

    Where the job ends by tokens, it is what ``members`` at one step's tokens each would need for the rest: an
    estimate that settles as the job goes on, for the learning rate to decay by.
    """
    if settings.train.steps is not None:
        return settings.train.steps
    left = max(0, (settings.train.tokens or 0) - state.totals.tokens)
    return max(1, state.step + math.ceil(left / (settings.train.tokens_per_step * members)))


def choose_terms(
    settings: TrainSettings, state: TrainState, members: Sequence[MemberView], fragments: Fragments
) -> RoundTerms:
    """The terms of the round that ``state`` is before, for these members (at least one)."""
    rounds, total = settings.rounds, total_steps(settings, state, len(members))
    steps, parameters = _scheduled(settings, state, total), fragments[1][0][1]
    young = state.step < rounds.growth * total
    reckoned = reckoned_with(members, usual_amount(settings, state, members, parameters))
    choice = _planned(rounds, reckoned, steps, parameters, young, rate=typical_rate(members))
    parts = fragments[choice.fragments if choice.fragments in fragments else 1]
    steps = max(1, min(steps * choice.stretch, max(1, total - state.step)) // choice.split)
    start, stop = parts[state.round % len(parts)]
    return RoundTerms(
        inner_steps=steps,
        total_steps=total,
        codec_up=choice.codec_up,
        codec_down=choice.codec_down,
        start=start,
        stop=stop,
        reason=choice.reason,
        bytes_up=_size(choice.codec_up, stop - start),
        bytes_down=_size(choice.codec_down, stop - start),
        share=choice.share,
    )


def outer_schedule(rounds: RoundSettings) -> OuterSchedule:
    """How the outer step grows from plain averaging into what is set: pseudo-gradients of a young model all point
    the same way, and momentum at full strength drives it past where AdamW's steps led."""
    return OuterSchedule(
        start=rounds.growth / 5,
        end=rounds.growth,
        settled=OuterOptions(lr=rounds.outer_lr, momentum=rounds.outer_momentum),
    )


def choose_amount(rounds: RoundSettings, terms: RoundTerms, members: Sequence[MemberView]) -> Amount:
    """How much of a round with these terms to ask of whom."""
    return amount_of(
        terms.inner_steps,
        members,
        seconds=rounds.seconds,
        up_bytes=terms.bytes_up,
        down_bytes=terms.bytes_down,
    )


def usual_amount(
    settings: TrainSettings, state: TrainState, members: Sequence[MemberView], parameters: int
) -> Amount:
    """About how much the next round will ask for, before anything is chosen: to tell who is worth asking."""
    rounds = settings.rounds
    up, down = (_USUAL_CODEC, _USUAL_CODEC) if rounds.plan else (rounds.codec_up, rounds.codec_down)
    part = math.ceil(parameters / rounds.fragments)
    return amount_of(
        _scheduled(settings, state, total_steps(settings, state, max(1, len(members)))),
        members,
        seconds=rounds.seconds,
        up_bytes=_size(up, part),
        down_bytes=_size(down, part),
    )


def _scheduled(settings: TrainSettings, state: TrainState, total: int) -> int:
    """H as the schedule has it."""
    rounds = settings.rounds
    sync = SyncOptions(first=rounds.first_inner_steps, last=rounds.last_inner_steps, growth=rounds.growth)
    return max(1, inner_steps(state.step, total, sync))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Choice:
    """``split`` is by how much a round is shorter than H, as it carries one of several fragments."""

    codec_up: str
    codec_down: str
    stretch: int = 1
    fragments: int = 1
    split: int = 1
    reason: str
    share: float | None = None


def _planned(
    rounds: RoundSettings,
    members: Sequence[MemberView],
    steps: int,
    parameters: int,
    young: bool,
    *,
    rate: float,
) -> _Choice:
    speeds = tuple(
        MemberSpeed(step_seconds=1 / m.rate, upload=m.upload, download=m.download)
        for m in members
        if m.rate and m.upload and m.download
    )
    if not rounds.plan or not speeds:
        reason = "as set in the job" if not rounds.plan else "as set in the job: no link is measured yet"
        return _Choice(
            codec_up=rounds.codec_up, codec_down=rounds.codec_down, fragments=rounds.fragments, reason=reason
        )
    situation = Situation(
        members=speeds,
        # Without overlap a round carries one fragment of what the job is cut into.
        parameters=parameters if rounds.overlap else math.ceil(parameters / rounds.fragments),
        inner_steps=steps,
        young=young,
        seconds=rounds.seconds,
        rate=rate,
    )
    most = max(PLANNED_FRAGMENTS) if rounds.overlap else 1
    options = PlannerOptions(share=rounds.comm_share, most_fragments=most, latency_seconds=_LATENCY_SECONDS)
    plan = plan_communication(situation, options)
    best = plan.chosen
    return _Choice(
        codec_up=best.codec,
        codec_down=best.codec,
        stretch=best.stretch,
        fragments=max(best.fragments, rounds.fragments),
        split=best.fragments,
        reason=plan.reason,
        share=best.share,
    )


def _size(codec: str, elements: int) -> float:
    known = {cost.name: cost.bytes_per_parameter for cost in CODEC_COSTS}
    return known.get(codec.partition(":")[0], 4.0) * elements
