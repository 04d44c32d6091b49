"""``commonweal demo``: the whole of it on one machine, with real processes and two bad moments on purpose.

A hub and three members are started as processes of their own; a tokenizer and a small Llama are trained on the
text of the Python standard library; one member is killed in mid-round and another joins late. Nothing here is
special: every step is a command that the README shows.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from commonweal import __version__, console
from commonweal.commands import following
from commonweal.commands.training import finish
from commonweal.core.errors import CommonwealError, Unavailable, UserError
from commonweal.core.hashing import BlobHash
from commonweal.data.sources import Source
from commonweal.data.tokenizer import TokenizerSettings
from commonweal.ledger.amounts import shown
from commonweal.models.settings import ModelSettings
from commonweal.pool import wire
from commonweal.pool.client import PoolClient
from commonweal.train.config import InnerSettings, KeepSettings, RoundSettings, TrainSettings
from commonweal.train.export import sample_text
from commonweal.train.prepare import PreparedJob, prepare_job
from commonweal.train.schedule import SyncOptions, rounds
from commonweal.train.spec import KIND

MARKER = ".commonweal-demo"
PROMPT = "def "
TEXT_BYTES = 8_000_000
SHARE_OF_TIME = 0.7
"""How much of the set minutes the inner steps may take; the rest is starting, folding and saying goodbye."""


@dataclass(slots=True)
class _Stage:
    """The processes of the demo, and when its two bad moments come."""

    folder: Path
    token: str
    url: str
    members: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    killed: bool = False
    joined: bool = False

    def start_member(self, name: str) -> None:
        arguments = ["join", self.url, "--token", self.token, "--name", name, "--threads", "1"]
        state = self.folder / "members" / name
        arguments += ["--state", str(state), "--max-load", "1", "--on-battery"]
        self.members[name] = _start(arguments, self.folder / f"{name}.log")


def run_demo(*, minutes: float, folder: Path) -> None:
    """Train for about ``minutes`` and show what happens. Everything is kept in ``folder``."""
    started = time.monotonic()
    _clear(folder)
    with ExitStack() as stack:
        stage = stack.enter_context(_hub(folder))
        client = stack.enter_context(_operator(stage))
        for name in ("ada", "ben", "cleo"):
            stage.start_member(name)
        settings, prepared = _prepare(client, folder, minutes)
        view = client.submit_job(
            kind=KIND,
            name=settings.name,
            spec=prepared.spec,
            blobs=list(prepared.blobs),
            budget=1_000_000_000,
        )
        console.out.print(
            f"job {view.id}: {console.count(prepared.parameters)} parameters, "
            f"{console.count(prepared.tokens)} tokens of text, {settings.train.steps} steps\n"
        )
        expected = _expected_rounds(settings)
        view = following.follow(
            client, view.id, json=False, each=lambda record: _bad_moments(stage, record, expected)
        )
        _report(client, view, folder)
    console.out.print(
        f"\n{time.monotonic() - started:.0f} s in all; everything is in {console.safe(folder)}/"
    )


def _prepare(client: PoolClient, folder: Path, minutes: float) -> tuple[TrainSettings, PreparedJob]:
    with console.err.status("reading the standard library, training a tokenizer"):
        first = prepare_job(demo_job(steps=100), folder / "data", client.put)
        steps = _affordable_steps(first, minutes, folder)
        settings = demo_job(steps=steps)
        return settings, prepare_job(settings, folder / "data", client.put)


def demo_job(*, steps: int) -> TrainSettings:
    """The job of the demo: a Llama of about a million parameters."""
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
        rounds=RoundSettings(min_members=2),
        checkpoints=KeepSettings(evaluate_every=2),
    )


def _affordable_steps(prepared: PreparedJob, minutes: float, folder: Path) -> int:
    """How many steps three members can take in the set time, from the measured speed of one."""
    speed = subprocess.run(
        [sys.executable, "-c", _SPEED, str(prepared.spec["model"]["vocab_size"])],
        capture_output=True,
        env=_environment(),
        check=False,
    )
    try:
        seconds = float(speed.stdout)
    except ValueError:
        raise CommonwealError(
            f"the speed could not be measured: {speed.stderr.decode(errors='replace')[-300:]}"
        ) from None
    crowding = max(1.0, 3 / (os.cpu_count() or 1))
    return max(40, min(20_000, int(SHARE_OF_TIME * 60 * minutes / (seconds * crowding))))


_SPEED = """
import sys, time, torch
from commonweal.commands.demo import demo_job
from commonweal.models.architecture import build
torch.set_num_threads(1)
job = demo_job(steps=1)
model = build(job.model, vocab_size=int(sys.argv[1]), seq_len=job.train.seq_len, seed=0)
optimizer = torch.optim.AdamW(model.parameters())
ids = torch.zeros((job.train.batch_size, job.train.seq_len), dtype=torch.long)
for step in range(8):
    if step == 3:
        start = time.perf_counter()
    model(input_ids=ids, labels=ids).loss.backward()
    optimizer.step()
