"""Commands as children whose processor time and memory are counted, and the generated scenarios that they evaluate.

A child's numbers come from ``wait4``: its own and those of the children that it waited for. Processor time is user and
system time. The scenarios are lists of sums, so that any harness can read them and no prompt is like another.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import urlopen

HERE = Path(__file__).resolve().parent
COMMONWEAL = (sys.executable, "-m", "commonweal")
QUIET = {
    "OMP_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "HF_HUB_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
}
UNWANTED = "PYTHONDONTWRITEBYTECODE"
"""Kept from children: what is installed has its bytecode, and a checkout shall have it after the first run."""
REFUSED = "unanswerable"
REASON = re.compile(r'"reason": "(.+)"')


class Failed(Exception):
    """A child that did not do what it was to do; says why in one line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Child:
    """What a child took. ``memory`` is its greatest resident set, in bytes."""

    cpu: float
    wall: float
    memory: int
    code: int
    said: str


def run(command: Sequence[str], folder: Path, *, seconds: float = 300.0) -> Child:
    """Run ``command`` in ``folder`` to its end. Raises Failed where it takes longer than ``seconds`` or says nothing
    but an error."""
    out, err = folder / "child.out", folder / "child.err"
    began = time.monotonic()
    with out.open("wb") as stdout, err.open("wb") as stderr:
        child = subprocess.Popen(
            list(command),
            cwd=folder,
            stdout=stdout,
            stderr=stderr,
            env={**{key: value for key, value in os.environ.items() if key != UNWANTED}, **QUIET},
        )
        status, usage = _waited(child, began + seconds)
    wall = time.monotonic() - began
    if status is None:
        raise Failed(f"took longer than {seconds:.0f} s")
    code = os.waitstatus_to_exitcode(status)
    if code:
        raise Failed(f"exit code {code}: {_why(out, err)}")
    return Child(
        cpu=usage.ru_utime + usage.ru_stime,
        wall=wall,
        memory=usage.ru_maxrss * 1024,
        code=code,
        said=out.read_text(errors="replace"),
    )


def _waited(child: subprocess.Popen[bytes], until: float) -> tuple[int | None, Any]:
    """The child's status and usage; None for the status where it had to be ended."""
    while True:
        pid, status, usage = os.wait4(child.pid, os.WNOHANG)
        late = time.monotonic() > until
        if pid == 0 and not late:
            time.sleep(0.02)
            continue
        if pid == 0:
            child.kill()
            _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        return (None if pid == 0 else status), usage


def _why(out: Path, err: Path) -> str:
    """The reason that ``commonweal eval --json`` gives, or the last line of what went wrong."""
    if given := REASON.search(out.read_text(errors="replace")):
        return given[1]
    lines = [line for line in err.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1].strip()[:200] if lines else "nothing said"


def evaluate(
    model: str, scenario: Path, instances: int, folder: Path, *more: str, seconds: float = 300.0
) -> Child:
    """``commonweal eval`` as a person starts it, into ``folder/runs``. 0 instances are all."""
    command = [*COMMONWEAL, "eval", "--model", model, "--scenario", str(scenario), "--json", "--no-cache"]
    return run([*command, "--max-instances", str(instances), *more], folder, seconds=seconds)


def only_run(child: Child) -> Mapping[str, Any]:
    """The run in what ``commonweal eval --json`` has printed."""
    found: Mapping[str, Any] = json.loads(child.said)["runs"][0]
    return found


def write_sums(
    folder: Path,
    name: str,
    rows: int,
    *,
    shape: str = "multiple_choice",
    metric: str = "",
    **prompt: Any,
) -> Path:
    """A scenario of ``rows`` sums: a TOML file and its rows beside it. ``metric`` is all that is computed, if it is
    given; ``prompt`` sets fields of its [prompt]."""
    data = folder / f"{name}.jsonl"
    with data.open("w") as file:
        for number in range(rows):
            file.write(json.dumps(sum_row(number)) + "\n")
    lines = [f'name = "{name}"', f'shape = "{shape}"', f'file = "{data.name}"']
    lines += [f'metrics = ["{metric}"]', f'main_metric = "{metric}"'] if metric else []
    lines += ["[prompt]"]
    lines += [f"{key} = {json.dumps(value)}" for key, value in prompt.items()]
    scenario = folder / f"{name}.toml"
    scenario.write_text("\n".join(lines) + "\n")
    return scenario


def sum_row(number: int) -> dict[str, Any]:
    """One question with four choices; the right one is at another place each time."""
    a, b = number, number * 7 % 1000
    right = number % 4
    choices = [str(a + b + place - right) for place in range(4)]
    question = f"A shop sells {a} apples in the morning and {b} in the afternoon. How many does it sell?"
    return {
        "id": f"q{number}",
        "question": question,
        "input": question,
        "choices": choices,
        "answer": right,
    }


@contextmanager
def endpoint(delay_ms: float, refuse: str = "") -> Iterator[str]:
    """The address of a slow server in a process of its own."""
    command = [
        sys.executable,
        str(HERE / "evals_endpoint.py"),
        "--delay-ms",
        str(delay_ms),
        "--refuse",
        refuse,
    ]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        yield f"http://127.0.0.1:{int(server.stdout.readline())}/v1"
    finally:
        server.kill()
        server.wait()


def answered(url: str) -> list[float]:
    """The moments at which the server at ``url`` has answered since it was asked this last, in seconds."""
    with urlopen(url.removesuffix("/v1") + "/answered", timeout=30) as told:  # noqa: S310 - on loopback
        return sorted(json.loads(told.read()))


def steady_rate(moments: Sequence[float]) -> float:
    """Answers a second, from the tenth part on: what a client asks before it begins counts for little."""
    first = len(moments) // 10
    return (len(moments) - 1 - first) / (moments[-1] - moments[first])
