"""``commonweal train``: from a job file to a trained model, over the pool."""

from __future__ import annotations

import os
from collections.abc import Callable
from json import loads
from pathlib import Path

from commonweal import console
from commonweal.commands import origin
from commonweal.commands.following import totals
from commonweal.core.errors import UserError
from commonweal.core.hashing import BlobHash
from commonweal.data.prepare import Progress
from commonweal.labels.folder import beside, training_json
from commonweal.labels.records import member_names, training
from commonweal.ledger.amounts import shown
from commonweal.pool import wire
from commonweal.pool.client import PoolClient
from commonweal.train.config import TrainSettings, load_job
from commonweal.train.export import export_model
from commonweal.train.prepare import PreparedJob, Put, prepare_job
from commonweal.train.replica import Get
from commonweal.train.spec import KIND
from commonweal.web.pool import addresses

MARGIN = 1.1


def load(file: Path, out: Path | None) -> TrainSettings:
    """The settings in a job file. Raises ConfigError with the field or line at fault; and UserError where the model
    could not be saved in the end, which is better known now than after hours of training."""
    if out is not None:
        _check_writable(out)
    return load_job(file)


def submit(
    client: PoolClient, settings: TrainSettings, work: Path, credits: float | None, *, json: bool
) -> wire.JobView:
    """Prepare and submit a job. Raises ConfigError or DataError with the field or the file at fault."""
    with console.live_line("reading the data", shown=not json) as say:
        put, progress = describe_uploads(client.put, say)
        prepared = prepare_job(settings, work, put, progress=progress)
    budget = round(credits * 1_000_000) if credits is not None else estimate(settings, prepared)
    view = client.submit_job(
        kind=KIND, name=settings.name, spec=prepared.spec, blobs=list(prepared.blobs), budget=budget
    )
    if json:
        console.print_json_line({"job": view.id, "parameters": prepared.parameters, "budget": budget})
    else:
        console.out.print(
            f"job {view.id}: {console.count(prepared.parameters)} parameters,\n"
            f"{console.count(prepared.tokens)} tokens of text, at most {shown(budget)} credits\n"
            f"its page: {console.safe(client.url)}/{addresses.job(view.id)}"
        )
    return view


_STAGES = {"tokenizer": "training the tokenizer", "tokens": "cutting the text into tokens"}


def describe_uploads(put: Put, say: Callable[[str], None]) -> tuple[Put, Progress]:
    """``put``, and a listener for the stages of preparing, which both say what they do."""
    there = 0

    def told_put(data: bytes) -> BlobHash:
        nonlocal there
        say(f"uploading {console.size(len(data))}B, {console.size(there)}B are there")
        name = put(data)
        there += len(data)
        return name

    def progress(stage: str, done: int) -> None:
        say(f"{_STAGES.get(stage, stage)}: {console.size(done)}B read")

    return told_put, progress


def detached(view: wire.JobView, *, json: bool) -> None:
    """Say how to look at a job that nobody watches."""
    if not json:
        console.out.print(f"to watch it:\n  commonweal jobs show {view.id} --follow")


def export(client: PoolClient, job: str, out: Path, *, merge: bool, json: bool) -> None:
    """Save the latest weights of a job as a model. Raises UserError."""
    _check_writable(out)
    view = client.job(job)
    if view.kind != KIND:
        raise UserError(f"job {job} is a {view.kind} job", hint="only training jobs have a model")
    _save(client, view, out, merge=merge, json=json)
    if json:
        console.print_json({"job": view.id, "folder": str(out), "theta": view.state["theta"]})
    else:
        console.out.print(f"saved {console.safe(out)}")


def _save(client: PoolClient, view: wire.JobView, out: Path, *, merge: bool, json: bool) -> None:
    """The model of a job with its latest weights, as a folder."""
    with console.live_line("fetching the weights", shown=not json) as say:

        def get(blob: BlobHash) -> bytes:
            data = client.get(blob, lambda here, whole: say(f"fetching {console.share(here, whole)}"))
            say("putting the model together")
            return data

        export_model(
            view.spec,
            BlobHash(view.state["theta"]),
            get,
            out,
            merge=merge,
            beside=records_beside(client, view, get),
        )


def records_beside(client: PoolClient, view: wire.JobView, get: Get) -> dict[str, bytes]:
    """What the hub wrote down of the job, its label, its card, and the note of the job: to lie beside the weights."""
    machines = {member.id: {**member.platform, "owner": member.owner} for member in client.members()}
    rounds = [one for one in client.rounds(view.id) if one.number < view.rounds]
    worked = set(member_names(training(view, rounds).rounds))
    records = training_json(
        view,
        rounds,
        hub=client.url,
        layout=loads(get(BlobHash(view.spec["worker"])))["layout"],
        machines={name: told for name, told in machines.items() if name in worked},
    )
    return {**beside(records, view.name), origin.NOTE: origin.note(view)}


def _check_writable(out: Path) -> None:
    """Whether a folder could be made at ``out``."""
    there = next(folder for folder in (out.absolute(), *out.absolute().parents) if folder.exists())
    if not there.is_dir() or not os.access(there, os.W_OK):
        raise UserError(f"--out: {out} cannot be written", hint="choose a folder that you may write")


def estimate(settings: TrainSettings, prepared: PreparedJob) -> int:
    """What the job may cost in micro-credits: its tokens at its price, and a margin for the last round."""
    if settings.pay.budget:
        return settings.pay.budget
    train = settings.train
    if train.tokens is not None:
        tokens = float(train.tokens)
    else:
        tokens = float((train.steps or 0) * train.tokens_per_step * settings.rounds.max_members)
    return round(MARGIN * tokens * settings.pay.per_1000_tokens / 1000) + 1_000_000


def finish(client: PoolClient, view: wire.JobView, out: Path | None, *, json: bool) -> None:
    """Save the model, and say what it took."""
    if out is not None:
        _save(client, view, out, merge=False, json=json)
    if json:
        console.print_json_line({"job": view.id, "status": view.status, "state": view.state})
        return
    sums, losses = totals(view), view.state["losses"]
    moved = sums["up_bytes"] + sums["down_bytes"]
    console.out.print(
        f"done: {console.count(sums['tokens'])} tokens in {sums['seconds']:.0f} s, "
        f"held-out bits per byte {_bits(losses['bits_before'])} -> {_bits(losses['bits_now'])}"
    )
    console.out.print(
        f"network: {console.size(moved)}B; per-step all-reduce would have moved "
        f"{console.size(sums['allreduce_bytes'])}B ({sums['allreduce_bytes'] / max(1, moved):.0f}x more)"
    )
    console.out.print(f"paid: {shown(view.spent)} credits" + (f"; saved {console.safe(out)}" if out else ""))


def _bits(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
