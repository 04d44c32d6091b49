"""A server of models started as a child, in its own environment, and fronted: llama.cpp's and vLLM's.

The program is given by its path, so neither is a dependency of ours, and nothing is installed. The child listens on
loopback only, on a port that was free a moment ago, and goes when :meth:`Launched.close` is called.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx

from commonweal.core.errors import ConfigError, Unavailable
from commonweal.models.engine.fronted import FrontedEngine

_LAST_WORDS = 2000
_PATIENCE = 10.0
"""Seconds that a child has to end by itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """How to start a server: ``command`` makes its arguments from a port; ``health`` is the path that answers 200 once
    it is ready; ``served`` is what it will call the model."""

    command: Callable[[int], Sequence[str]]
    health: str
    served: str


def llama_server(
    program: Path, model: Path, *, name: str, slots: int = 4, window: int = 4096, threads: int = 0
) -> Launch:
    """llama.cpp's ``llama-server`` on a GGUF file; the window is each slot's."""

    def command(port: int) -> list[str]:
        made = [
            str(program),
            "--model",
            str(model),
            "--alias",
            name,
            "--host",
            "127.0.0.1",
            "--port",
            str(port),
        ]
        made += ["--parallel", str(slots), "--ctx-size", str(slots * window), "--jinja"]
        return made + (["--threads", str(threads)] if threads else [])

    return Launch(command=command, health="/health", served=name)


def vllm_serve(
    program: Path, folder: Path, *, name: str, slots: int = 32, window: int | None = None
) -> Launch:
    """``vllm serve`` on a folder of safetensors."""

    def command(port: int) -> list[str]:
        made = [str(program), "serve", str(folder), "--served-model-name", name, "--host", "127.0.0.1"]
        made += ["--port", str(port), "--max-num-seqs", str(slots)]
        return made + (["--max-model-len", str(window)] if window else [])

    return Launch(command=command, health="/health", served=name)


class Launched(FrontedEngine):
    """A running child and the engine in front of it; :func:`launch` makes one."""

    def __init__(self, base_url: str, child: asyncio.subprocess.Process) -> None:
        super().__init__(base_url)
        self._child = child

    @property
    def pid(self) -> int:
        return self._child.pid

    async def close(self) -> None:
        await super().close()
        await _ended(self._child)


async def launch(
    what: Launch, *, log: Path, environment: Mapping[str, str] | None = None, patience: float = 600.0
) -> Launched:
    """Start it and wait until it is ready and has its model. What it says goes to ``log``. Raises ConfigError where it
    cannot be started or ends at once, Unavailable where it is not ready within ``patience`` seconds."""
    port = _free_port()
    arguments = list(what.command(port))
    with log.open("wb") as out:
        try:
            child = await asyncio.create_subprocess_exec(
                *arguments,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=out,
                stderr=asyncio.subprocess.STDOUT,
                env=None if environment is None else dict(environment),
            )
        except OSError as error:
            raise ConfigError(
                f"engine: {arguments[0]} cannot be started: {error.strerror or error}",
                hint="give the path of the server's program",
            ) from None
    try:
        await _ready(child, f"http://127.0.0.1:{port}{what.health}", log, patience)
        engine = Launched(f"http://127.0.0.1:{port}/v1", child)
        await engine.load(what.served, what.served)
    except BaseException:
        await _ended(child)
        raise
    return engine


async def _ready(child: asyncio.subprocess.Process, url: str, log: Path, patience: float) -> None:
    until = time.monotonic() + patience
    async with httpx.AsyncClient(trust_env=False, timeout=5.0) as client:
        while time.monotonic() < until:
            if child.returncode is not None:
                raise ConfigError(
                    f"engine: the server ended at once (exit {child.returncode}): {_last_words(log)}",
                    hint=f"see {log}",
                )
            with contextlib.suppress(httpx.HTTPError):
                if (await client.get(url)).status_code == 200:
                    return
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(child.wait(), 0.2)
    raise Unavailable(f"engine: the server was not ready after {patience:g} seconds: {_last_words(log)}")


async def _ended(child: asyncio.subprocess.Process) -> None:
    """Ask the child to end, then make it."""
    if child.returncode is not None:
        return
    with contextlib.suppress(ProcessLookupError):
        child.terminate()
    try:
        await asyncio.wait_for(child.wait(), _PATIENCE)
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            child.kill()
        await child.wait()


def _last_words(log: Path) -> str:
    text = log.read_bytes()[-_LAST_WORDS:].decode("utf-8", "replace")
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1].strip()[:300] if lines else "it said nothing"


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port
