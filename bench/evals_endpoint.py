"""A server that speaks OpenAI's completions, takes its time, and does nothing else: so that the client is measured.

    python bench/evals_endpoint.py --delay-ms 50 [--refuse TEXT]

Prints its port. Every answer is the same bytes, sent ``delay`` after the whole request is there, whatever else goes
on; a request with ``--refuse`` in its body gets status 400. It lists log-probabilities where they are asked for, and
scores no prompts. ``GET /answered`` tells at which moments it has answered, by its own clock, and forgets them: so
every client is timed from the same place.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import time

ASKED = re.compile(rb'"(?:top_)?logprobs": ?[1-9t]')
LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
USAGE = {"prompt_tokens": 20, "completion_tokens": 1, "total_tokens": 21}


def reply(status: int, body: object) -> bytes:
    data = json.dumps(body).encode()
    head = f"HTTP/1.1 {status} Any\r\ncontent-type: application/json\r\ncontent-length: {len(data)}\r\n\r\n"
    return head.encode() + data


MODELS = reply(200, {"object": "list", "data": [{"id": "tiny", "object": "model", "max_model_len": 4096}]})
TOKENS = {"tokens": [" A"], "token_logprobs": [-0.5], "top_logprobs": [{" A": -0.5}], "text_offset": [0]}
LISTED = {"content": [{"token": "A", "logprob": -0.5, "bytes": [65], "top_logprobs": []}]}


def completion(logprobs: object) -> bytes:
    choice = {"index": 0, "text": " A", "finish_reason": "stop", "logprobs": logprobs}
    made = {"id": "c", "object": "text_completion", "created": 1, "model": "tiny", "choices": [choice]}
    return reply(200, {**made, "usage": USAGE})


def chat(logprobs: object) -> bytes:
    message = {"role": "assistant", "content": "A"}
    choice = {"index": 0, "message": message, "finish_reason": "stop", "logprobs": logprobs}
    made = {"id": "c", "object": "chat.completion", "created": 1, "model": "tiny", "choices": [choice]}
    return reply(200, {**made, "usage": USAGE})


COMPLETIONS = {False: completion(None), True: completion(TOKENS)}
CHATS = {False: chat(None), True: chat(LISTED)}
REFUSAL = reply(
    400, {"error": {"message": "this request is never answered", "type": "invalid_request_error"}}
)


class Connection(asyncio.Protocol):
    """One client's connection: requests come one after the other. ``answered`` are the moments of all answers."""

    def __init__(self, delay: float, refused: bytes, answered: list[float]) -> None:
        self._answered = answered
        self._delay = delay
        self._refused = refused
        self._read = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._read += data
        while (end := self._read.find(b"\r\n\r\n")) >= 0:
            head = self._read[:end]
            found = LENGTH.search(head)
            length = end + 4 + (int(found[1]) if found else 0)
            if len(self._read) < length:
                return
            body, self._read = self._read[end + 4 : length], self._read[length:]
            if head.startswith(b"GET /answered"):
                self._transport.write(reply(200, self._answered))
                self._answered.clear()
            else:
                asyncio.get_running_loop().call_later(self._delay, self._send, self._answer(head, body))

    def _answer(self, head: bytes, body: bytes) -> bytes:
        if head.startswith(b"GET"):
            return MODELS
        if self._refused and self._refused in body:
            return REFUSAL
        answers = CHATS if b"/chat/" in head.split(b"\r\n", 1)[0] else COMPLETIONS
        return answers[ASKED.search(body) is not None]

    def _send(self, answer: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(answer)
            self._answered.append(time.monotonic())


async def serve(delay: float, refused: bytes) -> None:
    loop, answered = asyncio.get_running_loop(), list[float]()
    server = await loop.create_server(
        lambda: Connection(delay, refused, answered), "127.0.0.1", 0, backlog=512
    )
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--delay-ms", type=float, default=50.0)
    parser.add_argument("--refuse", default="", help="a text: a request that has it gets status 400")
    arguments = parser.parse_args()
    asyncio.run(serve(arguments.delay_ms / 1e3, arguments.refuse.encode()))


if __name__ == "__main__":
    main()
