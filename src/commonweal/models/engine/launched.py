"""A server of models started as a child, in its own environment: llama.cpp's and vLLM's.

The program is given by its path, so neither is a dependency of ours, and nothing is installed. The child listens on
loopback only, on a port that was free a moment ago, and goes when :meth:`Child.close` is called. Its address is then
fronted as any other server's.
"""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx

from commonweal.core.errors import ConfigError, Unavailable, UserError

_LAST_WORDS = 2000
_PATIENCE = 10.0
"""Seconds that a child has to end by itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """How to start a server: ``command`` makes its arguments from a port; ``health`` is the path that answers 200 once
    it is ready; ``slots`` are the requests that it answers at once."""

    command: Callable[[int], Sequence[str]]
    health: str
    slots: int


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

    return Launch(command=command, health="/health", slots=slots)


def vllm_serve(
    program: Path, folder: Path, *, name: str, slots: int = 32, window: int | None = None
) -> Launch:
    """``vllm serve`` on a folder of safetensors."""

    def command(port: int) -> list[str]:
        made = [str(program), "serve", str(folder), "--served-model-name", name, "--host", "127.0.0.1"]
        made += ["--port", str(port), "--max-num-seqs", str(slots)]
        return made + (["--max-model-len", str(window)] if window else [])

    return Launch(command=command, health="/health", slots=slots)


_PROGRAMS = {"llama.cpp": "llama-server", "vllm": "vllm"}


def named(what: str, *, program: str = "", threads: int = 0) -> Launch | None:
    """``llama.cpp:MODEL.gguf`` or ``vllm:FOLDER`` as a launch, the model called as its file is; None for anything else.
    ``program`` is a path, or found by its usual name. Raises UserError where the model or the program is not there."""
    kind, _, place = what.partition(":")
    if kind not in _PROGRAMS:
        return None
    model = Path(place).expanduser()
    if not place or not (model.is_file() if kind == "llama.cpp" else model.is_dir()):
        expected = "a GGUF file" if kind == "llama.cpp" else "a folder of a model"
        raise UserError(f"--engine: {place or 'nothing'} is not {expected}", hint=f"{kind}:PATH")
    found = shutil.which(program or _PROGRAMS[kind])
    if found is None:
        raise UserError(
            f"--engine: there is no program {program or _PROGRAMS[kind]}",
            hint="install it in an environment of its own, and give its path with --engine-program",
        )
    if kind == "llama.cpp":
        return llama_server(Path(found), model, name=model.stem, threads=threads)
    return vllm_serve(Path(found), model, name=model.resolve().name)


class Child:
    """A running server; :func:`launch` makes one. ``url`` is its OpenAI-compatible address."""

    def __init__(self, url: str, process: subprocess.Popen[bytes], log: Path) -> None:
        self.url = url
        self._process, self._log = process, log

    @property
    def pid(self) -> int:
        return self._process.pid

    def wait(self) -> str:
        """Until it has ended; its last words."""
        self._process.wait()
        return _last_words(self._log)

    def close(self) -> None:
        """Ask it to end, then make it."""
        self._process.terminate()
        try:
            self._process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def launch(
    what: Launch,
    log: Path,
    stop: threading.Event | None = None,
    *,
    environment: Mapping[str, str] | None = None,
    patience: float = 600.0,
) -> Child:
    """Start it and wait until it is ready, or ``stop`` is set. See :func:`spawn`. Raises ConfigError where it
    cannot be started or ends at once, and Unavailable where it is not ready within ``patience`` seconds."""
    port = _free_port()
    arguments = list(what.command(port))
    try:
        process = spawn(arguments, log, environment)
    except OSError as error:
        raise ConfigError(
            f"engine: {arguments[0]} cannot be started: {error.strerror or error}",
            hint="give the path of the server's program",
        ) from None
    child = Child(f"http://127.0.0.1:{port}/v1", process, log)
    try:
        _ready(process, f"http://127.0.0.1:{port}{what.health}", log, patience, stop or threading.Event())
    except BaseException:
        child.close()
        raise
    return child


def spawn(
    arguments: Sequence[str], log: Path, environment: Mapping[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """Start a process beside this one. What it says goes to ``log``. On Linux it ends with the thread that calls this,
    whatever ends that. Raises OSError."""
    with log.open("wb") as out:
        return subprocess.Popen(
            [*_dies_with_us(), *arguments],
            start_new_session=True,  # ctrl-c is for us: what is being answered is answered first
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            env=None if environment is None else dict(environment),
        )


def _dies_with_us() -> list[str]:
    program = shutil.which("setpriv")
    return [program, "--pdeathsig", "TERM", "--"] if program else []


def _ready(
    process: subprocess.Popen[bytes], url: str, log: Path, patience: float, stop: threading.Event
) -> None:
    until = time.monotonic() + patience
    with httpx.Client(trust_env=False, timeout=5.0) as client:
        while time.monotonic() < until and not stop.is_set():
            if process.poll() is not None:
                raise ConfigError(
                    f"engine: the server ended at once (exit {process.returncode}): {_last_words(log)}",
                    hint=f"see {log}",
                )
            with contextlib.suppress(httpx.HTTPError):
                if client.get(url).status_code == 200:
                    return
            stop.wait(0.2)
    raise Unavailable(f"engine: the server was not ready after {patience:g} seconds: {_last_words(log)}")


def _last_words(log: Path) -> str:
    text = log.read_bytes()[-_LAST_WORDS:].decode("utf-8", "replace")
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1].strip()[:300] if lines else "it said nothing"


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port
