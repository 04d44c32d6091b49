"""A server of OpenAI's API in a thread of the test: it answers every request alike, and remembers what came."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any


@dataclass(kw_only=True)
class Came:
    """A request as it came; ``key`` is what its Authorization header says."""

    path: str
    key: str | None
    body: dict[str, Any]


@dataclass(kw_only=True)
class Listening:
    """``says`` is the answer's text and ``calls_itself`` the model that it says to be of ("": the one asked for).
    ``lacks`` are paths that are not there; ``sure`` gives log-probabilities where they are asked for. ``open`` is how
    many requests wait for their answer, ``most`` the most of them there were, each waiting for ``together`` of them,
    or a moment."""

    says: str = "[[7]]"
    calls_itself: str = ""
    lacks: tuple[str, ...] = ()
    sure: bool = False
    together: int = 1
    url: str = ""
    came: list[Came] = field(default_factory=list)
    open: int = 0
    most: int = 0
    changed: threading.Condition = field(default_factory=threading.Condition)

    @property
    def keys(self) -> set[str | None]:
        return {came.key for came in self.came}

    def asked(self, path: str) -> list[Came]:
        return [came for came in self.came if came.path.endswith(path)]


@contextmanager
def listening(**how: Any) -> Iterator[Listening]:
    told = Listening(**how)

    class Answers(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            told.came.append(Came(path=self.path, key=self.headers["Authorization"], body={}))
            self.answer(200, {"object": "list", "data": [{"id": "x", "object": "model"}]})

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            told.came.append(Came(path=self.path, key=self.headers["Authorization"], body=body))
            if self.path in told.lacks:
                self.answer(404, {"error": {"message": "no such route"}})
                return
            self.wait_for_others()
            model = told.calls_itself or body["model"]
            choice = _choice(self.path, body, told.says, sure=told.sure)
            if body.get("stream") and "message" in choice:
                choice["delta"] = choice.pop("message")
            made = {"id": "1", "model": model, "choices": [choice], "usage": _USAGE}
            if body.get("stream"):
                self.stream(made)
            else:
                self.answer(200, made)

        def wait_for_others(self) -> None:
            with told.changed:
                told.open += 1
                told.most = max(told.most, told.open)
                told.changed.notify_all()
                told.changed.wait_for(lambda: told.most >= told.together, timeout=0.3)
                told.open -= 1

        def answer(self, status: int, body: dict[str, Any]) -> None:
            self.send(status, "application/json", json.dumps(body).encode())

        def stream(self, event: dict[str, Any]) -> None:
            self.send(200, "text/event-stream", f"data: {json.dumps(event)}\n\ndata: [DONE]\n\n".encode())

        def send(self, status: int, kind: str, content: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            pass

    class Server(http.server.ThreadingHTTPServer):
        request_queue_size = 512

    made = Server(("127.0.0.1", 0), Answers)
    threading.Thread(target=made.serve_forever, daemon=True).start()
    told.url = f"http://127.0.0.1:{made.server_address[1]}/v1"
    try:
        yield told
    finally:
        made.shutdown()
        made.server_close()


def _choice(path: str, body: dict[str, Any], text: str, *, sure: bool) -> dict[str, Any]:
    choice: dict[str, Any] = {"index": 0, "finish_reason": "stop"}
    asked = sure and body.get("logprobs") not in (None, False) and not body.get("echo")
    if "chat" in path:
        choice["message"] = {"role": "assistant", "content": text}
        told: dict[str, Any] = {"content": [{"token": text, "logprob": -0.1, "top_logprobs": []}]}
    else:
        choice["text"] = text
        told = {
            "tokens": [text],
            "token_logprobs": [-0.1],
            "top_logprobs": [{text: -0.1}],
            "text_offset": [0],
        }
    return choice | ({"logprobs": told} if asked else {})


_USAGE = {"prompt_tokens": 3, "completion_tokens": 1}
