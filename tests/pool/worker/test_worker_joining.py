"""``commonweal join``, from its flags to the machine: what they reach, what serves when, and the unit for systemd."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from test_worker_agent import BATTERY, GOOD, Member, Weather
from typer.testing import CliRunner
from worker_fake_hub import TOKEN, FakeHub, served

from commonweal import console
from commonweal.cli import app
from commonweal.commands import answering, lending
from commonweal.core.clock import ManualClock
from commonweal.pool.worker import events
from commonweal.pool.worker.agent import Agent
from commonweal.pool.worker.limits import parse_hours
from commonweal.pool.worker.options import AgentOptions
from commonweal.pool.worker.throttle import TokenBucket

torch = pytest.importorskip("torch")


@pytest.fixture
def hub() -> FakeHub:
    return FakeHub()


@pytest.fixture
def url(hub: FakeHub) -> Iterator[str]:
    with served(hub) as url:
        yield url


@pytest.fixture
def join(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, url: str) -> Callable[..., Any]:
    """The command in this process, with its state in a folder of its own."""
    monkeypatch.setattr(lending.machine, "give_way", lambda: None)

    def join(*flags: str) -> Any:
        words = [
            "join",
            url,
            "--token",
            TOKEN,
            "--state",
            str(tmp_path / "member"),
            "--device",
            "cpu",
            *flags,
        ]
        return CliRunner().invoke(app, words, catch_exceptions=False)

    return join


def test_flags_reach_the_agent(monkeypatch: pytest.MonkeyPatch, join: Callable[..., Any]) -> None:
    got: list[AgentOptions] = []
    monkeypatch.setattr(lending, "lend", lambda wishes: got.append(lending._options(wishes)))
    join(
        *("--threads", "3", "--memory", "4GB", "--hours", "22-7", "--upload-limit", "10mbit"),
        *("--roles", "serve,train", "--max-load", "0.5", "--on-battery"),
    )
    join("--max-load", "1")
    assert got[0] == AgentOptions(
        threads=3,
        memory=4 * 10**9,
        hours=parse_hours("22-7"),
        upload_limit=1_250_000.0,
        roles=("serve", "train"),
        device="cpu",
        max_load=0.5,
        on_battery=True,
    )
    assert (got[1].max_load, got[1].upload_limit, got[1].on_battery) == (None, None, False)


def test_threads_reach_torch(monkeypatch: pytest.MonkeyPatch, join: Callable[..., Any]) -> None:
    before, seen = torch.get_num_threads(), []

    def run(agent: Agent, stop: threading.Event) -> None:
        seen.append(torch.get_num_threads())
        other = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
        other.start()
        other.join()

    monkeypatch.setattr(Agent, "run", run)
    torch.set_num_threads(2)
    try:
        join("--threads", "1", "--roles", "train")
    finally:
        torch.set_num_threads(before)
    assert seen == [1, 1]


class Serving:
    """In place of the connection over which asks come."""

    made: list[Serving]

    def __init__(self, settings: Any, engine: Any, get: Any, told: Any) -> None:
        self.settings, self.running = settings, threading.Event()
        self.made.append(self)

    def start(self) -> None:
        self.running.set()

    def stop(self) -> None:
        self.running.clear()


@pytest.fixture
def serving(monkeypatch: pytest.MonkeyPatch) -> list[Serving]:
    Serving.made = []
    monkeypatch.setattr(answering, "ServingMember", Serving)
    monkeypatch.setattr(answering.Answering, "_local", lambda self: None)
    return Serving.made


def part_of_a_machine() -> answering.Answering:
    lent = answering.Lent(url="http://hub.test", folder=Path(), memory=1, threads=1, device="cpu")
    return answering.Answering(lent, lambda: "key", lambda told: None)


def test_nothing_is_served_before_the_first_look_at_the_machine(
    monkeypatch: pytest.MonkeyPatch, join: Callable[..., Any], serving: list[Serving]
) -> None:
    was: dict[str, bool] = {}

    def run(agent: Agent, stop: threading.Event) -> None:
        was["before"] = serving[0].running.is_set()
        agent._listen(events.Paused(reason="hours", message="not now"))
        was["paused"] = any(each.running.is_set() for each in serving)
        agent._listen(events.Resumed())
        was["resumed"] = serving[-1].running.wait(10)

    monkeypatch.setattr(Agent, "run", run)
    join("--roles", "serve")
    assert was == {"before": False, "paused": False, "resumed": True}
    assert not serving[-1].running.is_set(), "it has left in the end"


def test_a_machine_that_may_work_serves_at_once(serving: list[Serving]) -> None:
    part = part_of_a_machine()
    part.prepare()
    part.heard(events.Ready())
    assert serving[0].running.wait(10)
    part.close()
    part.start()
    assert len(serving) == 1, "what is closed stays so"


@pytest.mark.parametrize(("looks", "told"), [([GOOD], ["Ready"]), ([BATTERY, GOOD], ["Paused", "Resumed"])])
def test_the_agent_tells_what_its_first_look_has_found(
    tmp_path: Path, hub: FakeHub, looks: list[Any], told: list[str]
) -> None:
    member = Member(tmp_path, hub)
    member.surroundings = Weather(list(looks))
    hub.when_idle = member.stop.set
    member.run()
    assert member.names() == ["Joined", *told, "Left"]


def test_answers_and_contributions_share_one_limit(
    monkeypatch: pytest.MonkeyPatch, join: Callable[..., Any], serving: list[Serving]
) -> None:
    agents: list[Agent] = []
    monkeypatch.setattr(Agent, "run", lambda agent, stop: agents.append(agent))
    join("--roles", "serve", "--upload-limit", "100kbit")
    (agent,) = agents
    assert agent.bucket.rate == 12_500
    pace = serving[0].settings.pace
    agent.bucket.reserve(125_000)
    assert 9 < pace(0) <= 10, "answers wait for what contributions have sent"
    assert 19 < pace(125_000) <= 20


def test_a_limited_upload_goes_in_pieces_of_a_quarter_of_a_second() -> None:
    clock = ManualClock()
    assert TokenBucket(12_500, clock).piece() == 3125
    assert TokenBucket(100, clock).piece() == 1024
    assert TokenBucket(None, clock).piece() == TokenBucket(1e9, clock).piece() == 65536


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "home").mkdir()
    (tmp_path / "model.gguf").write_bytes(b"GGUF")
    (tmp_path / "server").write_text("#!/bin/sh\n")
    (tmp_path / "server").chmod(0o755)
    return tmp_path / "home"


def service(url: str, home: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    words = ["join", url, "--service", "--state", "./x", "--roles", "serve", "--device", "cpu", *flags]
    return subprocess.run(
        [sys.executable, "-m", "commonweal", *words],
        cwd=home.parent,
        env=os.environ | {"HOME": str(home), "COMMONWEAL_TOKEN": ""},
        capture_output=True,
        text=True,
        timeout=120,
    )


def unit_command(home: Path) -> list[str]:
    unit = (home / ".config/systemd/user/commonweal.service").read_text()
    (line,) = [line for line in unit.splitlines() if line.startswith("ExecStart=")]
    return shlex.split(line.removeprefix("ExecStart="))


def test_a_service_joins_first_and_runs_the_command_from_any_folder(
    url: str, hub: FakeHub, home: Path
) -> None:
    own = ("--engine", "llama.cpp:model.gguf", "--engine-program", "./server")
    done = service(url, home, "--token", TOKEN, "--json", "--hours=22-7", *own)
    assert done.returncode == 0, done.stderr
    told = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["event"] for line in told] == ["joined", "service"]
    assert told[1]["unit"] == str(home / ".config/systemd/user/commonweal.service")
    assert told[1]["commands"][0] == "systemctl --user daemon-reload"
    assert len(hub.registrations) == 1
    assert (home.parent / "x" / "identity.json").exists(), "it is a member already"
    program, *words = unit_command(home)
    assert Path(program).is_absolute()
    assert TOKEN not in " ".join(words)
    assert words == [
        *("join", url, "--roles", "serve", "--device", "cpu", "--hours=22-7"),
        *("--state", str(home.parent / "x"), "--engine-program", str(home.parent / "server")),
        *("--engine", f"llama.cpp:{home.parent / 'model.gguf'}"),
    ]


def test_a_service_says_what_to_run(url: str, home: Path) -> None:
    done = service(url, home, f"--token={TOKEN}")
    assert done.returncode == 0, done.stderr
    assert "now run:\n  systemctl --user daemon-reload\n" in done.stdout
    assert TOKEN not in " ".join(unit_command(home))


@pytest.mark.parametrize(
    ("event", "line"),
    [
        (events.Leased(unit="u", job="j", kind="k", amount=20), "working: 20 steps to do"),
        (events.Downloading(here=1_200_000_000, size=4_800_000_000), "downloading: 1.2G of 4.8GB"),
        (events.Progressed(unit="u", amount_done=3, amount=20), "working: 3 of 20 steps"),
        (events.Uploading(unit="u", size=71_000), "uploading 71.0kB"),
        (events.Ready(), "waiting for work"),
        (events.Paused(reason="hours", message="outside the hours"), "paused: outside the hours"),
        (events.Waiting(reason="the hub is away", seconds=3), "waiting: the hub is away"),
    ],
)
def test_what_goes_on_stands_below(event: events.Event, line: str) -> None:
    said: list[str] = []
    lending.Display(said.append)(event)
    assert said == [line]


@pytest.mark.parametrize("flags", [(), ("--json",)])
def test_a_line_says_that_torch_loads(
    monkeypatch: pytest.MonkeyPatch, join: Callable[..., Any], flags: tuple[str, ...]
) -> None:
    lines: list[tuple[str, bool]] = []

    @contextmanager
    def live_line(text: str, *, shown: bool = True) -> Iterator[Callable[[str], None]]:
        yield lambda said: lines.append((said, shown))

    monkeypatch.setattr(console, "live_line", live_line)
    monkeypatch.setattr(Agent, "run", lambda agent, stop: None)
    join("--roles", "train", *flags)
    assert lines[0] == ("loading torch", not flags)
