"""``commonweal demo``: the whole of it on one machine, with real processes and two bad moments on purpose.

A hub and three members are started as processes of their own; a tokenizer and a small Llama are trained on the
text of the Python standard library; one member is killed in mid-round and another joins late. Then the members serve
the model, and fine-tune it (``demo_serving``); both models are evaluated and shown (``demo_showing``). Nothing here is
special: every step is a command that the README shows.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from types import FrameType
from typing import Any

import torch

from commonweal import __version__, console
from commonweal.commands import demo_serving, demo_showing, following, incidents, stage
from commonweal.commands.incidents import Incidents
from commonweal.commands.training import describe_uploads, finish
from commonweal.core.errors import Unavailable, UserError
from commonweal.core.hashing import BlobHash
from commonweal.data.sources import Source
from commonweal.data.tokenizer import TokenizerSettings
from commonweal.models.architecture import build
from commonweal.models.settings import ModelSettings
from commonweal.pool import wire
from commonweal.pool.client import PoolClient
from commonweal.train.config import InnerSettings, KeepSettings, RoundSettings, TrainSettings
from commonweal.train.export import sample_text
from commonweal.train.prepare import PreparedJob, prepare_job
from commonweal.train.schedule import SyncOptions, rounds
from commonweal.train.spec import KIND
from commonweal.web.pool import addresses

MARKER = ".commonweal-demo"
PROMPT = "def "
TEXT_BYTES = 8_000_000
NAMES, VICTIM, LATE = ("ada", "ben", "cleo"), "ben", "dora"

CLOSING_SECONDS = 12.0
LEAST_STEPS, MOST_STEPS = 60, 50_000
LEAST_SHARE = 0.3
"""Of the set minutes for training, however long the start took."""

ROUND_SECONDS = 0.4
_LOOK_SECONDS = 0.5
FOLD_STEPS = 16.0
"""What a round takes besides its steps: messages; and folding, which scores every contribution, in steps' time."""


def run_demo(*, minutes: float, folder: Path, keep: bool = False) -> None:
    """Train for about ``minutes`` and show what happens. Everything is kept in ``folder``; the hub and its members go
    on until ctrl-c if ``keep``. Raises UserError and DemoFailed."""
    started = time.monotonic()
    _clear(folder)
    console.out.print("[bold]Commonweal[/]: one model, trained by several machines over slow links.\n")
    with _signals_end(), _saying("starting a hub"), stage.opened(folder) as here, _operator(here) as client:
        try:
            shown = _play(here, client, started, minutes)
        except Unavailable as error:
            here.check()  # if the hub has ended, its last words say more
            raise error
        if keep:
            _go_on(here)
    console.out.print(
        f"\n{console.duration(time.monotonic() - started)} in all, and every process has ended. "
        f"In {console.safe(folder)}/:\n"
        "  model/       the model, for AutoModelForCausalLM.from_pretrained\n"
        "  report.json  every round and what is claimed above\n"
        "  *.log        what the hub and the members said"
    )
    if shown is not None:
        console.out.print(
            "  site/        both models evaluated: board, prompts, labels. Open\n"
            f"{console.safe(shown.site.as_uri())}"
        )


def _play(here: stage.Stage, client: PoolClient, started: float, minutes: float) -> demo_showing.Shown | None:
    console.out.print(
        f"The hub is on {here.url}, with a PostgreSQL and a store of its own.\n"
        f"To watch it in a browser: {here.url}/{addresses.OVERVIEW}"
    )
    for name in NAMES:
        here.start_member(name)
    first = _prepare(demo_job(steps=LEAST_STEPS), client, here)
    _wait_for_members(here, client)
    seconds = _seconds_a_step(first)
    left = 60 * minutes - (time.monotonic() - started) - CLOSING_SECONDS
    settings = demo_job(steps=affordable_steps(max(left, LEAST_SHARE * 60 * minutes), seconds))
    view = _submit(here, client, settings, _prepare(settings, client, here))
    story = Incidents(stage=here, client=client, job=view, victim=VICTIM, late=LATE)
    view = following.follow(client, view.id, json=False, each=story.after, meanwhile=here.check)
    report = _reported(client, view, story, here.folder)
    tuned = shown = None
    if importlib.util.find_spec("openai") is None:
        console.out.print("\nTo see the model served and fine-tuned as well: pip install openai")
    else:
        tuned = demo_serving.serve_and_tune(
            client, here.url, here.admin_key, here.folder / "model", here.check
        )
        shown = _shown(here, tuned)
    books = _prove(client)
    whole = replace(
        report,
        books_hold=books,
        served=None if tuned is None else asdict(tuned),
        evaluated=[] if shown is None else [asdict(score) for score in shown.scores],
    )
    (here.folder / "report.json").write_text(json.dumps(asdict(whole), indent=2) + "\n")
    return shown


