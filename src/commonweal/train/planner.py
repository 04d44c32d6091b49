"""Choose how to communicate: the least harmful way that keeps the round's waiting under a set share.

From links and speeds as the hub measured them, and codec costs. Everything is a pure function of the
:class:`Situation`; the answer carries the candidates that it was chosen from, so that a round's record can show
why. Harm is the relative loss that each choice cost in experiments (docs/training.md). Of what does equal harm the
fewest bytes are taken: home links have data limits.

The share is not kept at any price. Meeting seldom does harm, most of all to young weights (while H still grows), and
harm has to be made up for by more steps: waiting and harm in one number are :attr:`Choice.slowdown`. What keeps the
share is taken only where it leads to the same loss about as soon as the quickest choice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from math import log2
from statistics import fmean, median

from commonweal.core.work import Amount
from commonweal.train.pace import typical


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
    steps makes updates late and costs ``overlap_harm``. While the weights are young, all harm is ``young_times`` as
    large: top-k, say, ends 7% behind after a synchronous start (docs/training.md), 56% behind if it began the run
    (bench/results.md, 400 steps).
    ``steps_per_loss`` is how many times its own share of the loss a harm costs in steps: near a run's middle a loss 1%
    lower takes about 6% more steps (bench/quality.py's curves). ``share_worth`` is how much more time to the same loss
    it may take to keep the share."""

    share: float = 0.05
    most_stretch: int = 4
    doubling_harm: float = 0.03
    most_fragments: int = 8
    overlap_harm: float = 0.04
    young_times: float = 4.0
    steps_per_loss: float = 6.0
    share_worth: float = 0.02
    latency_seconds: float = 0.2

    def __post_init__(self) -> None:
        if not 0 < self.share < 1:
            raise ValueError("share: must be between 0 and 1")
        if self.most_stretch < 1 or self.most_fragments < 1 or self.latency_seconds < 0:
            raise ValueError("most_stretch, most_fragments: at least 1; latency_seconds: not negative")


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """What the next rounds are like: ``inner_steps`` is H as the schedule has it, ``young`` whether it still grows.
    ``seconds`` is how long a round computes however long H is, where the job says so; else H steps of the median
    member (``rate``, in steps a second; 0: the median of ``members``), for everybody is given the same time."""

    members: tuple[MemberSpeed, ...]
    parameters: int
    inner_steps: int
    fold_seconds: float = 0.0
    young: bool = False
    seconds: float = 0.0
    rate: float = 0.0

    def __post_init__(self) -> None:
        if not self.members or self.parameters < 1 or self.inner_steps < 1 or self.fold_seconds < 0:
            raise ValueError("members, parameters, inner_steps: at least one; fold_seconds: not negative")
        if self.seconds < 0 or self.rate < 0:
            raise ValueError("seconds, rate: not negative")

    def computing(self, stretch: int, fragments: int) -> float:
        """Seconds that everybody computes between two meetings over the same weights."""
        if self.seconds:
            return self.seconds * fragments
        rate = self.rate or median(1 / member.step_seconds for member in self.members)
        return self.inner_steps * stretch / rate


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One way to communicate and what it comes to. ``fragments=1`` waits for the update; more send a fragment at
    a time while the next inner steps run. ``share`` is how much of the members' time is not computing, and
    ``slowdown`` the time to the same loss, against computing alone."""

    codec: str
    stretch: int
    fragments: int
    share: float
    waiting_seconds: float
    round_seconds: float
    bytes_up: float
    bytes_down: float
    harm: float
    slowdown: float


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
    """The least harmful choice whose waiting is within the share; the quickest to the same loss where there is none,
    where that would take much longer, and while the weights are young."""
    # Where the job sets the seconds, a longer H changes nothing.
    stretches = [
        s for s in (1, 2, 4, 8, 16) if s <= options.most_stretch and not (situation.seconds and s > 1)
    ]
    fragments = [f for f in (1, 2, 4, 8, 16) if f <= options.most_fragments]
    choices = [
        evaluate_choice(situation, options, cost, stretch, parts)
        for cost, stretch, parts in product(costs, stretches, fragments)
    ]
    # No measurement tells a millionth: of what is as quick, the fewest bytes.
    best = min(choices, key=lambda c: (round(c.slowdown, 6), c.bytes_up, c.fragments))
    fitting = [c for c in choices if c.share <= options.share]
    if fitting and not situation.young:
        gentle = min(fitting, key=lambda c: (c.harm, c.bytes_up, c.fragments))
        best = gentle if gentle.slowdown <= (1 + options.share_worth) * best.slowdown else best
    gentler = [c for c in choices if c.harm < best.harm]
    rejected = min(gentler, key=lambda c: (c.share, c.harm), default=None)
    return CommunicationPlan(
        chosen=best,
        within_share=best.share <= options.share,
        considered=len(choices),
        least_harmful_rejected=rejected,
        reason=_reason(best, rejected, options, _why_not(situation, options, bool(fitting))),
    )


def evaluate_choice(
    situation: Situation, options: PlannerOptions, cost: CodecCost, stretch: int, fragments: int
) -> Choice:
    """What one way to communicate comes to: how much of the members' time is left for computing."""
    millions = situation.parameters / 1e6
    size = cost.bytes_per_parameter * situation.parameters
    coding = millions * (cost.encode_seconds_per_million + cost.decode_seconds_per_million)
    transfers = [size / member.upload + size / member.download for member in situation.members]
    computing = situation.computing(stretch, fragments)
    if fragments == 1:
        computed, done = _together(situation, computing, transfers)
        round_seconds = done + situation.fold_seconds + coding + options.latency_seconds
    else:  # every fragment has the time of H / fragments steps to travel; only what is longer is waited for
        slowest = max(transfers) + situation.fold_seconds
        late = slowest / fragments + options.latency_seconds - computing / fragments
        computed = computing
        round_seconds = computing + coding + fragments * max(0.0, late)
    seldom = options.doubling_harm * log2(stretch) + options.overlap_harm * (fragments > 1)
    harm = (cost.harm + seldom) * (options.young_times if situation.young else 1.0)
    return Choice(
        codec=cost.name,
        stretch=stretch,
        fragments=fragments,
        share=1 - computed / round_seconds,
        waiting_seconds=round_seconds - computed,
        round_seconds=round_seconds,
        bytes_up=size,
        bytes_down=size,
        harm=harm,
        slowdown=round_seconds / computed * (1 + options.steps_per_loss * harm),
    )


