"""A job while it works: loss, tokens, bytes saved, who takes part, who was late or refused and why, how long still."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from markupsafe import Markup

from commonweal.ledger.amounts import shown as credits
from commonweal.pool import public
from commonweal.pool.public import JobDetail
from commonweal.train.config import TrainSettings
from commonweal.train.curve import Point
from commonweal.train.refusals import REFUSALS
from commonweal.train.state import TrainState
from commonweal.web.pool import addresses
from commonweal.web.pool.history import History, Told
from commonweal.web.pool.progress import progress, why
from commonweal.web.pool.source import Source, settings_of
from commonweal.web.pool.trail import JOBS, POOL
from commonweal.web.pool.words import count, counted, lasting, moment, size
from commonweal.web.site.lines import Series, lines
from commonweal.web.site.page import Link, Page
from commonweal.web.site.words import figure, share

_ROUNDS, _REFUSED, _AT_WORK = 20, 30, 64

Facts = Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundRow:
    """One line of the table of rounds."""

    point: Point
    inner_steps: int
    seconds: float
    fewer: float | None
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusedRow:
    number: int
    machine: Link
    verdict: str
    meaning: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkRow:
    """What one machine does for the round under way."""

    machine: Link
    done: int
    asked: int
    handed_in: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointRow:
    step: int
    tokens: int
    round: int
    hash: str


@dataclass(frozen=True, slots=True, kw_only=True)
class JobPage(Page):
    """``points`` are the curve's, whole; ``share`` and what hangs on it are None for a job that does not train."""

    template: ClassVar[str] = "job.html"
    refresh: ClassVar[float] = 1.0

    id: str
    name: str
    kind: str
    status: str
    why: str
    share: float | None
    left: str
    loss: float | None
    facts: Facts
    settings: Facts
    waiting: int
    work: Sequence[WorkRow]
    rounds: Sequence[RoundRow]
    rounds_all: Link | None
    refused: Sequence[RefusedRow]
    looked_at: int
    checkpoints: Sequence[CheckpointRow]
    points: Sequence[Point]
    loss_chart: Markup
    crowd_chart: Markup


def page(source: Source, job_id: str) -> JobPage:
    """Raises NotFound."""
    job = public.job_detail(source.connection, job_id)
    settings = settings_of(job.kind, job.spec)
    trains = settings is not None
    history = source.histories.of(source.connection, job.id, job.rounds) if trains else History()
    latest = list(history.latest)
    parts = public.at_work(source.connection, job=job.id, limit=_AT_WORK)
    refused = [one for told in latest for one in told.refused][: -_REFUSED - 1 : -1]
    names = public.names(
        source.connection, {part.machine for part in parts} | {one.member for one in refused}
    )
    state = TrainState.from_json(job.state) if trains else None
    done = progress(job.spec["settings"], latest) if trains else None
    open_ = next((one for one in public.queue(source.connection) if one.job == job.id), None)
    going = done is not None and done.seconds_left is not None and job.status == "running"
    return JobPage(
        path=addresses.job(job.id),
        title=job.name,
        trail=(POOL, JOBS),
        id=job.id,
        name=job.name,
        kind=job.kind,
        status=job.status,
        why=why(job, latest),
        share=done.share if done else None,
        left=lasting(done.seconds_left) if going and done and done.seconds_left is not None else "",
        loss=state.losses.last if state else None,
        facts=_facts(job, state),
        settings=_settings(job, settings) if settings else (),
        waiting=open_.queued if open_ else 0,
        work=[
            WorkRow(
                machine=machine_link(part.machine, names),
                done=part.done,
                asked=part.asked,
                handed_in=part.handed_in,
            )
            for part in parts
        ],
        rounds=[round_row(told) for told in latest[: -_ROUNDS - 1 : -1]],
        rounds_all=Link(text="All rounds", path=addresses.rounds(job.id, 1)) if latest else None,
        refused=[
            RefusedRow(
                number=one.number,
                machine=machine_link(one.member, names),
                verdict=one.verdict,
                meaning=REFUSALS.get(one.verdict, ""),
            )
            for one in refused
        ],
        looked_at=len(latest),
        checkpoints=[
            CheckpointRow(step=one.step, tokens=one.tokens, round=one.round, hash=str(one.theta))
            for one in reversed(state.checkpoints if state else ())
        ],
        points=history.points,
        loss_chart=loss_chart(history.points),
        crowd_chart=crowd_chart(history.points),
    )


