"""A server of others as an engine: over real HTTP, against answers in the forms of vLLM, llama.cpp and Ollama."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import psutil
import pytest
from engine_models import save_model
from loopback import Handler, Loopback, Said, events

from commonweal.core.completion import Completion, CompletionFailed, Message, Request, Tool
from commonweal.core.errors import ConfigError, NotFound, Unavailable, UserError
from commonweal.core.streaming import Event, Usage, Vector, collected
from commonweal.models.engine.fronted import FrontedEngine
from commonweal.models.engine.launched import Launch, launch, llama_server, named, vllm_serve

T = TypeVar("T")
HELLO = (Message(role="user", content="Hello"),)
MODELS = {"data": [{"id": "theirs", "max_model_len": 4096}, {"id": "other", "meta": {"n_ctx_train": 512}}]}


def ask(**more: Any) -> Request:
    given: dict[str, Any] = {"model": "m", "max_tokens": 8, **more}
    return Request(**(given if "messages" in given else {"prompt": "Once", **given}))


def fronting(handler: Handler, use: Callable[[FrontedEngine, Loopback], Awaitable[T]]) -> T:
    """``use`` an engine whose model m is the server's ``theirs``."""

    def answer(path: str, body: dict[str, Any]) -> Said:
        return Said(body=MODELS) if path == "/v1/models" else handler(path, body)

    async def main() -> T:
        async with Loopback(answer) as server:
            engine = FrontedEngine(server.url, key="secret")
            await engine.load("m", "theirs")
            try:
                return await use(engine, server)
            finally:
                await engine.close()

    return asyncio.run(main())


def answered(said: Said, request: Request) -> tuple[Completion, dict[str, Any]]:
    async def use(engine: FrontedEngine, server: Loopback) -> tuple[Completion, dict[str, Any]]:
        got = await collected(engine.stream(request))
        return got, server.seen[-1][1]

    return fronting(lambda path, body: said, use)


def failing(said: Said, request: Request) -> CompletionFailed:
    async def use(engine: FrontedEngine, server: Loopback) -> CompletionFailed:
        with pytest.raises(CompletionFailed) as failed:
            await collected(engine.stream(request))
        return failed.value

    return fronting(lambda path, body: said, use)


def test_a_completion_streams_with_its_log_probabilities() -> None:
    one = {"tokens": [" a"], "token_logprobs": [-0.5], "top_logprobs": [{" a": -0.5, " b": -1.0}]}
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 1}}
    said = Said(
        pieces=events(
            {"choices": [{"index": 0, "text": " a", "logprobs": one}]},
            {"choices": [{"index": 0, "text": " \u2028b", "finish_reason": "length"}]},
            {"choices": [], "usage": usage},
        )
    )
    got, body = answered(said, ask(stop=("x",), seed=4, top_p=0.5, penalties=(0.5, 0.0), bias=((7, 1.0),)))
    assert got.text == " a \u2028b"
    assert got.choices[0].finish == "length"
    assert got.choices[0].tokens[0].logprob == -0.5
    assert not got.choices[0].tokens[0].top
    assert (got.prompt_tokens, got.completion_tokens) == (3, 2)
    assert body["model"] == "theirs"
    assert (body["stop"], body["seed"], body["top_p"], body["logit_bias"]) == (["x"], 4, 0.5, {"7": 1.0})
    assert body["frequency_penalty"] == 0.5
    assert "presence_penalty" not in body


