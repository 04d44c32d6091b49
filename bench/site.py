"""``commonweal site`` measured: the export of many generated runs, and pages a second of the live site.

    python bench/site.py --out bench/data/site.json [--quick] [--runs FOLDER]

The export is the command as a person starts it. Memory is that of all its processes together (a page that several
share counts in parts), looked at every quarter of a second. The runs are generated once, into ``--runs``, and kept for
the next measurement; that takes minutes and is not measured. The live site is served by uvicorn in a process of its
own and asked by several connections, each for the next page as soon as it has one.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil
from machine import Record
from site_runs import write_scenario

HERE = Path(__file__).resolve().parent
MADE = "made.json"
"""Lies among generated runs, when all are there."""

Found = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    models: int = 30
    scenarios: int = 42
    instances: int = 1000
    live_seconds: float = 5.0
    connections: int = 4


QUICK = Settings(models=6, scenarios=6, instances=300, live_seconds=1.0)


def generate(folder: Path, settings: Settings, processes: int) -> None:
    """The runs, if they are not there yet."""
    asked = {name: getattr(settings, name) for name in ("models", "scenarios", "instances")}
    made = folder / MADE
    if made.exists() and json.loads(made.read_text()) == asked:
        return
    folder.mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor(processes) as pool:
        jobs = [
            pool.submit(write_scenario, folder, number, settings.models, settings.instances)
            for number in range(settings.scenarios)
        ]
        for number, job in enumerate(jobs, 1):
            job.result()
            print(f"generated {number} of {len(jobs)} scenarios", flush=True)
    made.write_text(json.dumps(asked))


@dataclass(slots=True)
class Watched:
    """The greatest memory of a process and all below it, in bytes, and the processor seconds of those that it waited
    for and its own."""

    memory: int = 0
    processes: int = 0

    def look(self, process: psutil.Process) -> None:
        found = 0
        try:
            family = [process, *process.children(recursive=True)]
        except psutil.NoSuchProcess:
            return
        for one in family:
            try:
                found += one.memory_full_info().pss
            except psutil.Error:
                continue
        if found > self.memory:
            self.memory, self.processes = found, len(family)


def export(runs: Path, out: Path) -> Found:
    """One export by the command."""
    shutil.rmtree(out, ignore_errors=True)
    command = [sys.executable, "-m", "commonweal", "site", "--runs", str(runs), "--out", str(out), "--json"]
    before, began = os.times(), time.monotonic()
    with tempfile.TemporaryFile("w+") as said:
        child = subprocess.Popen(command, stdout=said, env={**os.environ, "OMP_NUM_THREADS": "1"})
        watched, process = Watched(), psutil.Process(child.pid)
        while child.poll() is None:
            watched.look(process)
            time.sleep(0.25)
        wall, after = time.monotonic() - began, os.times()
        said.seek(0)
        told = said.read()
    if child.returncode:
        raise SystemExit(f"the export failed with exit code {child.returncode}")
    files = [file.stat() for file in out.rglob("*") if file.is_file()]
    return {
        **{name: value for name, value in json.loads(told).items() if name != "folder"},
        "wall": round(wall, 1),
        "cpu": round(
            after.children_user + after.children_system - before.children_user - before.children_system, 1
        ),
        "memory": watched.memory,
        "processes": watched.processes,
        "on_disk": sum(one.st_blocks * 512 for one in files),
        "largest_html": max((one.st_size for one in files), default=0),
    }


@contextmanager
def served(runs: Path) -> Iterator[int]:
    """The port of a live site of the runs."""
    command = [sys.executable, str(HERE / "site_server.py"), str(runs)]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        yield int(server.stdout.readline())
    finally:
        server.terminate()
        server.wait()


def asked(port: int, path: str) -> tuple[int, float]:
    """The bytes of one page, and how long it took on a connection of its own."""
    began = time.monotonic()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=600)
    connection.request("GET", f"/{path}")
    answer = connection.getresponse()
    size = len(answer.read())
    connection.close()
    if answer.status != 200:
        raise SystemExit(f"/{path}: {answer.status}")
    return size, time.monotonic() - began


def a_second(port: int, paths: list[str], settings: Settings) -> float:
    """Pages a second over several connections; each asks for pages of ``paths`` drawn at random."""
    counts = [0] * settings.connections
    until = time.monotonic() + settings.live_seconds

    def ask(number: int) -> None:
        drawn = random.Random(number)
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=600)
        while time.monotonic() < until:
            connection.request("GET", f"/{drawn.choice(paths)}")
            connection.getresponse().read()
            counts[number] += 1
        connection.close()

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(settings.connections)]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / (time.monotonic() - began)


def live(runs: Path, out: Path, settings: Settings) -> Found:
    """Pages a second by kind. Pages of instances are of all runs, and of one run, as one who reads it asks."""
    draw = random.Random(0)

    def some(pattern: str, count: int) -> list[str]:
        found = sorted(str(path.relative_to(out)) for path in out.glob(pattern))
        return draw.sample(found, min(count, len(found)))

    one = str(sorted(out.glob("runs/*/*"))[0].relative_to(out))
    kinds: Mapping[str, list[str]] = {
        "board": ["index.html"],
        "model": some("models/*.html", 50),
        "scenario": some("scenarios/*.html", 50),
        "run": some("runs/*/*/index.html", 300),
        "instances of one run": some(f"{one}/instances-*.html", 300),
        "instances of any run": some("runs/*/*/instances-1*.html", 2000),
    }
    with served(runs) as port:
        _, first = asked(port, "index.html")
        _, second = asked(port, "index.html")
        rates = {name: round(a_second(port, paths, settings), 1) for name, paths in kinds.items() if paths}
    return {"first_board_seconds": round(first, 2), "board_seconds": round(second, 4), "a_second": rates}


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the evaluation site.")
    parser.add_argument("--out", type=Path, default=Path("bench/data/site.json"))
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--runs", type=Path, default=None, help="where the generated runs are kept")
    parser.add_argument("--only-generate", action="store_true")
    arguments = parser.parse_args()
    settings = QUICK if arguments.quick else Settings()
    kind = "quick" if arguments.quick else "full"
    runs = arguments.runs or Path(tempfile.gettempdir()) / f"commonweal-bench-site-{kind}"
    generate(runs, settings, os.cpu_count() or 1)
    if arguments.only_generate:
        return
    out = runs.with_name(f"{runs.name}-public")
    record = Record(what="site", settings=asdict(settings))
    found = {"export": export(runs, out)}
    print(json.dumps(found["export"], indent=1), flush=True)
    found["live"] = live(runs, out, settings)
    print(json.dumps(found["live"], indent=1), flush=True)
    shutil.rmtree(out)
    record.save(arguments.out, found)


if __name__ == "__main__":
    main()
