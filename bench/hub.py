"""The hub: how soon a member has a unit, how many members one process keeps, its memory, and what a fold takes.

    python bench/hub.py --out bench/data/hub.json [--quick]

A hub process of its own (the application as ``commonweal hub`` runs it, with its embedded database) is asked by this
one, which plays the members over HTTP. Its jobs only count units, so that nothing but the hub is measured. There is
no peer to run beside it: no other engine lends work over HTTP with its database embedded; the fold is compared with
one plain mean of the same vectors in numpy.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import socket
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
import uvicorn
from machine import Record, quantile
from processes import HubProcess, Processes, processes

from commonweal import __version__
from commonweal.app import HubSettings, build, first_start
from commonweal.core.blobs import open_blobs
from commonweal.core.clock import SystemClock
from commonweal.core.database import connect, start_embedded
from commonweal.core.hashing import BlobHash
from commonweal.core.ids import JobId, MemberId
from commonweal.core.work import Amount, Fold, Json, MemberView, Plan, Result, Verdict, WorkUnit
from commonweal.pool import wire
from commonweal.train.assignment import Assignment
from commonweal.train.chain import state_bytes
from commonweal.train.codecs import make_codec
from commonweal.train.config import InnerSettings, TrainSettings
from commonweal.train.job import TrainJob
from commonweal.train.judge import DELTA
from commonweal.train.spec import JobSpec

KIND = "count"
HEARTBEAT_SECONDS = 30.0
P99_GOAL_SECONDS = 1.0
THINK_SECONDS = 0.05
POLL_SECONDS = 25.0


class CountingJob:
    """Plans ``width`` units at a time for ever, and writes into each when it was planned."""

    def __init__(self, width: int) -> None:
        self._width = width

    def start(self) -> Json:
        return {"round": 0}

    def plan(self, state: Json, members: Sequence[MemberView], now: float) -> Plan | None:
        amount = Amount(least=1, most=1, first=1, target_seconds=600.0)
        units = tuple(
            WorkUnit(
                key=f"{state['round']:08d}.{slot:04d}",
                kind=KIND,
                payload={"planned": time.time()},
                amount=amount,
            )
            for slot in range(self._width)
        )
        return Plan(units=units, deadline=now + 3600, quorum=self._width, pickup_seconds=3600.0)

    def fold(self, state: Json, results: Sequence[Result], now: float) -> Fold:
        verdicts = tuple(Verdict(unit_key=r.unit_key, member=r.member, accepted=True) for r in results)
        return Fold(state={"round": state["round"] + 1}, record={"message": ""}, verdicts=verdicts)


def counting_job(job: JobId, spec: Json) -> CountingJob:
    return CountingJob(int(spec.get("width", 1)))


def serve(folder: Path) -> None:
    """The hub as ``commonweal hub`` runs it, but for the kind of its jobs. Told where it is by its output."""
    folder.mkdir(parents=True, exist_ok=True)
    listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
    database = connect(start_embedded(folder / "postgres"))
    settings = HubSettings(folder=folder, heartbeat_seconds=HEARTBEAT_SECONDS, lease_seconds=90.0)
    keys = first_start(database, settings, SystemClock())
    assert keys is not None
    app = build(database, open_blobs(str(folder / "store")), {KIND: counting_job}, settings)
    print(f"hub on http://127.0.0.1:{listener.getsockname()[1]} {keys.admin} {keys.join}", flush=True)
    config = uvicorn.Config(
        app, log_level="warning", timeout_keep_alive=75, timeout_graceful_shutdown=2, access_log=False
    )
    try:
        uvicorn.Server(config).run(sockets=[listener])
    finally:
        database.close()


@dataclass(slots=True)
class Line:
    """One kept-alive HTTP connection. Plain sockets: the client must cost less than what it measures."""

    port: int
    key: str
    reader: asyncio.StreamReader | None = None
    writer: asyncio.StreamWriter | None = None
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def post(self, path: str, body: dict[str, Any]) -> tuple[int, Any]:
        """Status and body of the answer."""
        async with self.lock:
            if self.writer is None:
                self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port)
            assert self.reader is not None
            data = json.dumps(body).encode()
            head = (
                f"POST {wire.PREFIX}{path} HTTP/1.1\r\nHost: hub\r\nAuthorization: Bearer {self.key}\r\n"
                f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
            )
            self.writer.write(head.encode() + data)
            lines = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            size = next((int(x.split(":")[1]) for x in lines if x.lower().startswith("content-length")), 0)
            answer = await self.reader.readexactly(size) if size else b""
            return int(lines[0].split()[1]), json.loads(answer) if answer else None

    def close(self) -> None:
        if self.writer is not None:
            self.writer.close()


class Crowd:
    """Members that this process plays, each over a connection of its own."""

    def __init__(self, hub: HubProcess) -> None:
        self.hub = hub
        self.port = int(hub.url.rsplit(":", 1)[1])
        self.keys: list[str] = []
        self._requests = 0

    async def grow(self, count: int) -> float:
        """Register members until there are ``count``; seconds that one took."""
        line, began, before = Line(self.port, self.hub.join), time.monotonic(), len(self.keys)
        while len(self.keys) < count:
            body = {"name": f"member-{len(self.keys)}", "client_version": __version__, "roles": ["train"]}
            status, reply = await line.post("/members", {**body, "request_id": self.request_id()})
            assert status == 201, reply
            self.keys.append(reply["key"])
        line.close()
        return (time.monotonic() - began) / max(1, count - before)

    def request_id(self) -> str:
        self._requests += 1
        return f"request-{os.getpid()}-{self._requests}"

    async def lease(self, line: Line, wait: float) -> tuple[dict[str, Any] | None, float]:
        """A lease if there is one, and when it came."""
        body = {"roles": ["train"], "kinds": [KIND], "wait": wait, "free_memory": 2**33}
        status, reply = await line.post("/lease", {**body, "request_id": self.request_id()})
        assert status in (200, 204), reply
        return reply, time.time()

    async def submit(self, line: Line, lease: dict[str, Any]) -> None:
        body = {"fence": lease["fence"], "amount_done": 1, "seconds": 0.01, "report": {}}
        status, reply = await line.post(f"/units/{lease['unit']}/submit", body)
        assert status == 200, reply

    @asynccontextmanager
    async def waiting(self, count: int, got: list[float], spread: float) -> AsyncIterator[None]:
        """``count`` members wait for work inside, having come over ``spread`` seconds, so that their polls do not
        all end at once; a unit's way to whoever got it is noted in ``got`` (seconds)."""
        lines = [Line(self.port, key) for key in self.keys[:count]]
        tasks = [
            asyncio.create_task(self._work(line, got, spread * i / count)) for i, line in enumerate(lines)
        ]
        await asyncio.sleep(spread + 2.0)
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for line in lines:
                line.close()

    async def _work(self, line: Line, got: list[float], after: float) -> None:
        await asyncio.sleep(after)
        while True:
            lease, at = await self.lease(line, wait=POLL_SECONDS)
            if lease is not None:
                got.append(at - lease["payload"]["planned"])
                await asyncio.sleep(THINK_SECONDS)
                await self.submit(line, lease)


