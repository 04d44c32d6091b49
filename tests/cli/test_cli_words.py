"""The command line without a hub: help, versions, and one clear message for every mistake."""

from __future__ import annotations

import contextlib
import http.server
import io
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import click
import pytest
import typer.main

from commonweal.cli import app, main

COMMANDS = (
    "hub",
    "join",
    "train",
    "jobs",
    "models",
    "improve",
    "status",
    "members",
    "credits",
    "keys",
    "demo",
)
COMMANDS += ("eval", "leaderboard", "compare", "release", "refresh", "import-helm", "site")
COMMANDS += ("import-results", "label")
MODELS_COMMANDS = ("publish", "retire")
JOBS_COMMANDS = ("show", "pause", "resume", "cancel", "export")
EVERY = [(), *((c,) for c in COMMANDS), *(("jobs", c) for c in JOBS_COMMANDS)]
EVERY += [("models", c) for c in MODELS_COMMANDS]
WITHOUT_JSON = {"demo"}

NOBODY = "http://127.0.0.1:1"
JOB = """
name = "test"
[data]
kind = "files"
path = "{data}"
[tokenizer]
kind = "bytes"
[model]
config = {{ hidden_size = 32, num_hidden_layers = 1 }}
[train]
steps = 4
seq_len = 32
batch_size = 4
"""