def test_a_chat_streams_text_then_calls() -> None:
    tool = Tool(name="clock", description="", parameters={"type": "object"})
    token = {"token": "Well", "logprob": -0.1, "id": 12, "top_logprobs": [{"token": "Well", "logprob": -0.1}]}

    def call(**function: str) -> dict[str, Any]:
        return {
            "choices": [
                {"index": 0, "delta": {"tool_calls": [{"index": 0, "id": "c1", "function": function}]}}
            ]
        }

    said = Said(
        pieces=events(
            {"choices": [{"index": 0, "delta": {"content": "Well"}, "logprobs": {"content": [token]}}]},
            call(name="clock", arguments='{"zone"'),
            call(arguments=': "UTC"}'),
            {"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]},
        )
    )
    request = ask(messages=HELLO, tools=(tool,), tool_choice="clock", logprobs=1, schema='{"type": "object"}')
    got, body = answered(said, request)
    assert got.text == "Well"
    assert got.choices[0].tokens[0].id == 12
    assert got.choices[0].tokens[0].top == {"Well": -0.1}
    [made] = got.choices[0].tool_calls
    assert (made.id, made.name, made.arguments) == ("c1", "clock", '{"zone": "UTC"}')
    assert got.choices[0].finish == "tool_calls"
    assert body["tool_choice"] == {"type": "function", "function": {"name": "clock"}}
    assert body["response_format"]["json_schema"]["schema"] == {"type": "object"}


def test_a_server_that_tells_no_tokens_is_counted_by_chunks() -> None:
    said = Said(pieces=events({"choices": [{"delta": {"content": w}} for w in ("a", "b")]}, done=True))
    got, _ = answered(said, ask(messages=HELLO))
    assert got.text == "ab"
    assert got.completion_tokens == 2


def test_a_server_without_log_probabilities_is_asked_again_without() -> None:
    def handler(path: str, body: dict[str, Any]) -> Said:
        if "logprobs" in body:
            return Said(status=400, body={"error": {"message": "logprobs are not supported"}})
        return Said(pieces=events({"choices": [{"text": "a", "finish_reason": "stop"}]}))

    async def use(engine: FrontedEngine, server: Loopback) -> list[Any]:
        assert (await collected(engine.stream(ask()))).text == "a"
        assert (await collected(engine.stream(ask()))).text == "a"
        return [("logprobs" in body) for path, body in server.seen if path != "/v1/models"]

    assert fronting(handler, use) == [True, False, False]


def test_a_continuation_is_scored_by_echo() -> None:
    listed = {
        "tokens": ["On", "ce", " upon", " a"],
        "token_logprobs": [None, -1.0, -0.5, -0.25],
        "top_logprobs": [None, {"ce": -1.0}, {" upon": -0.5}, {" the": -0.1, " a": -0.25}],
        "text_offset": [0, 2, 4, 9],
    }
    said = Said(
        body={"choices": [{"text": "Once upon a", "logprobs": listed}], "usage": {"prompt_tokens": 4}}
    )
    got, body = answered(said, ask(kind="score", continuation=" upon a"))
    assert [token.logprob for token in got.choices[0].tokens] == [-0.5, -0.25]
    assert got.choices[0].greedy is False
    assert (body["echo"], body["max_tokens"], body["prompt"]) == (True, 0, "Once upon a")


def test_an_embedding_is_a_vector() -> None:
    async def use(engine: FrontedEngine, server: Loopback) -> list[Event]:
        return [event async for event in engine.stream(ask(kind="embed"))]

    said = Said(body={"data": [{"embedding": [0.6, 0.8]}], "usage": {"prompt_tokens": 2}})
    vector, usage = fronting(lambda path, body: said, use)
    assert vector == Vector(values=(0.6, 0.8))
    assert isinstance(usage, Usage)
    assert usage.prompt_tokens == 2


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        (Said(status=400, body={"error": {"message": "maximum context length is 8"}}), "too_long"),
        (Said(status=400, body={"error": "what?"}), "bad_request"),
        (Said(status=401, body={}), "not_authorized"),
        (Said(status=404, body={"detail": "Not Found"}), "bad_request"),
        (Said(status=429, body={}), "rate_limited"),
        (Said(status=503, pieces=[b"<h1>busy</h1>"]), "server_error"),
        (Said(pieces=[b"data: {nonsense\n\n"]), "malformed"),
        (Said(pieces=[b"data: 7\n\n"]), "malformed"),
        (Said(pieces=events({"choices": [{"index": "x"}]})), "malformed"),
        (Said(pieces=events({"choices": [{"text": "a"}]}, done=False)), "server_error"),
        (Said(pieces=events({"error": {"message": "out of memory"}})), "server_error"),
        (Said(pieces=[]), "server_error"),
    ],
)
def test_what_goes_wrong_is_named(said: Said, kind: str) -> None:
    assert failing(said, ask()).kind == kind