def _together(situation: Situation, target: float, transfers: Sequence[float]) -> tuple[float, float]:
    """(seconds that a member computes on the mean, seconds until the last is done) where whoever has a slow link
    computes less, so that all are done together (:meth:`~commonweal.core.work.Amount.computing`)."""
    amount = Amount(least=1, most=1, first=1, target_seconds=target, transfer_seconds=typical(transfers))
    computed = [
        # One step is the least, and who needs longer for it than anybody waits is not lent one.
        max(amount.computing(moving), min(member.step_seconds, target))
        for member, moving in zip(situation.members, transfers, strict=True)
    ]
    return fmean(computed), max(map(sum, zip(computed, transfers, strict=True)))


def _why_not(situation: Situation, options: PlannerOptions, some_fit: bool) -> str:
    """Why a choice beyond the share was taken."""
    if situation.young:
        return "while the weights are young"
    if some_fit:
        return f"to stay within {options.share:.0%} would harm more than it saves"
    return f"the links are too slow for {options.share:.0%}"


def _reason(best: Choice, rejected: Choice | None, options: PlannerOptions, why_not: str) -> str:
    what = f"{best.codec}, H x {best.stretch}" + (
        f", {best.fragments} fragments sent while computing" if best.fragments > 1 else ""
    )
    text = f"{what}: waiting is {best.share:.1%} of a round"
    if best.share > options.share:
        return f"{text}, and the same loss is reached soonest so; {why_not}"
    if rejected is None:
        return f"{text}, within {options.share:.0%}, and nothing does less harm"
    if rejected.share <= options.share:
        return f"{text}, within {options.share:.0%}; what does less harm fits too, but reaches the same loss later"
    return f"{text}, within {options.share:.0%}; all that does less harm waits {rejected.share:.1%} or more"