def run(*arguments: str, environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """The command in this process: what it prints, and its exit code."""
    out, err, code = io.StringIO(), io.StringIO(), 0
    with (
        mock.patch.dict(os.environ, environment or {}),
        mock.patch.object(sys, "argv", ["commonweal", *arguments]),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        for name in set(os.environ) - set(environment or {}):
            if name.startswith("COMMONWEAL_"):
                del os.environ[name]
        try:
            main()
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    return subprocess.CompletedProcess(arguments, code, out.getvalue(), err.getvalue())


def run_process(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own: what changes its process, or must be seen from outside."""
    own = {key: value for key, value in os.environ.items() if not key.startswith("COMMONWEAL_")}
    return subprocess.run(
        [sys.executable, "-m", "commonweal", *arguments],
        capture_output=True,
        text=True,
        env={**own, "OMP_NUM_THREADS": "1"},
        timeout=120,
        check=False,
        stdin=subprocess.DEVNULL,
    )


def assert_clear(done: subprocess.CompletedProcess[str], code: int, *words: str) -> None:
    """One message, which says what was wrong and what to do, in words."""
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    assert "\x1b" not in done.stderr
    assert done.stdout == ""
    assert done.stderr.startswith("error: ")
    assert 1 <= len(done.stderr.splitlines()) <= 4
    for word in words:
        assert word in done.stderr


def group() -> click.Group:
    made = typer.main.get_command(app)
    assert hasattr(made, "commands")
    return made  # type: ignore[no-any-return]


def test_these_are_the_commands() -> None:
    """Few commands: whoever adds one says so here."""
    commands = group().commands
    assert tuple(sorted(commands)) == tuple(sorted(COMMANDS))
    assert tuple(sorted(commands["models"].commands)) == MODELS_COMMANDS  # type: ignore[attr-defined]
    assert tuple(sorted(commands["jobs"].commands)) == tuple(sorted(JOBS_COMMANDS))  # type: ignore[attr-defined]


def test_every_command_prints_json_and_says_what_each_option_does() -> None:
    commands = group().commands
    for name, command in [*commands.items(), *commands["jobs"].commands.items()]:  # type: ignore[attr-defined]
        options = {opt for parameter in command.params for opt in parameter.opts}
        assert ("--json" in options) == (name not in WITHOUT_JSON), name
        for parameter in command.params:
            assert getattr(parameter, "help", None), f"{name} {parameter.name} has no help"


@pytest.mark.parametrize("command", EVERY, ids=" ".join)
def test_help_fits_a_terminal(command: tuple[str, ...]) -> None:
    done = run(*command, "--help")
    assert done.returncode == 0
    assert done.stderr == ""
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert "\x1b" not in done.stdout


def test_version() -> None:
    assert re.fullmatch(r"commonweal \d+\.\d+\.\d+\S*\n", run_process("--version").stdout)


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("trian",), "trian"),
        (("status", "--colour"), "--colour"),
        (("hub", "--port", "70000"), "--port"),
        (("train",), "JOB"),
        (("jobs", "show"), "JOB"),
    ],
)
def test_a_command_line_that_cannot_be_read(arguments: tuple[str, ...], word: str) -> None:
    done = run(*arguments)
    assert done.returncode == 2
    assert word.lower() in done.stderr.lower()
    assert "Traceback" not in done.stderr


# ---- the hub is away ------------------------------------------------------------------------------------------


def test_no_key() -> None:
    assert_clear(run("status"), 2, "no key", "--key", "COMMONWEAL_KEY")


@pytest.mark.parametrize("hub", [NOBODY, "http://hub.invalid"])
def test_a_hub_that_is_away_is_told_within_seconds(hub: str) -> None:
    start = time.monotonic()
    done = run_process("status", "--hub", hub, "--key", "k" * 20)
    assert_clear(done, 4, "no hub answers at", hub, "--hub")
    assert time.monotonic() - start < 30, "most of which is a busy machine's"


def test_an_address_that_swallows_everything_is_told_within_seconds() -> None:
    """A listener whose queue is full answers no SYN, as an address behind a firewall."""
    from commonweal.commands import reaching
    from commonweal.core.errors import Unavailable

    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        waiting = [socket.socket() for _ in range(8)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(full.getsockname())
        start = time.monotonic()
        with pytest.raises(Unavailable, match="no hub answers"):
            reaching.greet(f"http://127.0.0.1:{full.getsockname()[1]}")
        assert time.monotonic() - start < 25
        for one in waiting:
            one.close()


@pytest.fixture
def web_server() -> Iterator[str]:
    class Silent(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Silent)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()


def test_something_else_is_at_that_address(web_server: str) -> None:
    assert_clear(run("status", "--hub", web_server, "--key", "k" * 20), 4, "no hub answers", "404")


@pytest.mark.parametrize("hub", ["ftp://hub", "http://", "hub example", "http://[::1"])
def test_an_address_that_cannot_be_one(hub: str) -> None:
    assert_clear(run("status", "--hub", hub, "--key", "k" * 20), 2, "not the address of a hub")


def test_joining_a_hub_needs_a_token_the_first_time(tmp_path: Path) -> None:
    assert_clear(
        run_process("join", NOBODY, "--state", str(tmp_path / "m")), 3, "not a member yet", "--token"
    )


@pytest.mark.parametrize(
    ("flag", "value"),
    [
        ("--memory", "lots"),
        ("--hours", "25-3"),
        ("--upload-limit", "10"),
        ("--roles", "cook"),
        ("--device", "abacus"),
    ],
)
def test_flags_of_join_are_checked(tmp_path: Path, flag: str, value: str) -> None:
    done = run_process("join", NOBODY, "--token", "t" * 20, "--state", str(tmp_path / "m"), flag, value)
    assert_clear(done, 2, value)


# ---- the hub command ------------------------------------------------------------------------------------------


def test_a_port_in_use(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        assert_clear(run("hub", "--folder", str(tmp_path / "h"), "--port", port), 2, port, "--port")


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = run("hub", "--folder", str(tmp_path / "file" / "hub"), "--port", "0")
    assert_clear(done, 2, "--folder")


def test_a_database_that_is_none(tmp_path: Path) -> None:
    done = run("hub", "--folder", str(tmp_path), "--port", "0", "--database", "mysql://x:secret@y/z")
    assert_clear(done, 2, "--database", "postgresql://")
    assert "secret" not in done.stderr


# ---- job files ------------------------------------------------------------------------------------------------


def train(file: Path) -> subprocess.CompletedProcess[str]:
    return run("train", str(file), "--hub", NOBODY, "--key", "k" * 20)


BAD_FILES: dict[str, tuple[str, tuple[str, ...]]] = {
    "bad TOML": ("name = \n", ("not valid TOML", "line 1")),
    "an unknown key": (
        'name = "x"\n[train]\nstepps = 3\n',
        ("unknown key 'stepps'", "did you mean 'steps'?"),
    ),
    "an unknown table": (
        'name = "x"\n[trian]\nsteps = 3\n',
        ("unknown key 'trian'", "did you mean 'train'?"),
    ),
    "a wrong type": ('name = "x"\n[train]\nsteps = "many"\n', ("train: steps", "expected int", "'many'")),
    "no name": ("[train]\nsteps = 3\n", ("missing key 'name'", "name = ...")),
    "no end": ('name = "x"\n[train]\nlr = 0.1\n', ("steps", "tokens")),
    "an impossible number": ('name = "x"\n[train]\nsteps = 0\n', ("steps: must be at least 1",)),
    "an unknown codec": (
        'name = "x"\n[train]\nsteps = 1\n[rounds]\ncodec_up = "int3"\n',
        ("codec_up", "int3"),
    ),
}


@pytest.mark.parametrize("kind", BAD_FILES)
def test_a_job_file_that_cannot_be_used(tmp_path: Path, kind: str) -> None:
    text, words = BAD_FILES[kind]
    file = tmp_path / "job.toml"
    file.write_text(text)
    assert_clear(train(file), 2, str(file), *words)


def test_a_job_file_that_cannot_be_read(tmp_path: Path) -> None:
    assert_clear(train(tmp_path / "none.toml"), 2, "none.toml", "no such file")
    assert_clear(train(tmp_path), 2, str(tmp_path), "is a folder")
    (tmp_path / "latin.toml").write_bytes('name = "caf\xe9"'.encode("latin-1"))
    assert_clear(train(tmp_path / "latin.toml"), 2, "not UTF-8 (byte 11)")


def test_where_the_model_is_to_go_is_looked_at_first(tmp_path: Path) -> None:
    (tmp_path / "job.toml").write_text(JOB.format(data=tmp_path))
    (tmp_path / "file").write_text("")
    done = run(
        *("train", str(tmp_path / "job.toml"), "--out", str(tmp_path / "file" / "model")),
        *("--hub", NOBODY, "--key", "k" * 20),
    )
    assert_clear(done, 2, "--out", "cannot be written")