def round_row(told: Told) -> RoundRow:
    return RoundRow(
        point=told.point,
        inner_steps=int(told.record.get("inner_steps") or 0),
        seconds=float(told.record.get("seconds") or 0.0),
        fewer=told.record.get("fewer_bytes"),
        message="" if told.record.get("outcome") == "folded" else str(told.record.get("message") or ""),
    )


def machine_link(member: str, names: Mapping[str, str]) -> Link:
    return Link(text=names.get(member, member), path=addresses.machine(member) if member in names else "")


def loss_chart(points: Sequence[Point]) -> Markup:
    return lines(
        "Loss by round: of training, and on held-out text",
        [
            Series(
                name="training", kind="a", points=[(p.number, p.loss) for p in points if p.loss is not None]
            ),
            Series(
                name="held-out text",
                kind="b",
                points=[(p.number, p.held_out) for p in points if p.held_out is not None],
                dots=True,
            ),
        ],
        across="round",
    )


def crowd_chart(points: Sequence[Point]) -> Markup:
    return lines(
        "Machines by round: whose work counted, who handed nothing in, whose work was refused",
        [
            Series(name="counted", kind="a", points=[(p.number, p.accepted) for p in points]),
            Series(name="handed nothing in", kind="b", points=[(p.number, p.missing) for p in points]),
            Series(name="refused", kind="c", points=[(p.number, p.refused) for p in points]),
        ],
        across="round",
        counts=True,
    )


def _facts(job: JobDetail, state: TrainState | None) -> Facts:
    told = [("began", moment(job.created)), ("rounds", f"{job.rounds:,}")]
    if job.status not in ("running", "paused"):
        told.append(("ended", moment(job.updated)))
    if job.spent:
        told.append(("paid to machines", f"{credits(job.spent)} credits"))
    if state is None:
        return told
    totals, losses = state.totals, state.losses
    moved = totals.up_bytes + totals.down_bytes
    told += [
        ("steps", f"{state.step:,}"),
        ("tokens learned from", f"{totals.tokens:,}"),
        ("moved", f"{size(moved)}: {size(totals.up_bytes)} up, {size(totals.down_bytes)} down"),
    ]
    if moved and totals.allreduce_bytes:
        told.append(
            (
                "saved",
                f"{size(totals.allreduce_bytes - moved)}: {figure(totals.allreduce_bytes / moved)} times fewer "
                "than gradients at every step",
            )
        )
    if losses.first is not None and losses.last is not None:
        told.append(("training loss", f"{figure(losses.first)} at first, {figure(losses.last)} now"))
    if losses.bits_before is not None and losses.bits_now is not None:
        told.append(
            (
                "held-out text",
                f"{figure(losses.bits_before)} bits a byte before, {figure(losses.bits_now)} now",
            )
        )
    return told


def _settings(job: JobDetail, settings: TrainSettings) -> Facts:
    """What of the settings anybody may know: no paths, and not which text losses are measured on."""
    train, rounds = settings.train, settings.rounds
    goal = f"{train.steps:,} steps" if train.steps is not None else f"{train.tokens or 0:,} tokens"
    model = str(job.spec.get("model", {}).get("model_type", ""))
    return [
        ("model", f"{model}, {count(job.spec.get('parameters'))} parameters trained".lstrip(", ")),
        ("goal", goal),
        ("data", f"{settings.data.kind}, licence {settings.data.licence or 'not said'}"),
        ("a step", f"{train.batch_size} sequences of {train.seq_len} tokens"),
        ("machines", f"{rounds.min_members} to {rounds.max_members} a round"),
        ("pay", f"{credits(settings.pay.per_1000_tokens)} credits for 1,000 tokens"),
    ]


def summary(job: JobPage) -> str:
    """The news of a job in one sentence, for who listens to the page."""
    if job.status != "running":
        return f"The job is {job.status}."
    done = "" if job.share is None else f", {share(job.share)} done"
    return f"{counted(len(job.work), 'machine')} at work{done}."
