"""What every result says of itself: the machine, the commit, the command, and how busy the machine was."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil

PROJECT = Path(__file__).resolve().parents[1]


def processor() -> str:
    """The model of the processor, as the system names it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    named = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor() or platform.machine())


def installed(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def commit() -> str:
    """The commit that is measured; with a plus if the tree differs from it."""
    found = _git("rev-parse", "--short=12", "HEAD")
    return found + ("+" if found and _git("status", "--porcelain", "--", "src") else "")


def _git(*arguments: str) -> str:
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return ""
    return done.stdout.strip()


def command(words: Sequence[str]) -> str:
    """A command line as one types it in the project's folder. Of a path elsewhere only the file's name is kept: it says
    nothing to whoever repeats the command, and too much about the machine.

    >>> command(["python", "/somewhere/else/bench.py", "--take", "a=/tmp/x/a.json", "--out", "bench/data/a.json"])
    'python bench.py --take a=a.json --out bench/data/a.json'
    """
    return " ".join(_relative(word) for word in words)


def _relative(word: str) -> str:
    option, equals, path = word.rpartition("=")
    if not path.startswith("/"):
        return word
    inside = Path(path).is_relative_to(PROJECT)
    return f"{option}{equals}{Path(path).relative_to(PROJECT) if inside else Path(path).name}"


@dataclass(slots=True)
class Record:
    """One run of a script: begun when it is made, and saved with how long it took."""

    what: str
    settings: Mapping[str, Any]
    began: float = field(default_factory=time.time)
    load: list[float] = field(default_factory=lambda: list(os.getloadavg()))

    def save(self, out: Path, results: Mapping[str, Any]) -> None:
        """Write ``results`` with everything that is needed to judge and to repeat them."""
        found = {**self.made(), **results}
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(found, indent=1) + "\n")

    def made(self) -> dict[str, Any]:
        """How what is measured came about, up to now."""
        return {
            "what": self.what,
            "command": command(["python", *sys.argv]),
            "settings": dict(self.settings),
            "machine": {
                "processor": processor(),
                "cores": os.cpu_count(),
                "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
                "system": f"{platform.system()} {platform.release()}",
                "python": platform.python_version(),
                "torch": installed("torch"),
                "numpy": installed("numpy"),
            },
            "commit": commit(),
            "date": datetime.fromtimestamp(self.began, UTC).strftime("%Y-%m-%d %H:%M UTC"),
            "seconds": round(time.time() - self.began, 1),
            "load_before": [round(value, 2) for value in self.load],
            "load_after": [round(value, 2) for value in os.getloadavg()],
        }


def quantile(values: list[float], share: float) -> float:
    """The value below which ``share`` of the values lie (nearest rank)."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