async def measure_leases(
    crowd: Crowd, count: int, units: int, seconds: float, spread: float
) -> dict[str, Any]:
    """Units come one at a time while ``count`` members wait: from the plan to the lease in the member's hands,
    commit, wake-up and answer included."""
    await crowd.grow(count)
    got: list[float] = []
    client = crowd.hub.client()
    async with crowd.waiting(count, got, spread):
        memory = crowd.hub.memory_bytes()
        idle = await _idle_cost(crowd.hub, max(2.0, spread / 4))
        job = await asyncio.to_thread(_submit, client, 1)
        for _ in range(round(seconds / 0.05)):
            if len(got) >= units:
                break
            await asyncio.sleep(0.05)
        await asyncio.to_thread(client.cancel, job)
    client.close()
    values = got[2:]  # the first opens connections of the database
    if not values:
        raise RuntimeError(f"no unit reached any of {count} waiting members in {seconds:g} s")
    return {
        "waiting": count,
        "units": len(values),
        "p50_seconds": quantile(values, 0.5),
        "p99_seconds": quantile(values, 0.99),
        "worst_seconds": max(values),
        "idle_cores": idle,
        "memory_bytes": memory,
    }


async def _idle_cost(hub: HubProcess, seconds: float) -> float:
    """Cores that hub and database use while everybody waits."""
    before, began = sum(hub.cpu_seconds().values()), time.monotonic()
    await asyncio.sleep(seconds)
    return (sum(hub.cpu_seconds().values()) - before) / (time.monotonic() - began)


def _submit(client: Any, width: int) -> str:
    return str(client.submit_job(kind=KIND, name="count", spec={"width": width}, blobs=[], budget=0).id)


