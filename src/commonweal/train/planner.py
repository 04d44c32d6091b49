"""Choose how to communicate: the least harmful way that keeps the round's waiting under a set share.

From measured links, step times and codec costs, never from claims. Everything is a pure function of the
:class:`Situation`; the answer carries the candidates that it was chosen from, so that a round's record can show
why. Harm is the relative loss that each choice cost in experiments (docs/training.md); what matters is its order.
Of what does equal harm the fewest bytes are taken: home links have data limits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from math import log2


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberSpeed:
    """One member, as measured: seconds an inner step takes it, and its link in bytes a second."""

    step_seconds: float
    upload: float
    download: float

    def __post_init__(self) -> None:
        if min(self.step_seconds, self.upload, self.download) <= 0:
            raise ValueError("step_seconds, upload, download: must be above 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class CodecCost:
    """A codec as bench/codecs.py measures it; ``harm`` is the loss it costs, as a share of the loss. What costs less
    than two runs with different seeds differ (8 and 4 bits: 0.1%) counts as harmless."""

    name: str
    bytes_per_parameter: float
    encode_seconds_per_million: float
    decode_seconds_per_million: float
    harm: float


CODEC_COSTS: tuple[CodecCost, ...] = (
    CodecCost(
        name="fp32",
        bytes_per_parameter=4.0,
        encode_seconds_per_million=0.003,
        decode_seconds_per_million=0.002,
        harm=0.0,
    ),
    CodecCost(
        name="int8",
        bytes_per_parameter=1.008,
        encode_seconds_per_million=0.006,
        decode_seconds_per_million=0.002,
        harm=0.0,
    ),
    CodecCost(
        name="int4",
        bytes_per_parameter=0.508,
        encode_seconds_per_million=0.006,
        decode_seconds_per_million=0.003,
        harm=0.0,
    ),
    CodecCost(
        name="int2",
        bytes_per_parameter=0.258,
        encode_seconds_per_million=0.012,
        decode_seconds_per_million=0.003,
        harm=0.006,
    ),
    CodecCost(
        name="int1",
        bytes_per_parameter=0.133,
        encode_seconds_per_million=0.006,
        decode_seconds_per_million=0.005,
        harm=0.03,
    ),
    CodecCost(
        name="topk",
        bytes_per_parameter=0.034,
        encode_seconds_per_million=0.010,
        decode_seconds_per_million=0.002,
        harm=0.05,
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannerOptions:
    """``share`` is how much of a round may be waiting for the network. H may be stretched up to
    ``most_stretch`` times, each doubling at ``doubling_harm``; overlapping communication with the next inner
    steps makes updates late and costs ``overlap_harm``."""

    share: float = 0.05
    most_stretch: int = 4
    doubling_harm: float = 0.015
    most_fragments: int = 8
    overlap_harm: float = 0.04
    latency_seconds: float = 0.2

    def __post_init__(self) -> None:
        if not 0 < self.share < 1:
            raise ValueError("share: must be between 0 and 1")
        if self.most_stretch < 1 or self.most_fragments < 1 or self.latency_seconds < 0:
            raise ValueError("most_stretch, most_fragments: at least 1; latency_seconds: not negative")


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """What the next rounds are like: ``inner_steps`` is H as the schedule has it."""

    members: tuple[MemberSpeed, ...]
    parameters: int
    inner_steps: int
    fold_seconds: float = 0.0

    def __post_init__(self) -> None:
        if not self.members or self.parameters < 1 or self.inner_steps < 1 or self.fold_seconds < 0:
            raise ValueError("members, parameters, inner_steps: at least one; fold_seconds: not negative")


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One way to communicate and what it comes to. ``fragments=1`` waits for the update; more send a fragment at
    a time while the next inner steps run."""

    codec: str
    stretch: int
    fragments: int
    share: float
    waiting_seconds: float
    round_seconds: float
    bytes_up: float
    bytes_down: float
    harm: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CommunicationPlan:
    """The choice, whether it keeps the set share, the runner-up, and a sentence for the record."""

    chosen: Choice
    within_share: bool
    considered: int
    least_harmful_rejected: Choice | None
    reason: str


def plan_communication(
    situation: Situation, options: PlannerOptions, costs: Sequence[CodecCost] = CODEC_COSTS
) -> CommunicationPlan:
    """The least harmful choice whose waiting is within the share; if there is none, the least waiting."""
    stretches = [s for s in (1, 2, 4, 8, 16) if s <= options.most_stretch]
    fragments = [f for f in (1, 2, 4, 8, 16) if f <= options.most_fragments]
    choices = [
        evaluate_choice(situation, options, cost, stretch, parts)
        for cost, stretch, parts in product(costs, stretches, fragments)
    ]
    fitting = [c for c in choices if c.share <= options.share]
    if fitting:
        best = min(fitting, key=lambda c: (c.harm, c.bytes_up, c.fragments))
    else:
        best = min(choices, key=lambda c: (c.share, c.harm))
    gentler = [c for c in choices if c.harm < best.harm]
    rejected = min(gentler, key=lambda c: (c.share, c.harm), default=None)
    return CommunicationPlan(
        chosen=best,
        within_share=bool(fitting),
        considered=len(choices),
        least_harmful_rejected=rejected,
        reason=_reason(best, rejected, options, bool(fitting)),
    )


def evaluate_choice(
    situation: Situation, options: PlannerOptions, cost: CodecCost, stretch: int, fragments: int
) -> Choice:
    """What one way to communicate comes to, for the slowest member (the others wait for it)."""
    millions = situation.parameters / 1e6
    size = cost.bytes_per_parameter * situation.parameters
    slowest_up = min(member.upload for member in situation.members)
    slowest_down = min(member.download for member in situation.members)
    computing = situation.inner_steps * stretch * max(member.step_seconds for member in situation.members)
    coding = millions * (cost.encode_seconds_per_million + cost.decode_seconds_per_million)
    transfer = size / slowest_up + size / slowest_down + situation.fold_seconds
    if fragments == 1:
        waiting = transfer + coding + options.latency_seconds
    else:  # every fragment has the time of H / fragments steps to travel; only what is longer is waited for
        late = transfer / fragments + options.latency_seconds - computing / fragments
        waiting = coding + fragments * max(0.0, late)
    return Choice(
        codec=cost.name,
        stretch=stretch,
        fragments=fragments,
        share=waiting / (waiting + computing),
        waiting_seconds=waiting,
        round_seconds=waiting + computing,
        bytes_up=size,
        bytes_down=size,
        harm=cost.harm + options.doubling_harm * log2(stretch) + options.overlap_harm * (fragments > 1),
    )


def _reason(best: Choice, rejected: Choice | None, options: PlannerOptions, fits: bool) -> str:
    what = f"{best.codec}, H x {best.stretch}" + (
        f", {best.fragments} fragments sent while computing" if best.fragments > 1 else ""
    )
    text = f"{what}: waiting is {best.share:.1%} of a round"
    if not fits:
        return f"{text}, the least there is; the links are too slow for {options.share:.0%}"
    if rejected is None:
        return f"{text}, within {options.share:.0%}, and nothing does less harm"
    return f"{text}, within {options.share:.0%}; all that does less harm waits {rejected.share:.1%} or more"
