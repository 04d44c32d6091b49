"""Which results of a round count, and how much: strangers' reports and contributions, checked one by one.

Order of the checks: is it of this round; is the report well formed and possible; did the member start from
the right weights; is the contribution decodable, finite and new; is its norm of this world; does it lower the
loss on text that its sender did not choose. A result that fails one is refused with a word that says which,
and the others go on. Nothing here knows the ledger or the outer step.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from commonweal.core.errors import InvalidContribution, NotFound
from commonweal.core.hashing import BlobHash
from commonweal.core.work import Result, Verdict
from commonweal.train.assignment import Assignment
from commonweal.train.codecs import Vector, make_codec, rejected
from commonweal.train.config import CheckSettings
from commonweal.train.contributions import clip_factors, median_norm, norm, read_contribution

SCORE_STEP = 0.25
"""How far along a contribution, forth and back, the loss is looked at: half the difference of the two is its
gain.

What is the same in both directions (the curvature, large along noisy directions) cancels, so that the sign of
the contribution shows. Looked at after the whole step alone, honest contributions of late rounds raise the
loss by as much as hostile ones: a single member's step is noisier than the mean that is taken."""

LEAST_SHARE = 0.05
"""A contribution that gains less than this share of the median gain, for its length, is no better than noise
..."""

CLEAR_GAIN = 0.002
"""... in a round whose median gain is this share of the loss, so that there is something to compare with."""

NO_FAULT = frozenset({"stale", "copy", "empty", "no_gain"})
"""Refusals that are nobody's crime, or not provably this member's."""

DELTA = "delta"


class BlobReader(Protocol):
    """What judging needs of the blob store."""

    def get(self, name: BlobHash) -> bytes: ...

    def size(self, name: BlobHash) -> int: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What a member says of its work, checked for form. ``down_bytes`` is what it fetched of weights and
    updates, no more than there was to fetch."""

    state_hash: str
    steps: int
    tokens: int
    loss: float
    down_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """One result and what was found. ``refusal`` is "" for one that counts. The contribution itself is
    decoded when it is needed, so that only one is in memory at a time."""

    result: Result
    terms: Assignment
    claim: Claim | None = None
    data: bytes = b""
    norm: float | None = None
    clip: float = 1.0
    gain: float | None = None
    refusal: str = ""

    def vector(self) -> Vector:
        """The contribution, as sent."""
        return make_codec(self.terms.codec).decode(self.data, self.terms.stop - self.terms.start)

    @property
    def verdict(self) -> Verdict:
        at_fault = bool(self.refusal) and self.refusal not in NO_FAULT
        return Verdict(
            unit_key=self.result.unit_key,
            member=self.result.member,
            accepted=not self.refusal,
            reason=self.refusal or "ok",
            fault="member" if at_fault else "none",
        )


LossAt = Callable[[Vector, float, Assignment], float]
"""The loss on held-out text of the round's weights plus so many times a contribution."""


def judge(
    results: Sequence[Result],
    *,
    is_current: Callable[[Assignment], bool],
    parameters: int,
    tokens_per_step: int,
    reach: Callable[[Assignment], float],
    usual: Sequence[float],
    blobs: BlobReader,
    checks: CheckSettings,
    loss_at: LossAt | None,
) -> tuple[Judged, ...]:
    """Judge the results of one round, in the order of their unit keys.

    ``parameters`` is the length of the whole vector, ``reach`` the largest root mean square that honest work
    can have, ``usual`` what the last rounds' had; ``loss_at`` is None where nothing is scored.
    """
    judged = list(_read_all(results, is_current, parameters, tokens_per_step, blobs))
    judged = [_within(one, reach(one.terms)) for one in judged]
    judged = _judge_norms(judged, checks, usual)
    if loss_at is not None:
        judged = _judge_gains(judged, loss_at, checks.tolerance)
    return tuple(judged)


def accepted(judged: Sequence[Judged]) -> list[Judged]:
    return [one for one in judged if not one.refusal]


def _read_all(
    results: Sequence[Result],
    is_current: Callable[[Assignment], bool],
    parameters: int,
    tokens_per_step: int,
    blobs: BlobReader,
) -> Iterator[Judged]:
    members, keys, seen = set(), set(), set()
    for result in sorted(results, key=lambda r: (r.unit_key, r.member)):
        one = _read(result, is_current, parameters, tokens_per_step, blobs)
        if not one.refusal and (result.member in members or result.unit_key in keys):
            one = replace(one, refusal="duplicate")
        # Who copied whom cannot be known: one of the same contributions counts, and nobody is blamed.
        if not one.refusal and one.result.blobs[DELTA] in seen:
            one = replace(one, refusal="copy")
        if not one.refusal:
            members.add(result.member)
            keys.add(result.unit_key)
            seen.add(result.blobs[DELTA])
        yield one


def _read(
    result: Result,
    is_current: Callable[[Assignment], bool],
    parameters: int,
    tokens_per_step: int,
    blobs: BlobReader,
) -> Judged:
    terms = Assignment.from_json(result.payload)
    one = Judged(result=result, terms=terms)
    if not is_current(terms):
        return replace(one, refusal="stale")
    try:
        claim = _claim(result.report, asked=result.amount_asked, tokens_per_step=tokens_per_step)
        most_down = 4 * parameters + sum(update.size for update in terms.chain)
        one = replace(one, claim=replace(claim, down_bytes=min(claim.down_bytes, most_down)))
        if claim.state_hash != terms.base:
            raise rejected("diverged", "the member did not start from the round's weights")
        data = _fetch(result.blobs, blobs, terms)
        length = norm(read_contribution(data, make_codec(terms.codec), terms.stop - terms.start))
        if length == 0:
            raise rejected("empty", "the contribution is zero")
    except InvalidContribution as error:
        return replace(one, refusal=error.code)
    return replace(one, data=data, norm=length)