def test_who_hears_enough_hangs_up() -> None:
    pieces = events({"choices": [{"text": "a"}]}, done=False)

    async def use(engine: FrontedEngine, server: Loopback) -> None:
        stream = engine.stream(ask())
        await anext(stream)
        await stream.aclose()  # type: ignore[attr-defined]
        await asyncio.wait_for(server.gone.wait(), 10)

    fronting(lambda path, body: Said(pieces=pieces, hold=True), use)


def test_only_what_the_server_lists_is_served() -> None:
    async def use(engine: FrontedEngine, server: Loopback) -> None:
        assert engine.models()[0].window == 4096
        assert (await engine.load("x", "/some/folder/other")).window == 512
        with pytest.raises(NotFound) as missing:
            await engine.load("gpt", "gpt")
        assert "theirs" in str(missing.value)
        with pytest.raises(NotFound):
            await collected(engine.stream(ask(model="gpt")))
        await engine.unload("m")
        with pytest.raises(NotFound):
            await collected(engine.stream(ask()))

    fronting(lambda path, body: Said(), use)


def test_a_server_that_is_not_there_says_so() -> None:
    async def main() -> None:
        with pytest.raises(ConfigError):
            FrontedEngine("ftp://nowhere")
        async with Loopback(lambda path, body: Said()) as server:
            url = server.url
        engine = FrontedEngine(url)
        with pytest.raises(Unavailable):
            await engine.load("m", "m")
        await engine.close()

    asyncio.run(main())


# Children.

SERVER = """
import http.server, json, sys
class Answers(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = json.dumps({"data": [{"id": sys.argv[2]}]}).encode()
        self.send_response(200); self.end_headers(); self.wfile.write(body)
print("ready", flush=True)
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Answers).serve_forever()
"""


def started(name: str, program: str = SERVER) -> Launch:
    return Launch(
        command=lambda port: [sys.executable, "-c", program, str(port), name], health="/health", slots=1
    )


def test_a_child_is_started_fronted_and_ended(tmp_path: Path) -> None:
    child = launch(started("m"), log=tmp_path / "log")

    async def main() -> None:
        engine = FrontedEngine(child.url)
        assert (await engine.load("m", "m")).name == "m"
        await engine.close()

    asyncio.run(main())
    os.kill(child.pid, 0)
    child.close()
    with pytest.raises(ProcessLookupError):
        os.kill(child.pid, 0)


@pytest.mark.parametrize(
    ("what", "error", "said"),
    [
        (started("m", "print('no such model'); raise SystemExit(3)"), ConfigError, "no such model"),
        (Launch(command=lambda port: ["/no/such/program"], health="/", slots=1), ConfigError, "no/such"),
        (started("m", "import time; time.sleep(600)"), Unavailable, "not ready"),
    ],
)
def test_a_child_that_does_not_serve_is_ended_and_the_reason_given(
    what: Launch, error: type[Exception], said: str, tmp_path: Path
) -> None:
    with pytest.raises(error) as failed:
        launch(what, log=tmp_path / "log", patience=0.5 if error is Unavailable else 60.0)
    assert said in str(failed.value)


