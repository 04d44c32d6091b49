"""Real processes for tests: a hub that can be killed, members that can be stopped, and the command line."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from commonweal import __version__
from commonweal.commands import stage
from commonweal.core.config import from_table
from commonweal.core.errors import Unavailable
from commonweal.pool import wire
from commonweal.pool.client import PoolClient
from commonweal.train.config import TrainSettings
from commonweal.train.prepare import prepare_job
from commonweal.train.spec import KIND

PATIENCE = 180.0
"""Seconds for anything to happen: the machine may be busy with other things."""

LEASE_SECONDS = 4.0

_WORDS = [
    "the",
    "a",
    "cat",
    "dog",
    "sees",
    "likes",
    "bites",
    "small",
    "big",
    "red",
    "bird",
    "house",
    "on",
    "in",
    "under",
    "and",
    "then",
]


def wait_until(what: str, happened: Callable[[], Any], seconds: float = PATIENCE) -> Any:
    """The first true value of ``happened``."""
    end = time.monotonic() + seconds
    while not (value := happened()):
        assert time.monotonic() < end, f"it did not happen: {what}"
        time.sleep(0.02)
    return value


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def place() -> Iterator[Path]:
    """A folder for a hub. Not one of pytest's: the embedded PostgreSQL of root runs as another user, and whenever a
    pytest starts it takes that user's way to them."""
    folder = Path(tempfile.mkdtemp(prefix="commonweal-tests-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def write_texts(folder: Path) -> Path:
    folder.mkdir()
    words = random.Random(0)
    for number in range(100):
        (folder / f"{number:03d}.txt").write_text(" ".join(words.choice(_WORDS) for _ in range(120)) + ".\n")
    return folder


def job_table(texts: Path, **sections: dict[str, Any]) -> dict[str, Any]:
    """A job small enough for tests: raw bytes, one narrow layer."""
    table: dict[str, Any] = {
        "name": "tiny",
        "data": {"kind": "files", "path": str(texts)},
        "tokenizer": {"kind": "bytes"},
        "model": {"config": {"hidden_size": 32, "num_hidden_layers": 1}},
        "train": {"steps": 60, "seq_len": 32, "batch_size": 4, "lr": 0.01, "warmup": 0.0},
        "rounds": {"plan": False, "first_inner_steps": 8, "last_inner_steps": 8, "min_members": 2},
        "checks": {"score_batches": 8},
        "checkpoints": {"evaluate_every": 1},
    }
    for name, values in sections.items():
        table[name] = {**table.get(name, {}), **values} if name != "model" else values
    return table


def as_toml(table: dict[str, Any]) -> str:
    """The part of TOML that job files need; JSON's strings, numbers and lists are TOML's."""

    def value(item: Any) -> str:
        if isinstance(item, dict):
            return "{ " + ", ".join(f"{k} = {value(v)}" for k, v in item.items()) + " }"
        return json.dumps(item)

    plain = [f"{key} = {value(item)}" for key, item in table.items() if not isinstance(item, dict)]
    for name, section in table.items():
        if isinstance(section, dict):
            plain += [f"[{name}]", *(f"{key} = {value(item)}" for key, item in section.items())]
    return "\n".join(plain) + "\n"


@dataclass
class HubProcess:
    """``commonweal hub`` on a folder and a port of its own, and with ``flags`` and ``surroundings`` as given."""

    folder: Path
    flags: tuple[str, ...] = ()
    surroundings: dict[str, str] = field(default_factory=dict)
    port: int = field(default_factory=free_port)
    process: stage.Process | None = None
    keys: dict[str, str] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> Path:
        return self.folder / "hub.log"

    def start(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        said = len(stage.events(self.log)) if self.log.exists() else 0
        arguments = ["hub", "--folder", str(self.folder / "hub"), "--port", str(self.port), "--json"]
        pace = ["--lease-seconds", str(LEASE_SECONDS), "--heartbeat-seconds", "0.5"]
        self.process = stage.start([*arguments, *pace, *self.flags], self.log, self.surroundings)

        def announced() -> Any:
            assert self.process is not None
            assert self.process.poll() is None, self.log.read_text()
            return stage.events(self.log)[said:]

        told = wait_until("the hub starts", announced)[0]
        self.keys = {**self.keys, **told}
        client = self.client()
        wait_until("the hub answers", lambda: _answers(client))
        client.close()

    def client(self) -> PoolClient:
        return PoolClient(self.url, self.keys["admin_key"], version=__version__)

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        assert self.process is not None
        if self.process.poll() is None:
            stage.stop([self.process])
        stage.stop_database(self.folder / "hub" / "postgres")

    def environment(self) -> dict[str, str]:
        return {"COMMONWEAL_HUB": self.url, "COMMONWEAL_KEY": self.keys["admin_key"]}


def _answers(client: PoolClient) -> bool:
    try:
        client.hello()
    except Unavailable:
        return False
    return True


@dataclass
class MemberProcess:
    """``commonweal join`` with a state folder of its own."""

    hub: HubProcess
    name: str
    folder: Path
    flags: tuple[str, ...] = ()
    process: stage.Process | None = None

    @property
    def log(self) -> Path:
        return self.folder / f"{self.name}.log"

    def start(self) -> None:
        arguments = ["join", self.hub.url, "--name", self.name, "--state", str(self.folder / self.name)]
        arguments += ["--threads", "1", "--max-load", "1", "--on-battery", "--json", *self.flags]
        self.process = stage.start(arguments, self.log, {"COMMONWEAL_TOKEN": self.hub.keys["join_token"]})

    def events(self, kind: str = "") -> list[dict[str, Any]]:
        found = stage.events(self.log) if self.log.exists() else []
        return [event for event in found if not kind or event["event"] == kind]

    @property
    def id(self) -> str:
        return str(wait_until(f"{self.name} joins", lambda: self.events("joined"))[-1]["member"])

    def signal(self, number: int) -> None:
        """Send a signal; a member that is to stop has stopped when this returns."""
        assert self.process is not None
        self.process.send_signal(number)
        if number == signal.SIGSTOP:
            os.waitpid(self.process.pid, os.WUNTRACED)
        if number == signal.SIGKILL:
            self.process.wait()

    def halt_when(self, kind: str) -> None:
        """Stop the member at a moment when the last thing that it did was ``kind``."""

        def caught() -> bool:
            if self.events()[-1]["event"] != kind:
                return False
            self.signal(signal.SIGSTOP)
            if self.events()[-1]["event"] == kind:
                return True
            self.signal(signal.SIGCONT)
            return False

        wait_until(f"{self.name} is at '{kind}'", caught)

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            stage.stop([self.process])


def commonweal(
    *arguments: str,
    hub: HubProcess | None = None,
    environment: dict[str, str] | None = None,
    seconds: float = PATIENCE,
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, as from a shell without a terminal."""
    own = {key: value for key, value in os.environ.items() if not key.startswith("COMMONWEAL_")}
    given = {**own, "OMP_NUM_THREADS": "1", **(hub.environment() if hub else {}), **(environment or {})}
    return subprocess.run(
        [sys.executable, "-m", "commonweal", *arguments],
        capture_output=True,
        text=True,
        env=given,
        timeout=seconds,
        check=False,
        stdin=subprocess.DEVNULL,
    )


def submit(client: PoolClient, table: dict[str, Any], work: Path) -> wire.JobView:
    settings = from_table(table, TrainSettings, where="test")
    prepared = prepare_job(settings, work, client.put)
    return client.submit_job(
        kind=KIND, name=settings.name, spec=prepared.spec, blobs=list(prepared.blobs), budget=10**9
    )


def ended(client: PoolClient, job: str) -> wire.JobView:
    def view() -> wire.JobView | None:
        found = client.job(job)
        return found if found.status != "running" else None

    found: wire.JobView = wait_until(f"{job} ends", view)
    return found


def records(client: PoolClient, job: str) -> list[dict[str, Any]]:
    return [view.record for view in client.rounds(job)]


def verdicts(record: dict[str, Any]) -> dict[str, str]:
    return {member["member"]: member["verdict"] for member in record["members"]}


def accepted_rounds(client: PoolClient, job: str, member: str) -> int:
    return sum(verdicts(record).get(member) == "ok" for record in records(client, job))


def _between_two_folds(client: PoolClient, job: str) -> tuple[int, int]:
    """What a job has spent, and what its records say, of one moment: it may go on while it is looked at."""

    def read() -> tuple[int, int] | None:
        before = client.job(job).spent
        recorded = sum(record["paid"] for record in records(client, job))
        return (before, recorded) if client.job(job).spent == before else None

    found: tuple[int, int] = wait_until(f"{job} is looked at between two folds", read)
    return found


def assert_books_are_exact(hub: HubProcess, client: PoolClient, jobs: Iterable[str]) -> None:
    """The books replay, and every job paid what its records say."""
    proof = commonweal("credits", "--verify", "--json", hub=hub)
    assert proof.returncode == 0, proof.stderr
    assert json.loads(proof.stdout)["ok"]
    for job in jobs:
        spent, recorded = _between_two_folds(client, job)
        assert spent == recorded
    earned = sum(member.earned for member in client.members())
    assert earned <= sum(job.spent for job in client.jobs())  # what was forfeited is nobody's