async def measure_calls(crowd: Crowd, count: int, units: int) -> dict[str, Any]:
    """Time of a lease call when work is there, with ``count`` members registered: one member takes unit after
    unit."""
    client, line = crowd.hub.client(), Line(crowd.port, crowd.keys[0])
    before = sum(crowd.hub.cpu_seconds().values())
    job = await asyncio.to_thread(_submit, client, units)
    await asyncio.sleep(1.5)
    took, submits = [], []
    for _ in range(units):
        began = time.perf_counter()
        lease, _at = await crowd.lease(line, wait=5)
        took.append(time.perf_counter() - began)
        assert lease is not None
        began = time.perf_counter()
        await crowd.submit(line, lease)
        submits.append(time.perf_counter() - began)
    spent = sum(crowd.hub.cpu_seconds().values()) - before
    await asyncio.to_thread(client.cancel, job)
    client.close()
    line.close()
    return {
        "registered": count,
        "units": units,
        "lease_p50_seconds": quantile(took, 0.5),
        "lease_p99_seconds": quantile(took, 0.99),
        "submit_p50_seconds": quantile(submits, 0.5),
        "submit_p99_seconds": quantile(submits, 0.99),
        "cpu_seconds_per_unit": spent / units,
    }


async def measure_heartbeats(crowd: Crowd, rate: float, seconds: float) -> dict[str, Any]:
    """Heartbeats at ``rate`` a second whatever the answers do (open loop), each due at its time: what is late
    counts as late."""
    lines = [Line(crowd.port, key) for key in crowd.keys]
    latencies: list[float] = []
    failed = 0
    body = {"state": "idle", "leases": []}

    async def beat(line: Line, due: float) -> None:
        nonlocal failed
        try:
            status, _ = await line.post("/heartbeat", body)
            failed += status != 200
        except (OSError, asyncio.IncompleteReadError):
            failed += 1
        latencies.append(time.perf_counter() - due)

    for line in lines[: min(len(lines), 200)]:
        await line.post("/heartbeat", body)
    before, mine = crowd.hub.cpu_seconds(), time.process_time()
    start = time.perf_counter()
    tasks = []
    for number in range(round(rate * seconds)):
        due = start + number / rate
        if (ahead := due - time.perf_counter()) > 0:
            await asyncio.sleep(ahead)
        tasks.append(asyncio.create_task(beat(lines[number % len(lines)], due)))
    _, late = await asyncio.wait(tasks, timeout=5)
    took = time.perf_counter() - start
    for task in late:
        task.cancel()
    spent = {name: value - before[name] for name, value in crowd.hub.cpu_seconds().items()}
    for line in lines:
        line.close()
    answered = len(latencies)
    return {
        "rate": rate,
        "members_at_30_s": rate * HEARTBEAT_SECONDS,
        "sent": len(tasks),
        "unanswered": len(late),
        "failed": failed,
        "p50_seconds": quantile(latencies, 0.5),
        "p99_seconds": quantile(latencies, 0.99),
        "kept": not late and not failed and quantile(latencies, 0.99) < P99_GOAL_SECONDS,
        "cpu_ms_per_heartbeat": {name: 1e3 * value / answered for name, value in spent.items()},
        "cores": sum(spent.values()) / took,
        "generator_cores": (time.process_time() - mine) / took,
    }


async def find_heartbeats(crowd: Crowd, count: int, rates: Sequence[float], seconds: float) -> dict[str, Any]:
    """Raise the rate until the hub does not keep up, then once more in between."""
    await crowd.grow(count)
    rows = []
    for rate in rates:
        rows.append(await measure_heartbeats(crowd, rate, seconds))
        if not rows[-1]["kept"]:
            break
        await asyncio.sleep(0.5)
    kept = [row["rate"] for row in rows if row["kept"]]
    missed = [row["rate"] for row in rows if not row["kept"]]
    if kept and missed:
        rows.append(await measure_heartbeats(crowd, (max(kept) + min(missed)) / 2, seconds))
    best = max((row["rate"] for row in rows if row["kept"]), default=0.0)
    return {"registered": count, "rate_kept": best, "members": best * HEARTBEAT_SECONDS, "rows": rows}


def fold_fixture(parameters: int, members: int, folder: Path) -> tuple[TrainJob, Json, list[Result]]:
    """A training job before its second round, and what ``members`` handed in, in 4 bits."""
    blobs = open_blobs(str(folder))
    rng = np.random.default_rng(parameters + members)
    theta = blobs.put(state_bytes(rng.standard_normal(parameters, dtype=np.float32) * np.float32(0.02)))
    settings = TrainSettings(name="fold", train=InnerSettings(steps=1000))
    spec = JobSpec(
        settings=settings.to_json(),
        parameters=parameters,
        theta=theta,
        fragments=(((0, parameters),),),
        worker=theta,
        memory_bytes=0,
        model={},
        held_out={},
        provenance={},
    )
    job = TrainJob(JobId("job_fold"), json.loads(json.dumps(spec.to_json())), blobs, None)
    here = [
        MemberView(id=MemberId(f"mem_{i:02d}"), rate=None, upload=None, download=None, reputation=0.5)
        for i in range(members)
    ]
    plan = job.plan(job.start(), here, 0.0)
    assert plan is not None
    results = []
    for unit, member in zip(plan.units, here, strict=True):
        terms = Assignment.from_json(unit.payload)
        delta = rng.standard_normal(parameters, dtype=np.float32) * np.float32(1e-3)
        results.append(_result(unit, member.id, terms, blobs.put(make_codec("int4").encode(delta, seed=1))))
    return job, job.start(), results