def _shown(here: stage.Stage, tuned: demo_serving.Tuned) -> demo_showing.Shown:
    """Both models on the exercises that neither saw, evaluated as any model is."""
    kept = demo_serving.exercises()[demo_serving.EXAMPLES :][: demo_serving.QUESTIONS]
    shown = demo_showing.show(here.url, here.admin_key, (tuned.model, tuned.tuned), kept, here.folder)
    console.out.print("\n[dim]both models evaluated, as `commonweal eval` does it:[/]")
    for score in shown.scores:
        console.out.print(f"  {console.safe(score.model[:36]):36} {_scored(score)}")
    console.out.print(f"  The board, down to each prompt, is at {here.url}/")
    return shown


def _scored(score: demo_showing.Score) -> str:
    if score.mean is None:
        return "not measured"
    if score.low is None or score.high is None or score.low == score.high:
        return f"{score.mean:4.0%}"
    return f"{score.mean:4.0%}  [dim](95% interval {score.low:.0%} to {score.high:.0%})[/]"


def _go_on(here: stage.Stage) -> None:
    """Until ctrl-c, or until something ends that should not."""
    console.out.print(
        f"\nThe hub and its members go on until ctrl-c:\n"
        f"  {here.url}/                 the board\n"
        f"  {here.url}/{addresses.OVERVIEW}  the pool\n"
        f"  {here.url}/chat             a page to chat; the key is in\n"
        f"  {console.safe(here.folder)}/admin.key"
    )
    try:
        while True:
            here.check()
            time.sleep(_LOOK_SECONDS)
    except KeyboardInterrupt:
        return


