"""What a round came to: the sums, the losses and the record, from what was judged. Decides nothing."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import replace

from commonweal.core.work import Payment
from commonweal.train.judge import Judged, accepted
from commonweal.train.record import MemberRecord, RoundRecord
from commonweal.train.state import Losses, Totals, TrainState


def totals_after(
    totals: Totals, judged: Sequence[Judged], parameters: int, payments: Sequence[Payment], now: float
) -> Totals:
    good = accepted(judged)
    steps = sum(one.claim.steps for one in good if one.claim)
    return Totals(
        tokens=totals.tokens + sum(one.claim.tokens for one in good if one.claim),
        member_steps=totals.member_steps + steps,
        up_bytes=totals.up_bytes + sum(len(one.data) for one in judged),
        down_bytes=totals.down_bytes + sum(one.claim.down_bytes for one in judged if one.claim),
        allreduce_bytes=totals.allreduce_bytes + 8 * parameters * steps,
        microcredits=totals.microcredits + sum(p.microcredits for p in payments),
        seconds=totals.seconds + now - min(one.terms.planned for one in judged),
    )


def losses_after(losses: Losses, good: Sequence[Judged]) -> Losses:
    now = statistics.fmean(one.claim.loss for one in good if one.claim)
    return replace(losses, first=now if losses.first is None else losses.first, last=now)


def record_of(
    before: TrainState, after: TrainState, judged: Sequence[Judged], now: float, *, paid: int
) -> RoundRecord:
    """The record of the round that led from ``before`` to ``after``."""
    good, totals, was = accepted(judged), after.totals, before.totals
    terms = judged[0].terms if judged else None
    up, down = totals.up_bytes - was.up_bytes, totals.down_bytes - was.down_bytes
    reference = totals.allreduce_bytes - was.allreduce_bytes
    return RoundRecord(
        round=before.round,
        attempt=before.attempt,
        outcome="folded",
        step=after.step,
        inner_steps=terms.inner_steps if terms else 0,
        tokens=totals.tokens,
        members=tuple(_member_record(one) for one in judged),
        stragglers=max(0, terms.slots - len(judged)) if terms else 0,
        loss=statistics.fmean(one.claim.loss for one in good if one.claim) if good else None,
        up_bytes=up,
        down_bytes=down,
        allreduce_bytes=reference,
        fewer_bytes=reference / (up + down) if up + down else None,
        seconds=now - min((one.terms.planned for one in judged), default=now),
        codec_up=terms.codec if terms else "",
        codec_down=terms.codec_down if terms else "",
        fragment=(terms.start, terms.stop) if terms else (0, 0),
        reason=terms.reason if terms else "",
        state=after.theta,
        paid=paid,
    )


def _member_record(one: Judged) -> MemberRecord:
    claim = one.claim
    return MemberRecord(
        member=one.result.member,
        asked=one.result.amount_asked,
        steps=claim.steps if claim else 0,
        tokens=claim.tokens if claim else 0,
        loss=claim.loss if claim else None,
        seconds=one.result.seconds,
        up_bytes=len(one.data),
        down_bytes=claim.down_bytes if claim else 0,
        norm=one.norm,
        clip=one.clip,
        gain=one.gain,
        verdict=one.refusal or "ok",
    )