def _claim(report: Mapping[str, Any], *, asked: int, tokens_per_step: int) -> Claim:
    steps, tokens = _whole(report, "steps"), _whole(report, "tokens")
    loss, state = report.get("loss"), report.get("state_hash")
    if not isinstance(loss, float | int) or not isinstance(state, str):
        raise rejected("bad_report", "loss: a number; state_hash: a string")
    if not math.isfinite(loss):
        raise rejected("not_finite", "the loss is not a finite number")
    if not 1 <= steps <= asked or tokens != steps * tokens_per_step:
        raise rejected("impossible", f"{steps} steps and {tokens} tokens where {asked} steps were asked for")
    return Claim(
        state_hash=state,
        steps=steps,
        tokens=tokens,
        loss=float(loss),
        down_bytes=_whole(report, "down_bytes"),
    )


def _whole(report: Mapping[str, Any], key: str) -> int:
    value = report.get(key)
    if type(value) is not int or not 0 <= value < 1 << 53:
        raise rejected("bad_report", f"{key}: expected a whole number")
    return value


def _fetch(named: Mapping[str, BlobHash], blobs: BlobReader, terms: Assignment) -> bytes:
    """The contribution's bytes. Their number is looked at first: nothing larger than the vector itself is
    read."""
    if DELTA not in named:
        raise rejected("missing", "the result has no contribution")
    try:
        if blobs.size(named[DELTA]) > 5 * (terms.stop - terms.start) + 65536:
            raise rejected("oversized", "the contribution is larger than what it encodes")
        return blobs.get(named[DELTA])
    except NotFound:
        raise rejected("missing", "the contribution is not in the store") from None


def _judge_norms(judged: Sequence[Judged], checks: CheckSettings, usual: Sequence[float]) -> list[Judged]:
    """Refuse absurd norms, then clip the rest to the median.

    Of two, nobody knows which is the absurd one; so a round of fewer than three is measured by the rounds
    before it as well (``usual``: their median root mean squares), and clipped to twice what they had.
    """
    lengths = [_rms(one) for one in accepted(judged)]
    few = len(lengths) < 3
    measure = [*lengths, *usual] if few else lengths
    limit = checks.norm_limit * median_norm(measure) if len(measure) >= 3 else math.inf
    judged = [
        replace(one, refusal="huge_norm") if not one.refusal and _rms(one) > limit else one for one in judged
    ]
    kept = [_rms(one) for one in accepted(judged)]
    bound = 2 * median_norm(usual) if few and usual else math.inf
    ratios = clip_factors(kept) if checks.clip else [1.0] * len(kept)
    factors = iter(min(r, bound / own) if r * own > bound else r for r, own in zip(ratios, kept, strict=True))
    return [one if one.refusal else replace(one, clip=next(factors)) for one in judged]


def _within(one: Judged, reach: float) -> Judged:
    return replace(one, refusal="huge_norm") if not one.refusal and _rms(one) > reach else one


def _rms(one: Judged) -> float:
    return (one.norm or 0.0) / math.sqrt(one.terms.stop - one.terms.start)


def median_rms(judged: Sequence[Judged]) -> float:
    """The round's measure for the rounds to come: after clipping, so that nobody moves it."""
    return median_norm([_rms(one) * one.clip for one in accepted(judged)])


def _judge_gains(judged: Sequence[Judged], loss_at: LossAt, tolerance: float) -> list[Judged]:
    """Refuse what raises the loss by more than ``tolerance`` of it, and what is no better than noise.

    What is at or above the round's median is kept unless it raises the loss thrice as much: when everybody is
    slightly worse, that is noise (or a learning rate too high), and dropping all would stop the job.
    """
    scored, losses = [], []
    for one in judged:
        if one.refusal:
            scored.append(one)
            continue
        vector, step = one.vector(), SCORE_STEP * one.clip
        up, down = loss_at(vector, step, one.terms), loss_at(vector, -step, one.terms)
        losses.append((up + down) / 2)
        scored.append(replace(one, gain=(up - down) / 2))
    if not losses:
        return scored
    loss = statistics.median(losses)
    scored = _refuse_harm(scored, -tolerance * loss)
    return _refuse_noise(scored, CLEAR_GAIN * loss)


def _refuse_harm(scored: Sequence[Judged], floor: float) -> list[Judged]:
    middle = statistics.median_high(_gains(scored))

    def harms(gain: float) -> bool:
        return not math.isfinite(gain) or (gain < floor and (gain < middle or gain < 3 * floor))

    return [replace(o, refusal="raises_loss") if o.gain is not None and harms(o.gain) else o for o in scored]


def _refuse_noise(scored: Sequence[Judged], clear: float) -> list[Judged]:
    kept = accepted(scored)
    if len(kept) < 3 or statistics.median(_gains(kept)) < clear:
        return list(scored)
    bar = LEAST_SHARE * statistics.median(map(_gain_for_length, kept))
    return [
        replace(o, refusal="no_gain") if not o.refusal and _gain_for_length(o) < bar else o for o in scored
    ]


def _gains(scored: Sequence[Judged]) -> list[float]:
    return [one.gain for one in scored if one.gain is not None]


def _gain_for_length(one: Judged) -> float:
    return (one.gain or 0.0) / (_rms(one) * one.clip)
