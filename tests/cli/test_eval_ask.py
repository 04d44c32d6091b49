"""Chat or completion: which endpoint of a server is asked, and where it is written down."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest
from listening_server import Listening, listening
from test_cli_words import assert_clear, run


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """IFEval with one request."""
    folder = tmp_path / "data" / "ifeval"
    folder.mkdir(parents=True)
    row = {
        "key": 1,
        "prompt": "Use no commas.",
        "instruction_id_list": ["punctuation:no_comma"],
        "kwargs": [{}],
    }
    (folder / "input_data.jsonl").write_text(json.dumps(row) + "\n")
    return tmp_path / "data"


def evaluate(server: Listening, data: Path, out: Path, *words: str, name: str = "ifeval") -> dict[str, Any]:
    done = run(
        *("eval", "--model", f"{server.url}#m", "--scenario", name, "--max-instances", "3", "--json"),
        *("--data-root", str(data), "--out", str(out), *words),
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    [path] = out.rglob("run.json")
    told: dict[str, Any] = json.loads(path.read_text())
    return told


def counts(server: Listening, since: int) -> tuple[int, int]:
    """How many requests went to the chat and to completions since."""
    paths = [came.path for came in server.came[since:] if came.body.get("max_tokens", 0) > 8]
    return paths.count("/v1/chat/completions"), paths.count("/v1/completions")


def test_instructions_go_to_the_chat_where_there_is_one(data: Path, tmp_path: Path) -> None:
    with listening(says="yes", sure=True) as server:
        told = evaluate(server, data, tmp_path / "a")
        assert counts(server, 0) == (1, 0)
        assert told["spec"]["adaptation"]["ask"] == "chat"
        assert "asked by chat, with the model's own template" in told["note"]
        [asked] = [came.body for came in server.came if came.body.get("max_tokens") == 4096]
        assert [message["role"] for message in asked["messages"]] == ["user"]
        assert asked["messages"][0]["content"].strip() == "Use no commas."
        since = len(server.came)
        told = evaluate(server, data, tmp_path / "b", "--ask", "auto")
        assert counts(server, since) == (0, 1)
        assert (told["spec"]["adaptation"]["ask"], "--ask auto" in told["command"]) == ("auto", True)


def test_a_server_without_a_chat_is_asked_without_and_says_so(data: Path, tmp_path: Path) -> None:
    with listening(says="yes", sure=True, lacks=("/v1/chat/completions",)) as server:
        told = evaluate(server, data, tmp_path / "a")
        assert counts(server, 0)[1] == 1
        assert "asked without a chat's template: the model has no chat" in told["note"]


def test_everything_by_chat_and_the_command_that_does_it_again(data: Path, tmp_path: Path) -> None:
    with listening(says="7", sure=True) as server:
        told = evaluate(server, data, tmp_path / "a", "--ask", "chat", "--shots", "1", name="arithmetic")
        assert counts(server, 0) == (3, 0)
        asked = [came.body for came in server.came if came.body.get("max_tokens", 0) > 8]
        roles = [message["role"] for message in asked[-1]["messages"]]
        assert roles[-3:] == ["user", "assistant", "user"], "the example is an earlier turn"
        words = shlex.split(told["command"])
        assert words[words.index("--ask") + 1] == "chat"
        since = len(server.came)
        assert run(*words[1:], "--out", str(tmp_path / "b")).returncode == 0
        assert counts(server, since) == (3, 0)


def test_refresh_asks_as_wished_and_sees_that_it_was_asked_otherwise(data: Path, tmp_path: Path) -> None:
    with listening(says="7", sure=True) as server:
        words = ("refresh", str(tmp_path / "runs"), "--model", f"{server.url}#m", "--scenario", "arithmetic")
        words += ("--max-instances", "3")
        assert run(*words, "--ask", "chat").returncode == 0
        assert counts(server, 0) == (3, 0)
        assert ": 0 to run, 1 kept" in run(*words, "--ask", "chat", "--dry-run").stdout
        again = run(*words, "--dry-run").stdout
    assert "asked otherwise: adaptation.ask: 'chat' -> 'auto'" in " ".join(again.split())


def test_an_unknown_way_is_a_mistake(data: Path, tmp_path: Path) -> None:
    done = run("eval", "--model", "mock", "--scenario", "arithmetic", "--ask", "talk", "--out", str(tmp_path))
    assert_clear(done, 2, "--ask talk", "chat, completion, auto")
