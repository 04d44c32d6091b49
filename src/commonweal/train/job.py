"""The training job: plan a round, fold what came of it. Decisions over a small state; no torch.

A fold verifies (:mod:`~commonweal.train.judge`), takes one outer step over the mean
(:mod:`~commonweal.train.folding`) and says what changed. Blobs are stored before the state that names them is
returned, and nothing else is touched: a fold that is cut off at any point is simply done again.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np

from commonweal.core.blobs import Blobs
from commonweal.core.hashing import BlobHash
from commonweal.core.ids import JobId
from commonweal.core.work import (
    Amount,
    Fold,
    JobFactory,
    Json,
    MemberView,
    Needs,
    Payment,
    Plan,
    Result,
    WorkUnit,
)
from commonweal.data.windows import mix, next_start
from commonweal.train.assignment import Assignment
from commonweal.train.chain import Update
from commonweal.train.codecs import Vector, make_codec
from commonweal.train.folding import OuterState, fold_round
from commonweal.train.judge import Judged, LossAt, accepted, judge, median_rms
from commonweal.train.pace import deadline_after, worth
from commonweal.train.schedule import outer_options
from commonweal.train.spec import UNIT_KIND, JobSpec
from commonweal.train.state import CHAIN_LENGTH, Checkpoint, TrainState
from commonweal.train.summary import losses_after, record_of, totals_after
from commonweal.train.terms import choose_amount, choose_terms, outer_schedule, usual_amount
from commonweal.train.vectors import Vectors

USUAL_ROUNDS = 5
REMEMBERED_ROUNDS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldOut:
    """The loss on the held-out sample (nats per token), and in bits per byte of its text; of preferences nats
    and bits per example. ``metrics`` are what else the objective measures."""

    loss: float
    bits_per_byte: float
    metrics: Mapping[str, float] = field(default_factory=dict)


class Scorer(Protocol):
    """Losses on held-out text. Members never choose, and never see, what they are scored on."""

    def loss(self, theta: Vector, turn: int) -> float:
        """Of ``theta`` on the sample of turn ``turn``."""
        ...

    def held_out(self, theta: Vector) -> HeldOut:
        """Of ``theta`` on the fixed sample that the records report."""
        ...


class TrainJob:
    """One job. Holds its specification and caches; the state is passed in and returned."""

    def __init__(self, job_id: JobId, spec: Json, blobs: Blobs, scorer: Scorer | None = None) -> None:
        self._id = job_id
        self._spec = JobSpec.from_json(spec)
        self._settings = self._spec.train_settings()
        self._fragments = self._spec.parts()
        self._blobs = blobs
        self._vectors = Vectors(blobs)
        self._scorer = scorer

    def start(self) -> Json:
        """The state before any work."""
        return TrainState(theta=self._spec.theta).to_json()

    def plan(self, state: Json, members: Sequence[MemberView], now: float) -> Plan | None:
        """One unit for every chosen member, or None while there are too few members."""
        before, rounds = TrainState.from_json(state), self._settings.rounds
        usual = usual_amount(self._settings, before, members, self._spec.parameters)
        chosen = _chosen(before, members, rounds.max_members, usual)
        if len(chosen) < rounds.min_members:
            return None
        terms = choose_terms(self._settings, before, chosen, self._fragments)
        amount = choose_amount(rounds, terms, chosen)
        # With overlap the bytes travel while the next steps are taken: they take no time from computing.
        lent = (
            replace(amount, up_bytes=0.0, down_bytes=0.0, transfer_seconds=0.0) if rounds.overlap else amount
        )
        first = Assignment(
            worker=self._spec.worker,
            round=before.round,
            attempt=before.attempt,
            base=before.theta,
            chain=before.chain,
            slot=0,
            slots=len(chosen),
            position=before.position,
            step=before.step,
            total_steps=terms.total_steps,
            inner_steps=terms.inner_steps,
            start=terms.start,
            stop=terms.stop,
            codec=terms.codec_up,
            codec_down=terms.codec_down,
            seed=self._seed(before.round),
            overlap=rounds.overlap,
            planned=now,
            reason=terms.reason,
        )
        units = [
            replace(first, slot=slot, seed=self._seed(before.round, slot + 1)) for slot in range(len(chosen))
        ]
        return Plan(
            units=tuple(
                WorkUnit(
                    key=unit.key,
                    kind=UNIT_KIND,
                    payload=unit.to_json(),
                    amount=lent,
                    needs=Needs(role="train", memory_bytes=self._spec.memory_bytes),
                    group=f"r{before.round:06d}.{before.attempt}",
                    prefers=member.id,
                )
                for unit, member in zip(units, chosen, strict=True)
            ),
            deadline=now + deadline_after(amount, chosen),
            quorum=min(rounds.quorum, len(chosen)),
        )

    def fold(self, state: Json, results: Sequence[Result], now: float) -> Fold:
        """The next state, with what was decided of each result. The same results give the same bits."""
        before = TrainState.from_json(state)
        judged = self._judge(before, results)
        if not accepted(judged):
            return self._in_vain(before, judged, now)
        return self._folded(before, judged, now)

    def _judge(self, before: TrainState, results: Sequence[Result]) -> tuple[Judged, ...]:
        scored = self._scorer is not None and self._settings.checks.score and bool(results)
        return judge(
            results,
            is_current=lambda terms: (
                (terms.round, terms.attempt, terms.base) == (before.round, before.attempt, before.theta)
            ),
            parameters=self._spec.parameters,
            tokens_per_step=self._settings.train.tokens_per_step,
            reach=self._reach,
            usual=before.usual,
            blobs=self._blobs,
            checks=self._settings.checks,
            loss_at=self._loss_at(before) if scored else None,
        )

    def _loss_at(self, before: TrainState) -> LossAt:
        theta, scorer = self._theta(before), self._scorer
        assert scorer is not None

        def loss_at(vector: Vector, step: float, terms: Assignment) -> float:
            moved = theta.copy()
            moved[terms.start : terms.stop] += np.float32(step) * vector
            return scorer.loss(moved, before.round)

        return loss_at

    def _reach(self, terms: Assignment) -> float:
        """The root mean square that no honest contribution exceeds: AdamW moves a weight by about the
        learning rate a step, and a fragment is sent only every so many rounds. Ten times that leaves room for
        error feedback."""
        rounds_between = max(1, round(self._spec.parameters / (terms.stop - terms.start)))
        steps = terms.inner_steps * 4 * rounds_between * (2 if terms.overlap else 1)
        return 10 * self._settings.train.lr * steps

    def _theta(self, state: TrainState) -> Vector:
        return self._vectors.get(state.theta, self._spec.parameters)

    def _vector(self, name: BlobHash | None) -> Vector | None:
        return None if name is None else self._vectors.get(name, self._spec.parameters)

    def _seed(self, *numbers: int) -> int:
        return mix(self._settings.train.seed, *numbers)

    def _folded(self, before: TrainState, judged: Sequence[Judged], now: float) -> Fold:
        good, rounds = accepted(judged), self._settings.rounds
        terms = good[0].terms
        outer, data = fold_round(
            OuterState(
                theta=self._theta(before),
                momentum=self._vector(before.momentum),
                residual=self._vector(before.residual),
            ),
            good,
            start=terms.start,
            stop=terms.stop,
            weights=rounds.weights,
            options=outer_options(terms.step, terms.total_steps, outer_schedule(rounds)),
            keep_momentum=rounds.outer_momentum > 0,
            codec=make_codec(terms.codec_down),
            seed=self._seed(before.round),
        )
        payments = self._payments(before, good)
        state = self._next(before, judged, outer, data, payments, now)
        finished = self._finished(state)
        held_out = self._measure(state, finished=bool(finished))
        state = self._with_bits(before, state, held_out)
        if finished or state.round % self._settings.checkpoints.every == 0:
            state = self._checkpointed(state)
        record = record_of(before, state, judged, now, paid=sum(p.microcredits for p in payments))
        record = replace(
            record,
            message=finished,
            update_bytes=len(data),
            held_out_loss=held_out.loss if held_out else None,
            bits_per_byte=held_out.bits_per_byte if held_out else None,
            metrics=held_out.metrics if held_out else {},
        )
        return Fold(
            state=state.to_json(),
            record=record.to_json(),
            verdicts=tuple(one.verdict for one in judged),
            payments=payments,
            keeps=state.keeps(),
            status="done" if finished else "running",
        )

    def _next(
        self,
        before: TrainState,
        judged: Sequence[Judged],
        outer: OuterState,
        data: bytes,
        payments: Sequence[Payment],
        now: float,
    ) -> TrainState:
        good = accepted(judged)
        terms, steps = good[0].terms, [one.claim.steps for one in good if one.claim]
        theta = self._vectors.put(outer.theta)
        update = Update(
            round=before.round,
            before=before.theta,
            after=theta,
            blob=self._blobs.put(data),
            codec=terms.codec_down,
            start=terms.start,
            stop=terms.stop,
            size=len(data),
            folded=tuple(one.result.unit_key for one in good),
        )
        seen = {**before.seen, **{one.result.member: before.round for one in good}}
        return replace(
            before,
            round=before.round + 1,
            attempt=0,
            refused=0,
            step=before.step + max(1, round(statistics.fmean(steps))),
            position=next_start(
                before.position,
                # Steps taken while the round was folded read on in the same round's sequence.
                most_batches=max(steps) * (2 if terms.overlap else 1),
                slots=terms.slots,
                batch_size=self._settings.train.batch_size,
            ),
            theta=theta,
            previous=before.theta,
            momentum=None if outer.momentum is None else self._vectors.put(outer.momentum),
            residual=None if outer.residual is None else self._vectors.put(outer.residual),
            chain=(*before.chain, update)[-CHAIN_LENGTH:],
            seen={m: r for m, r in sorted(seen.items()) if r > before.round - REMEMBERED_ROUNDS},
            usual=(*before.usual, median_rms(judged))[-USUAL_ROUNDS:],
            totals=totals_after(before.totals, judged, self._spec.parameters, payments, now),
            losses=losses_after(before.losses, good),
        )

    def _payments(self, before: TrainState, good: Sequence[Judged]) -> tuple[Payment, ...]:
        """Accepted tokens at the job's price, in the order of the units while its budget lasts."""
        pay = self._settings.pay
        left = pay.budget - before.totals.microcredits if pay.budget else None
        payments = []
        for one in good:
            tokens = one.claim.tokens if one.claim else 0
            due = tokens * pay.per_1000_tokens // 1000
            due = due if left is None else min(due, left)
            left = None if left is None else left - due
            if due > 0:
                payments.append(
                    Payment(unit_key=one.result.unit_key, member=one.result.member, microcredits=due)
                )
        return tuple(payments)

    def _finished(self, state: TrainState) -> str:
        """Why the job is over, or ""."""
        train, pay = self._settings.train, self._settings.pay
        if train.steps is not None and state.step >= train.steps:
            return f"done: {state.step} inner steps"
        if train.tokens is not None and state.totals.tokens >= train.tokens:
            return f"done: {state.totals.tokens} tokens"
        if pay.budget and state.totals.microcredits >= pay.budget:
            return f"done: the budget of {pay.budget} micro-credits is spent"
        return ""

    def _measure(self, state: TrainState, *, finished: bool) -> HeldOut | None:
        due = finished or state.round == 1 or state.round % self._settings.checkpoints.evaluate_every == 0
        return self._scorer.held_out(self._theta(state)) if self._scorer and due else None

    def _with_bits(self, before: TrainState, state: TrainState, now: HeldOut | None) -> TrainState:
        losses = state.losses
        if self._scorer is not None and before.round == 0:
            losses = replace(losses, bits_before=self._scorer.held_out(self._theta(before)).bits_per_byte)
        if now is not None:
            losses = replace(losses, bits_now=now.bits_per_byte)
        return replace(state, losses=losses)

    def _checkpointed(self, state: TrainState) -> TrainState:
        made = Checkpoint(round=state.round, step=state.step, theta=state.theta, tokens=state.totals.tokens)
        return replace(state, checkpoints=(*state.checkpoints, made)[-self._settings.checkpoints.keep :])

    def _in_vain(self, before: TrainState, judged: Sequence[Judged], now: float) -> Fold:
        """Nothing to fold: the round is tried again. A job fails only when all that is handed in is refused,
        again and again; that nobody is there is no failure."""
        refused = before.refused + bool(judged)
        failed = refused >= self._settings.rounds.fruitless
        reasons = sorted({one.refusal for one in judged})
        why = (
            f"every contribution was refused: {', '.join(reasons)}"
            if judged
            else "no member handed anything in"
        )
        message = (
            f"failed: {why}, {refused} times in a row"
            if failed
            else f"round {before.round} is repeated: {why}"
        )
        state = replace(before, attempt=before.attempt + 1, refused=refused)
        record = replace(
            record_of(before, state, judged, now, paid=0),
            outcome="failed" if failed else "repeated",
            message=message,
        )
        return Fold(
            state=state.to_json(),
            record=record.to_json(),
            verdicts=tuple(one.verdict for one in judged),
            keeps=state.keeps(),
            status="failed" if failed else "running",
        )


def job_factory(blobs: Blobs, make_scorer: Callable[[JobSpec], Scorer] | None = None) -> JobFactory:
    """Makes training jobs over one store. Without ``make_scorer`` (a hub without torch) nothing is scored."""

    def make(job_id: JobId, spec: Json) -> TrainJob:
        return TrainJob(job_id, spec, blobs, make_scorer(JobSpec.from_json(spec)) if make_scorer else None)

    return make


def _chosen(state: TrainState, members: Sequence[MemberView], most: int, usual: Amount) -> list[MemberView]:
    """Who gets a unit, in the order of their ids. Those who contributed last come first, as they have the
    weights and the optimizer's state; then the trusted, then those who get most done in a round, by their speed and
    the time that their links leave them."""
    ranked = sorted(
        members, key=lambda m: (-state.seen.get(m.id, -1), -round(m.reputation, 2), -worth(m, usual), m.id)
    )
    return sorted(ranked[:most], key=lambda m: m.id)