def demo_job(*, steps: int) -> TrainSettings:
    """The job of the demo: a Llama of about a million parameters, synchronized as over home links. The planner is
    off: this machine's loopback is no home link, and it would choose for it."""
    last = max(8, min(32, steps // 12))
    return TrainSettings(
        name="stdlib-1m",
        data=Source(kind="stdlib", licence="PSF-2.0", max_bytes=TEXT_BYTES),
        tokenizer=TokenizerSettings(vocab_size=1024),
        model=ModelSettings(
            config={
                "hidden_size": 128,
                "intermediate_size": 352,
                "num_hidden_layers": 4,
                "num_attention_heads": 4,
                "num_key_value_heads": 4,
            }
        ),
        train=InnerSettings(steps=steps, seq_len=128, batch_size=8),
        rounds=RoundSettings(plan=False, min_members=2, first_inner_steps=4, last_inner_steps=last),
        checkpoints=KeepSettings(evaluate_every=2),
    )


def affordable_steps(seconds: float, seconds_a_step: float) -> int:
    """How many steps fit into so many seconds of training, the rounds' own time included."""
    least, most = LEAST_STEPS, MOST_STEPS
    while least < most:
        middle = (least + most + 1) // 2
        if _training_seconds(middle, seconds_a_step) <= seconds:
            least = middle
        else:
            most = middle - 1
    return least


def _training_seconds(steps: int, seconds_a_step: float) -> float:
    r = demo_job(steps=steps).rounds
    number = len(
        rounds(steps, SyncOptions(first=r.first_inner_steps, last=r.last_inner_steps, growth=r.growth))
    )
    crowding = max(1.0, len(NAMES) / (os.cpu_count() or 1))
    return steps * seconds_a_step * crowding + number * (ROUND_SECONDS + FOLD_STEPS * seconds_a_step)


def _seconds_a_step(prepared: PreparedJob) -> float:
    """Of one member, on this machine as busy as it is now."""
    torch.set_num_threads(1)
    job = demo_job(steps=LEAST_STEPS)
    model = build(
        job.model, vocab_size=prepared.spec["model"]["vocab_size"], seq_len=job.train.seq_len, seed=0
    )
    optimizer = torch.optim.AdamW(model.parameters())
    ids = torch.zeros((job.train.batch_size, job.train.seq_len), dtype=torch.long)
    for step in range(10):
        if step == 2:
            start = time.perf_counter()
        model(input_ids=ids, labels=ids).loss.backward()
        optimizer.step()
    return (time.perf_counter() - start) / 8


def _prepare(settings: TrainSettings, client: PoolClient, here: stage.Stage) -> PreparedJob:
    with console.live_line("reading the Python standard library") as say:
        put, progress = describe_uploads(client.put, say)
        return prepare_job(settings, here.folder / "data", put, progress=progress)


def _wait_for_members(here: stage.Stage, client: PoolClient) -> None:
    with console.live_line("waiting for the members"):
        deadline = time.monotonic() + stage.START_SECONDS
        while len(found := client.members()) < len(NAMES):
            here.check()
            if time.monotonic() > deadline:
                raise stage.DemoFailed("the members did not join", hint=f"read the logs in {here.folder}")
            time.sleep(0.1)
    names = ", ".join(sorted(member.name for member in found))
    console.out.print(f"Three members have joined, each a process of its own: {names}.")


def _submit(
    here: stage.Stage, client: PoolClient, settings: TrainSettings, prepared: PreparedJob
) -> wire.JobView:
    view = client.submit_job(
        kind=KIND, name=settings.name, spec=prepared.spec, blobs=list(prepared.blobs), budget=1_000_000_000
    )
    r = settings.rounds
    console.out.print(
        f"The job: a Llama of {console.count(prepared.parameters)} parameters, "
        f"{console.count(prepared.tokens)} tokens of Python,\n{settings.train.steps} steps. "
        f"Members meet after {r.first_inner_steps} steps at first and {r.last_inner_steps} in the end,\n"
        "and send what changed in 4 bits. Every contribution is scored on held-out text.\n"
        f"Its curve, live: {here.url}/{addresses.job(view.id)}\n"
    )
    return view


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What the demo claims in the end; every number is from the records."""

    bits_before: float | None
    bits_after: float | None
    killed: str
    killed_in_round: int | None
    kill_is_in_the_records: bool
    joined: str
    joined_in_round: int | None
    books_hold: bool = False
    served: dict[str, Any] | None = None
    evaluated: list[dict[str, Any]] = field(default_factory=list)
    members: list[dict[str, Any]]
    rounds: list[dict[str, Any]]


def _reported(client: PoolClient, view: wire.JobView, story: Incidents, folder: Path) -> Report:
    console.out.print()
    finish(client, view, folder / "model", json=False)
    found, members = list(client.rounds(view.id)), client.members()
    by_name = {part.name: part for part in incidents.parts(found, members)}
    victim, late = by_name[VICTIM], by_name[LATE]
    proved = incidents.missed_by(found, story.round_killed, victim)
    _tell_incidents(story, proved, late, len(found))
    _tell_earnings(list(by_name.values()))
    _tell_sample(client, view)
    losses = view.state["losses"]
    return Report(
        bits_before=losses["bits_before"],
        bits_after=losses["bits_now"],
        killed=VICTIM,
        killed_in_round=story.round_killed,
        kill_is_in_the_records=proved,
        joined=LATE,
        joined_in_round=late.rounds[0] if late.rounds else None,
        members=[asdict(part) for part in by_name.values()],
        rounds=[view.record for view in found],
    )


def _prove(client: PoolClient) -> bool:
    audit = client.verify()
    console.out.print(
        f"\nThe books {'hold' if audit.ok else 'DO NOT HOLD'}: {audit.journals} journals of training and serving "
        "sum to zero."
    )
    return audit.ok


def _tell_incidents(story: Incidents, proved: bool, late: incidents.Part, number: int) -> None:
    console.out.print("\n[dim]the two bad moments, as the records have them:[/]")
    where = f"{story.steps_done} of {story.steps_asked} steps into round {story.round_killed}"
    after = "which was folded without him" if proved else "but the records DO NOT SHOW it"
    console.out.print(f"  {VICTIM} was killed {where}, {after}.")
    if late.rounds:
        size = console.size(late.first_down_bytes)
        console.out.print(
            f"  {LATE} joined in round {late.rounds[0]}: she fetched the whole state once ({size}B), and\n"
            f"  contributed to {len(late.rounds)} of the last {number - late.rounds[0]} rounds."
        )
    else:
        console.out.print(f"  {LATE} joined, but DID NOT CONTRIBUTE.")


def _tell_earnings(parts: list[incidents.Part]) -> None:
    console.out.print("\n[dim]who did what, and earned what:[/]")
    rows = [
        (
            part.name,
            len(part.rounds),
            part.steps,
            console.count(part.tokens),
            console.size(part.up_bytes),
            console.size(part.down_bytes),
            console.money(part.microcredits),
        )
        for part in parts
    ]
    columns = ("member", "rounds", "steps", "tokens", "up", "down", "credits")
    console.out.print(console.table(columns, rows, right=columns[1:]))


def _tell_sample(client: PoolClient, view: wire.JobView) -> None:
    theta = BlobHash(view.state["theta"])
    sample = sample_text(view.spec, theta, client.get, PROMPT, max_new_tokens=60)
    console.out.print("\n[dim]a sample of what it writes:[/]")
    for line in sample.splitlines()[:8]:
        console.out.print(f"    {console.safe(line.expandtabs(4)[:74])}")


@contextmanager
def _operator(here: stage.Stage) -> Iterator[PoolClient]:
    key = here.folder / "admin.key"
    key.touch(mode=0o600)
    key.write_text(here.admin_key)
    client = PoolClient(here.url, here.admin_key, version=__version__)
    try:
        yield client
    finally:
        client.close()


@contextmanager
def _saying(text: str) -> Iterator[None]:
    """Only a word: what starts next takes seconds."""
    console.err.print(f"[dim]{text} ...[/]")
    yield


@contextmanager
def _signals_end() -> Iterator[None]:
    """SIGTERM, and a terminal that is closed, end the demo as ctrl-c does: with all that it started."""

    def end(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _clear(folder: Path) -> None:
    """Start anew, over an earlier demo only. Raises UserError."""
    if folder.is_dir() and any(folder.iterdir()) and not (folder / MARKER).exists():
        raise UserError(f"{folder} is not empty and no demo's", hint="choose another with --folder")
    try:
        if folder.is_dir():
            shutil.rmtree(folder)
        folder.mkdir(parents=True)
        (folder / MARKER).touch()
    except OSError as error:
        raise UserError(
            f"--folder: {folder} cannot be used: {error.strerror}", hint="choose one that you may write"
        ) from None
