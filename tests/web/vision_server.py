"""A server of OpenAI's API that sees: it remembers the bytes of every picture that it is sent."""

from __future__ import annotations

import http.server
import json
import subprocess
import sys
import threading
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class Seen:
    """``pictures`` are those of each request, in the order in which they came."""

    def __init__(self) -> None:
        self.url = ""
        self.pictures: list[list[bytes]] = []


@contextmanager
def seeing() -> Iterator[Seen]:
    seen = Seen()

    class Answers(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.answer({"object": "list", "data": [{"id": "eye", "object": "model"}]})

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            parts = [
                part
                for message in body.get("messages", ())
                if isinstance(message["content"], list)
                for part in message["content"]
                if part["type"] == "image_url"
            ]
            seen.pictures.append([b64decode(part["image_url"]["url"].partition(",")[2]) for part in parts])
            message = {"role": "assistant", "content": "yes"}
            choice = {"index": 0, "finish_reason": "stop", "message": message, "text": "yes"}
            usage = {"prompt_tokens": 3, "completion_tokens": 1}
            self.answer({"id": "1", "model": body["model"], "choices": [choice], "usage": usage})

        def answer(self, body: object) -> None:
            content = json.dumps(body).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    seen.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    try:
        yield seen
    finally:
        server.shutdown()
        server.server_close()


def evaluate_pictures(model: str, out: Path, data_root: Path, *more: str) -> Path:
    """Ask a model about pictures, as a user does; the folder of the run."""
    words = ["--model", model, "--scenario", "easy_vqa", "--data-root", str(data_root), "--out", str(out)]
    done = subprocess.run(
        [sys.executable, "-m", "commonweal", "eval", *words, "--confidence", "none", *more],
        capture_output=True,
        text=True,
        check=False,
    )
    [told] = out.rglob("run.json")
    assert done.returncode == 0, done.stderr
    return told.parent
