"""The command line with a hub: what is printed, for programs and for people, and how it ends."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

from test_cli_words import JOB, assert_clear, run

from commonweal import __version__
from commonweal.commands import stage
from commonweal.core.ids import new_id
from commonweal.pool import wire
from commonweal.pool.client import PoolClient
from commonweal.pool.worker.client import HubClient

HOSTILE = "\x9b31m[bold red]evil[/]\u202e"


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """Not one of pytest's: root's embedded PostgreSQL runs as another user, who has no way to those."""
    with tempfile.TemporaryDirectory(prefix="commonweal-tests-", ignore_cleanup_errors=True) as made:
        yield Path(made)


@pytest.fixture(scope="module")
def keys(folder: Path) -> Iterator[dict[str, str]]:
    """A hub process; what it told of itself when it started."""
    log = folder / "hub.log"
    hub = stage.start(["hub", "--folder", str(folder / "hub"), "--port", "0", "--json"], log)
    try:
        end = time.monotonic() + 180
        while not (told := stage.events(log)):
            assert hub.poll() is None, log.read_text()
            assert time.monotonic() < end
            time.sleep(0.05)
        yield told[0]
    finally:
        stage.stop([hub])
        stage.stop_database(folder / "hub" / "postgres")


@pytest.fixture(scope="module")
def shell(keys: dict[str, str]) -> dict[str, str]:
    return {"COMMONWEAL_HUB": keys["url"], "COMMONWEAL_KEY": keys["admin_key"]}


@pytest.fixture(scope="module")
def member(keys: dict[str, str]) -> str:
    """A member whose name is an attack on terminals."""
    client = HubClient(keys["url"], version=__version__)
    body = wire.Register(
        name=HOSTILE, client_version=__version__, roles=["train"], platform={}, request_id=new_id("req")
    )
    registered = client.register(body, keys["join_token"])
    client.close()
    return registered.member


@pytest.fixture(scope="module")
def texts(folder: Path) -> Path:
    texts = folder / "texts"
    texts.mkdir()
    for number in range(60):
        (texts / f"{number}.txt").write_text("the cat sees the dog and the bird under the house. " * 8)
    return texts


@pytest.fixture(scope="module")
def job(folder: Path, texts: Path, shell: dict[str, str]) -> str:
    """A job that waits for members for ever."""
    (folder / "job.toml").write_text(JOB.format(data=texts))
    done = run(
        "train", str(folder / "job.toml"), "--work", str(folder / "work"), "--detach", environment=shell
    )
    assert done.returncode == 0, done.stderr
    assert "--follow" in done.stdout, "it says how to look again"
    found = re.search(r"job_\w+", done.stdout)
    assert found
    return found.group()


def test_every_command_prints_one_json_document(
    shell: dict[str, str], job: str, member: str, folder: Path
) -> None:
    documents: dict[str, Any] = {}
    for words in (
        *("status", "members", "jobs", f"jobs show {job}", "credits", "credits --verify"),
        *(
            "credits --account operator",
            f"credits --export {folder}/books.jsonl",
            "keys user ada",
            "keys revoke user:ada",
        ),
        *(f"jobs export {job} --out {folder}/model", f"jobs pause {job}", f"jobs resume {job} --budget 1"),
        f"credits --grant member:{member}=1.5",
    ):
        done = run(*words.split(), "--json", environment=shell)
        assert done.returncode == 0, f"{words}: {done.stderr}"
        documents[words] = json.loads(done.stdout)
    assert documents["status"]["members"]
    assert [m["id"] for m in documents["members"]] == [member]
    assert documents["jobs"][0]["id"] == documents[f"jobs show {job}"]["job"]["id"] == job
    assert documents["credits --verify"]["ok"]
    assert documents["keys user ada"]["account"] == "user:ada"
    assert documents["keys revoke user:ada"] == {"revoked": 1}
    assert documents[f"jobs pause {job}"]["status"] == "paused"
    assert documents[f"jobs resume {job} --budget 1"]["status"] == "running"
    assert documents[f"credits --grant member:{member}=1.5"]["available"] == 1_500_000
    lines = (folder / "books.jsonl").read_text().splitlines()
    assert len(lines) == documents[f"credits --export {folder}/books.jsonl"]["lines"]
    assert all(json.loads(line) for line in lines)


@pytest.mark.parametrize(
    "words", ["status", "members", "jobs", "jobs show JOB", "credits", "credits --verify"]
)
def test_text_for_people_is_plain_and_narrow(
    shell: dict[str, str], job: str, member: str, words: str
) -> None:
    done = run(*words.replace("JOB", job).split(), environment=shell)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", done.stdout), "no control characters"
    assert max(len(line.rstrip()) for line in done.stdout.splitlines()) <= 80


def test_names_are_shown_as_text(shell: dict[str, str], member: str) -> None:
    shown = run("members", environment=shell).stdout
    assert "[bold red" in shown
    assert member in shown, "an id is never cut"


@pytest.mark.parametrize("words", ["members", "credits", "jobs", "jobs --json"])
def test_whoever_reads_may_stop_reading(shell: dict[str, str], job: str, member: str, words: str) -> None:
    own = {key: value for key, value in os.environ.items() if not key.startswith("COMMONWEAL_")}
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; '{sys.executable}' -u -m commonweal {words} | true"],
        capture_output=True,
        text=True,
        env={**own, **shell},
        timeout=120,
        check=False,
    )
    assert done.stderr == ""
    assert done.returncode == 0


def test_refusals_have_their_own_exit_code(keys: dict[str, str], shell: dict[str, str], job: str) -> None:
    assert_clear(
        run("status", environment={**shell, "COMMONWEAL_KEY": "cw-wrong"}), 3, "not known here", "operator"
    )
    joiner = {**shell, "COMMONWEAL_KEY": keys["join_token"]}
    assert run("jobs", environment=joiner).returncode == 3
    assert_clear(
        run("jobs", "show", "job_0000000000000000", environment=shell), 3, "no job", "commonweal jobs"
    )
    assert_clear(run("keys", "revoke", "user:nobody", environment=shell), 3, "no valid key")
    assert_clear(run("members", "--ban", "mem_0000000000000000", environment=shell), 3, "no member")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("jobs show ../../status", ()),
        ("jobs show job_x", ("job",)),
        ("jobs --status sleeping", ("status",)),
        ("keys emperor norton", ("no role 'emperor'", "join, user, admin")),
        ("credits --grant lots", ("ACCOUNT=CREDITS",)),
        ("credits --grant user:x=-1", ("ACCOUNT=CREDITS",)),
    ],
)
def test_requests_that_make_no_sense(shell: dict[str, str], words: str, expected: tuple[str, ...]) -> None:
    done = run(*words.split(), environment=shell)
    assert done.returncode in (2, 3)
    assert "Traceback" not in done.stderr
    assert done.stderr.startswith("error: ")
    for word in expected:
        assert word in done.stderr


def test_an_export_that_cannot_be_written(shell: dict[str, str], folder: Path, job: str) -> None:
    assert_clear(run("credits", "--export", str(folder), environment=shell), 2, "--export", str(folder))
    done = run("jobs", "export", job, "--out", str(folder / "job.toml"), environment=shell)
    assert_clear(done, 2, "--out")


BAD_DATA: dict[str, tuple[bytes | None, str, str, tuple[str, ...]]] = {
    "missing": (None, "none.txt", "", ("none.txt", "no such file")),
    "an empty glob": (None, "*.nothing", "", ("*.nothing", "no file matches")),
    "not UTF-8": (b"good\nb\xff\xfed\n" * 50, "a.txt", "", ("a.txt", "not UTF-8", "byte 6")),
    "a bad line": (b'{"text": "x"}\n{"text": \n', "a.jsonl", "", ("a.jsonl:2", "not valid JSON")),
    "another field": (b'{"body": "x"}\n{"body": "y"}\n', "a.jsonl", "", ("no field 'text'", "body")),
    "too little": (
        b'{"text": "a b"}\n{"text": "c d"}\n',
        "a.jsonl",
        "",
        ("less than one batch of 4", "add text"),
    ),
    "an impossible shape": (
        b"".join(b'{"text": "some words %d"}\n' % n for n in range(400)),
        "a.jsonl",
        "num_attention_heads = 5",
        ("hidden_size", "num_attention_heads"),
    ),
}


@pytest.mark.parametrize("kind", BAD_DATA)
def test_jobs_that_cannot_be_prepared(shell: dict[str, str], tmp_path: Path, kind: str) -> None:
    data, name, shape, words = BAD_DATA[kind]
    if data is not None:
        (tmp_path / name).write_bytes(data)
    text = JOB.format(data=tmp_path / name)
    if shape:
        text = text.replace("num_hidden_layers = 1", f"num_hidden_layers = 1, {shape}")
    (tmp_path / "job.toml").write_text(text)
    before = json.loads(run("jobs", "--json", environment=shell).stdout)
    done = run("train", str(tmp_path / "job.toml"), "--work", str(tmp_path / "work"), environment=shell)
    assert_clear(done, 2, *words)
    assert json.loads(run("jobs", "--json", environment=shell).stdout) == before, "nothing was submitted"


def test_ctrl_c_while_following_says_how_to_look_again(shell: dict[str, str], job: str) -> None:
    """In a terminal: there is a live line, and then the word."""
    leader, follower = pty.openpty()
    own = {key: value for key, value in os.environ.items() if not key.startswith("COMMONWEAL_")}
    process = subprocess.Popen(
        [sys.executable, "-m", "commonweal", "jobs", "show", job, "--follow"],
        stdout=follower,
        stderr=follower,
        stdin=follower,
        env={**own, **shell, "COLUMNS": "80", "TERM": "xterm"},
    )
    os.close(follower)
    seen = b""
    while b"waits for members: 0 here, 1 needed" not in seen:
        seen += os.read(leader, 65536)
    process.send_signal(signal.SIGINT)
    try:
        while piece := os.read(leader, 65536):
            seen += piece
    except OSError:  # the other side of a terminal that is closed
        pass
    os.close(leader)
    assert process.wait(60) == 130
    assert b"goes on" in seen
    assert f"commonweal jobs show {job} --follow".encode() in seen
    assert b"Traceback" not in seen


def test_a_job_that_was_cancelled_ends_following_with_a_failure(
    keys: dict[str, str], shell: dict[str, str], folder: Path, texts: Path
) -> None:
    (folder / "other.toml").write_text(JOB.format(data=texts).replace('"test"', '"other"'))
    done = run(
        "train",
        str(folder / "other.toml"),
        "--work",
        str(folder / "work"),
        "--detach",
        "--json",
        environment=shell,
    )
    job = json.loads(done.stdout)["job"]
    client = PoolClient(keys["url"], keys["admin_key"], version=__version__)
    client.cancel(job)
    client.close()
    ended = run("jobs", "show", job, "--follow", environment=shell)
    assert ended.returncode == 1
    assert "cancelled" in ended.stderr