def _result(unit: WorkUnit, member: MemberId, terms: Assignment, delta: BlobHash) -> Result:
    steps = terms.inner_steps
    report = {"state_hash": terms.base, "steps": steps, "tokens": steps * 1024, "loss": 5.0, "down_bytes": 0}
    return Result(
        unit_key=unit.key,
        member=member,
        payload=unit.payload,
        report=report,
        blobs={DELTA: delta},
        amount_asked=steps,
        seconds=1.0,
    )


def measure_fold(parameters: int, members: int, repeats: int) -> dict[str, Any]:
    """A whole fold but for scoring: read, decode, check, clip, average, outer step, encode, store."""
    with tempfile.TemporaryDirectory(prefix="commonweal-fold-") as folder:
        job, state, results = fold_fixture(parameters, members, Path(folder))
        assert job.fold(state, results, 1.0).status == "running"
        walls, cpus = _times(lambda: job.fold(state, results, 1.0), repeats)
    vectors = [np.ones(parameters, np.float32) * i for i in range(members)]
    plain, _ = _times(lambda: np.mean(vectors, axis=0), repeats)
    millions = parameters / 1e6
    return {
        "parameters": parameters,
        "members": members,
        "seconds": quantile(walls, 0.5),
        "cpu_seconds": quantile(cpus, 0.5),
        "cpu_ms_per_million_and_member": 1e3 * quantile(cpus, 0.5) / millions / members,
        "plain_mean_ms_per_million_and_member": 1e3 * quantile(plain, 0.5) / millions / members,
    }


def _times(work: Callable[[], object], repeats: int) -> tuple[list[float], list[float]]:
    walls, cpus = [], []
    for _ in range(repeats):
        wall, cpu = time.perf_counter(), time.process_time()
        work()
        walls.append(time.perf_counter() - wall)
        cpus.append(time.process_time() - cpu)
    return walls, cpus


async def measure_hub(hub: HubProcess, quick: bool) -> dict[str, Any]:
    """Everything over HTTP, from few members to many."""
    crowd = Crowd(hub)
    start_memory = hub.memory_bytes()
    register = await crowd.grow(20)
    leases, calls, beats = [], [], []
    for count in (20, 50) if quick else (50, 500, 1000):
        units, seconds, spread = (40, 4.0, 1.0) if quick else (300, 40.0, POLL_SECONDS)
        leases.append(await measure_leases(crowd, count, units, seconds, spread))
        calls.append(await measure_calls(crowd, count, 20 if quick else 100))
        print(json.dumps(leases[-1]), json.dumps(calls[-1]), sep="\n", flush=True)
    rates = (30,) if quick else (50, 100, 150, 200, 300, 400, 600)
    for count in (50,) if quick else (500, 1500):
        beats.append(await find_heartbeats(crowd, count, rates, 2.0 if quick else 6.0))
        print(json.dumps(beats[-1]), flush=True)
    return {
        "register_seconds": register,
        "memory_bytes_at_start": start_memory,
        "memory_bytes_at_end": hub.memory_bytes(),
        "leases": leases,
        "calls": calls,
        "heartbeats": beats,
    }


def started_hub(running: Processes) -> HubProcess:
    folder = running.folder / "hub"
    started = running.run([sys.executable, __file__, "--serve", str(folder)], "hub")
    return running.opened(started, folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("bench/data/hub.json"))
    parser.add_argument("--quick", action="store_true", help="small sizes, less than a minute")
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        serve(arguments.serve)
        return
    record = Record(
        "the hub: leases, heartbeats, memory, folds",
        {
            "quick": arguments.quick,
            "heartbeat_seconds": HEARTBEAT_SECONDS,
            "p99_goal_seconds": P99_GOAL_SECONDS,
        },
    )
    sizes, crowds = ((1_000_000,), (2, 4)) if arguments.quick else ((1_000_000, 10_000_000), (2, 4, 8))
    folds = [measure_fold(size, members, 3 if arguments.quick else 5) for size in sizes for members in crowds]
    for row in folds:
        print(json.dumps(row), flush=True)
    name = f"commonweal-bench-hub-{os.getpid()}"
    with tempfile.TemporaryDirectory(prefix=f"{name}-") as folder, processes(Path(folder), name) as running:
        found = asyncio.run(measure_hub(started_hub(running), arguments.quick))
    record.save(arguments.out, {**found, "folds": folds})


if __name__ == "__main__":
    main()
