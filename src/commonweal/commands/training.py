"""``commonweal train``: from a job file to a trained model, over the pool."""

from __future__ import annotations

from pathlib import Path

from commonweal import console
from commonweal.commands.following import follow as follow
from commonweal.commands.following import totals
from commonweal.core.hashing import BlobHash
from commonweal.ledger.amounts import shown
from commonweal.pool import wire
from commonweal.pool.client import PoolClient
from commonweal.train.config import TrainSettings, load_job
from commonweal.train.export import export_model
from commonweal.train.prepare import PreparedJob, prepare_job
from commonweal.train.spec import KIND

MARGIN = 1.1


def submit(client: PoolClient, file: Path, work: Path, credits: float | None, *, json: bool) -> wire.JobView:
    """Prepare and submit the job of a file. Raises ConfigError or DataError with the field or line at fault."""
    settings = load_job(file)
    client.hello()
    with console.err.status("preparing") as status:

        def progress(stage: str, done: int) -> None:
            status.update(f"{stage} {console.size(done)}B" if done else stage)

        prepared = prepare_job(settings, work, client.put, progress=progress)
    budget = round(credits * 1_000_000) if credits is not None else estimate(settings, prepared)
    view = client.submit_job(
        kind=KIND, name=settings.name, spec=prepared.spec, blobs=list(prepared.blobs), budget=budget
    )
    if json:
        console.print_json_line({"job": view.id, "parameters": prepared.parameters, "budget": budget})
    else:
        console.out.print(
            f"job {view.id}: {console.count(prepared.parameters)} parameters, "
            f"{console.count(prepared.tokens)} tokens of text, at most {shown(budget)} credits"
        )
    return view


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
        export_model(view.spec, BlobHash(view.state["theta"]), client.get, out)
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