print((time.perf_counter() - start) / 5)
"""


def _expected_rounds(settings: TrainSettings) -> int:

    r = settings.rounds
    sync = SyncOptions(first=r.first_inner_steps, last=r.last_inner_steps, growth=r.growth)
    return len(rounds(settings.train.steps or 0, sync))


def _bad_moments(stage: _Stage, record: wire.RoundView, expected: int) -> None:
    """A third of the way one member dies in mid-round; at half, another joins."""
    if not stage.killed and record.number >= expected // 3:
        time.sleep(record.record["seconds"] / 3)
        stage.members["ben"].kill()
        stage.killed = True
        console.out.print(
            "      [yellow]ben was killed in mid-round[/]: its lease runs out, the others go on"
        )
    if not stage.joined and record.number >= expected // 2:
        stage.start_member("dora")
        stage.joined = True
        console.out.print("      [yellow]dora joins late[/]: she fetches the full state once")


def _report(client: PoolClient, view: wire.JobView, folder: Path) -> None:
    console.out.print()
    finish(client, view, folder / "model", json=False)
    theta = BlobHash(view.state["theta"])
    sample = sample_text(view.spec, theta, client.get, PROMPT, max_new_tokens=60)
    console.out.print("\n[dim]a sample of what it writes:[/]")
    for line in sample.splitlines()[:8]:
        console.out.print(f"    {console.safe(line[:76])}")
    console.out.print("\n[dim]who earned what:[/]")
    console.out.print(console.members_table(client.members()))
    audit = client.verify()
    console.out.print(
        f"\nthe books {'hold' if audit.ok else 'DO NOT HOLD'}: {audit.journals} journals, "
        f"{shown(view.spent)} credits paid"
    )


@contextmanager
def _hub(folder: Path) -> Iterator[_Stage]:
    """A hub process on a free port; everything is stopped at the end."""
    log = folder / "hub.log"
    hub = _start(
        ["hub", "--folder", str(folder / "hub"), "--port", "0", "--lease-seconds", "5"]
        + ["--heartbeat-seconds", "1"],
        log,
    )
    stage: _Stage | None = None
    try:
        with console.err.status("starting a hub"):
            words = _announced(hub, log)
        stage = _Stage(folder=folder, token=words["join token"], url=words["url"])
        (folder / "admin.key").write_text(words["admin key"])
        (folder / "admin.key").chmod(0o600)
        console.out.print(f"hub on {stage.url}, with its own PostgreSQL and a folder of blobs")
        yield stage
    finally:
        for process in [*(stage.members.values() if stage else ()), hub]:
            _stop(process)


@contextmanager
def _operator(stage: _Stage) -> Iterator[PoolClient]:
    client = PoolClient(stage.url, (stage.folder / "admin.key").read_text(), version=__version__)
    try:
        yield client
    finally:
        client.close()


def _announced(hub: subprocess.Popen[bytes], log: Path, seconds: float = 90.0) -> dict[str, str]:
    """What the hub says of itself when it starts."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and hub.poll() is None:
        words = {}
        for line in log.read_text().splitlines():
            for name in ("admin key", "join token"):
                if line.strip().startswith(name):
                    words[name] = line.split()[-1]
            if " on http://" in line:
                words["url"] = line.split(" on ")[-1].strip()
        if len(words) == 3:
            return words
        time.sleep(0.1)
    raise Unavailable("the hub did not start", hint=f"read {log}")


def _start(arguments: list[str], log: Path) -> subprocess.Popen[bytes]:
    with log.open("ab") as out:
        return subprocess.Popen(
            [sys.executable, "-u", "-m", "commonweal", *arguments],
            stdout=out,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env=_environment(),
            start_new_session=True,
        )


def _environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _clear(folder: Path) -> None:
    """Start anew, over an earlier demo only. Raises UserError."""
    if folder.exists() and any(folder.iterdir()) and not (folder / MARKER).exists():
        raise UserError(f"{folder} is not empty and no demo's", hint="choose another with --folder")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / MARKER).touch()
