"""A member that serves with a server of its own: one that already runs, and one that it starts."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import openai
import pytest
from whole_hub import Whole

from commonweal.commands.answering import Answering, Lent
from commonweal.core.errors import ConfigError, Unavailable, UserError
from commonweal.models.engine.launched import Launch, launch, named
from commonweal.pool.worker import events
from commonweal.serve.worker.member import Told

SERVER = f"""#!{sys.executable}
import http.server, json, os, sys
given = dict(zip(sys.argv[1::2], sys.argv[2::2]))
meta = {{"n_ctx": 512, "n_ctx_train": 4096, "n_params": 7000, "ftype": "Q4_K - Medium"}}
class Answers(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers()
        self.wfile.write(json.dumps({{"data": [{{"id": given["--alias"], "meta": meta}}]}}).encode())
    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.send_response(200); self.send_header("content-type", "text/event-stream"); self.end_headers()
        text = f"{{os.getpid()}} heard " + asked["messages"][-1]["content"]
        one = {{"id": "1", "object": "chat.completion.chunk", "created": 1, "model": asked["model"]}}
        for word in text.split(" "):
            delta = {{"index": 0, "delta": {{"content": word + " "}}, "finish_reason": None}}
            self.wfile.write(f"data: {{json.dumps(one | dict(choices=[delta]))}}\\n\\n".encode())
        end = {{"index": 0, "delta": {{}}, "finish_reason": "stop"}}
        self.wfile.write(f"data: {{json.dumps(one | dict(choices=[end]))}}\\n\\ndata: [DONE]\\n\\n".encode())
    def log_message(self, *told): pass
if "broken" in given["--model"]:
    sys.exit("the file is broken")
http.server.ThreadingHTTPServer(("127.0.0.1", int(given["--port"])), Answers).serve_forever()
"""


@pytest.fixture
def program(tmp_path: Path) -> str:
    path = tmp_path / "llama-server"
    path.write_text(SERVER)
    path.chmod(0o755)
    for name in ("good", "broken"):
        (tmp_path / f"{name}.gguf").write_bytes(b"GGUF")
    return str(path)


def launching(program: str, name: str = "good") -> Launch:
    found = named(f"llama.cpp:{Path(program).parent / name}.gguf", program=program)
    assert found is not None
    return found


class Heard:
    """What a member tells, and how to wait for it."""

    def __init__(self) -> None:
        self.told: list[Told] = []
        self._news = threading.Condition()

    def __call__(self, told: Told) -> None:
        with self._news:
            self.told.append(told)
            self._news.notify_all()

    def wait(self, enough: Callable[[list[Told]], bool]) -> None:
        with self._news:
            assert self._news.wait_for(lambda: enough(self.told), 60), self.told

    def connections(self) -> int:
        return sum(one.what == "connected" for one in self.told)


@contextmanager
def answering(whole: Whole, server: str | Launch, key: str) -> Iterator[tuple[Answering, Heard]]:
    heard = Heard()
    lent = Lent(
        url=whole.url, folder=whole.folder / "own", memory=2**30, threads=1, device="cpu", server=server
    )
    part = Answering(lent, lambda: key, heard)
    try:
        part.start()
        heard.wait(lambda told: heard.connections() > 0)
        yield part, heard
    finally:
        part.close()


def said(whole: Whole, user: str) -> str:
    with whole.openai(user) as asked:
        (model,) = [one.id for one in asked.models.list() if one.id.endswith("good")]
        answer = asked.chat.completions.create(model=model, messages=[{"role": "user", "content": "hello"}])
    return str(answer.choices[0].message.content)


def machine(whole: Whole) -> tuple[str, str]:
    """A user with a machine: the keys of both."""
    user = whole.user(microcredits=10**9)
    return user, str(whole.registered(user)["key"])


def test_a_server_that_runs_is_fronted(whole: Whole, program: str, tmp_path: Path) -> None:
    user, key = machine(whole)
    child = launch(launching(program), log=tmp_path / "log")
    try:
        with answering(whole, child.url, key):
            assert "heard hello" in said(whole, user)
            with whole.http(user) as client:
                (model,) = client.get("/serve/v1/models").json()
        known = {name: model[name] for name in ("name", "window", "parameters", "quantization", "public")}
        assert known == {
            "name": "ada/good",
            "window": 512,
            "parameters": 7000,
            "quantization": "Q4_K-Medium",
            "public": False,
        }
    finally:
        child.close()


def test_a_server_is_started_and_started_again(whole: Whole, program: str) -> None:
    user, key = machine(whole)
    with answering(whole, launching(program), key) as (part, heard):
        first = int(said(whole, user).split()[0])
        os.kill(first, signal.SIGKILL)
        heard.wait(lambda told: heard.connections() > 1)
        assert any(one.what == "away" for one in heard.told)
        second = int(said(whole, user).split()[0])
        assert second != first
        part.heard(events.Paused(reason="hours", message="at night only"))
        heard.wait(lambda told: any(one.what == "left" for one in told[-1:]))
        os.kill(second, 0)  # a pause is no reason to load a model anew
    with pytest.raises(ProcessLookupError):
        os.kill(second, 0)


def test_a_server_that_cannot_be_started_says_why(whole: Whole, program: str, tmp_path: Path) -> None:
    user, key = machine(whole)
    with (
        pytest.raises(ConfigError, match="the file is broken"),
        answering(whole, launching(program, "broken"), key),
    ):
        pass
    with pytest.raises(Unavailable, match="does not answer"), answering(whole, "http://127.0.0.1:9/v1", key):
        pass
    with pytest.raises(UserError, match="no OpenAI-compatible"), answering(whole, whole.url + "/chat#", key):
        pass
    with whole.openai(user) as asked, pytest.raises(openai.NotFoundError):
        asked.models.retrieve("ada/good")


def test_who_fronts_a_server_is_a_machine(whole: Whole) -> None:
    with whole.http(whole.user()) as client:
        assert client.post("/serve/v1/models/fronted", json={"name": "good"}).status_code in (401, 403)
    key = whole.registered(whole.keys.admin)["key"]
    with whole.http(key) as client:
        model = client.post("/serve/v1/models/fronted", json={"name": "good", "window": 64}).json()
        assert (model["name"], model["public"], model["window"]) == ("good", True, 64)
        assert client.post("/serve/v1/models/fronted", json={"name": "a\0"}).status_code == 400