def test_a_child_dies_with_the_process_that_started_it(tmp_path: Path) -> None:
    if not shutil.which("setpriv"):
        pytest.skip("no setpriv on this system")
    (tmp_path / "server.py").write_text(SERVER)
    parent = (
        "import sys, time\nfrom pathlib import Path\n"
        "from commonweal.models.engine.launched import Launch, launch\n"
        "command = lambda port: [sys.executable, sys.argv[1], str(port), 'm']\n"
        "child = launch(Launch(command=command, health='/health', slots=1), log=Path(sys.argv[2]))\n"
        "print(child.pid, flush=True)\ntime.sleep(600)\n"
    )
    arguments = [sys.executable, "-c", parent, str(tmp_path / "server.py"), str(tmp_path / "log")]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE) as running:
        assert running.stdout is not None
        pid = int(running.stdout.readline())
        os.kill(pid, 0)
        running.kill()
    until = time.monotonic() + 20
    while time.monotonic() < until and psutil.pid_exists(pid):
        time.sleep(0.02)
    assert not psutil.pid_exists(pid)


def test_the_known_servers_are_told_where_to_listen_and_what_to_serve() -> None:
    llama = llama_server(Path("/opt/llama-server"), Path("m.gguf"), name="m", slots=2, window=1024)
    assert list(llama.command(81))[:3] == ["/opt/llama-server", "--model", "m.gguf"]
    assert {"--alias", "m", "127.0.0.1", "81", "2048"} <= set(llama.command(81))
    vllm = vllm_serve(Path("/opt/vllm"), Path("folder"), name="m", window=512)
    assert list(vllm.command(82))[:3] == ["/opt/vllm", "serve", "folder"]
    assert {"--served-model-name", "m", "127.0.0.1", "82", "512"} <= set(vllm.command(82))


def test_servers_are_named_as_they_are_on_the_command_line(tmp_path: Path) -> None:
    (tmp_path / "tiny.gguf").write_bytes(b"GGUF")
    program = tmp_path / "server"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    assert named("http://127.0.0.1:8080/v1") is None
    llama = named(f"llama.cpp:{tmp_path}/tiny.gguf", program=str(program), threads=3)
    assert llama is not None
    assert list(llama.command(81))[:5] == [
        str(program),
        "--model",
        str(tmp_path / "tiny.gguf"),
        "--alias",
        "tiny",
    ]
    assert list(llama.command(81))[-2:] == ["--threads", "3"]
    vllm = named(f"vllm:{tmp_path}", program=str(program))
    assert vllm is not None
    assert list(vllm.command(81))[:3] == [str(program), "serve", str(tmp_path)]
    for what, said in [
        ("llama.cpp:", "nothing is not a GGUF file"),
        (f"llama.cpp:{tmp_path}/none.gguf", "is not a GGUF file"),
        (f"vllm:{tmp_path}/tiny.gguf", "is not a folder"),
    ]:
        with pytest.raises(UserError, match=said):
            named(what, program=str(program))
    with pytest.raises(UserError, match="there is no program /no/such"):
        named(f"vllm:{tmp_path}", program="/no/such")


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_transformers_own_server_is_fronted(tmp_path: Path) -> None:
    """It lists what is in the hub's cache, so a tiny model is put there."""
    cached = tmp_path / "models--tiny--llama"
    save_model(cached / "snapshots" / "0123abcd")
    (cached / "refs").mkdir()
    (cached / "refs" / "main").write_text("0123abcd")
    program = str(Path(sys.executable).with_name("transformers"))

    def command(port: int) -> list[str]:
        return [program, "serve", "tiny/llama", "--host", "127.0.0.1", "--port", str(port)]

    place = {"HF_HUB_OFFLINE": "1", "HF_HUB_CACHE": str(tmp_path), "OMP_NUM_THREADS": "1"}
    what = Launch(command=command, health="/health", slots=4)
    child = launch(what, log=tmp_path / "log", environment={**os.environ, **place}, patience=200.0)

    async def main() -> tuple[Completion, Completion]:
        engine = FrontedEngine(child.url)
        try:
            await engine.load("tiny/llama", "tiny/llama")
            text = await collected(engine.stream(ask(model="tiny/llama")))
            chat = await collected(engine.stream(ask(model="tiny/llama", messages=HELLO)))
            return text, chat
        finally:
            await engine.close()
            child.close()

    text, chat = asyncio.run(main())
    assert text.completion_tokens
    assert chat.choices[0].finish in ("stop", "length")
