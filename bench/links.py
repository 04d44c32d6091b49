"""Speed over slow links: a hub and four members, each in a network namespace, with and without a limit.

    python bench/links.py --out bench/data/links.json [--quick]

How slow is slow: in a data centre, sending one full float32 gradient takes ``--datacentre-share`` of a step's time
(assumed 0.1: a well-built cluster, whose per-step all-reduce costs about a tenth of a step). The link here is 100
times slower relative to the step: the same gradient takes 100 x 0.1 = 10 steps of a member as measured here. ``tc
tbf`` holds every member's link to that rate, up and down, and a relay adds the latency of a home link.

Fair on few cores: every member is held to its own share of a core by a control group, so that a member that waits
for the network does not lend its processor to the others. Two pools of the same members stand side by side, one
with links and one without; they run the same job by turns, and each is idle while the other works. The peer,
measured on the same limited links, is one float32 all-reduce of torch.distributed (gloo), which per-step training
would do at every step.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

from machine import Record
from network import NoNetwork, Street, street
from processes import HubProcess, Processes, Started, events, finished, present, processes, submit

from commonweal.pool import wire
from commonweal.train.config import TrainSettings, load_job

JOB = Path(__file__).parent / "jobs" / "small.toml"
TIMES_SLOWER = 100.0
MEMBERS = 4


@dataclass(slots=True)
class Pool:
    """A hub and its members on one street."""

    name: str
    street: Street
    hub: HubProcess
    members: list[Started]

    def cpu_seconds(self) -> dict[str, float]:
        members = sum(member.cpu_seconds() for member in self.members)
        return {**self.hub.cpu_seconds(), "members": members}


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """``at``: seconds since the job's first plan."""

    at: float
    period: float
    inner_steps: int
    tokens: int
    loss: float | None
    held_out_loss: float | None
    codec: str
    fragment_share: float
    up_bytes: int
    down_bytes: int
    stragglers: int


def start_pool(running: Processes, ways: Street, name: str) -> Pool:
    hub = running.hub(f"{name}-hub", host=ways.hub_address, namespace=ways.hub_namespace)
    members = [
        running.member(hub, f"{name}-{index}", namespace=ways.member_namespace(index))
        for index in range(MEMBERS)
    ]
    return Pool(name, ways, hub, members)


def run_job(pool: Pool, settings: TrainSettings, work: Path, *, seconds: float = 400.0) -> dict[str, Any]:
    """One job, and what it took."""
    client = pool.hub.client()
    load, wire_before, cpu_before = os.getloadavg()[0], pool.street.wire_bytes(), pool.cpu_seconds()
    job = submit(client, settings, work)
    view, records = finished(client, job, seconds)
    cpu = {name: value - cpu_before[name] for name, value in pool.cpu_seconds().items()}
    moved = {way: value - wire_before[way] for way, value in pool.street.wire_bytes().items()}
    client.close()
    rows = rounds_of(records, view.spec["parameters"])
    return {
        "pool": pool.name,
        "load_before": round(load, 2),
        "load_after": round(os.getloadavg()[0], 2),
        "wall_seconds": rows[-1].at,
        "after_first_round_seconds": rows[-1].at - rows[0].at,
        "inner_steps": records[-1].record["step"],
        "tokens": rows[-1].tokens,
        "loss": rows[-1].loss,
        "held_out_loss": records[-1].record["held_out_loss"],
        "median_round_seconds_per_step": statistics.median(
            row.period / row.inner_steps for row in rows[1:] or rows
        ),
        "cpu_seconds": cpu,
        "wire_bytes": moved,
        "payload_bytes": {"up": sum(r.up_bytes for r in rows), "down": sum(r.down_bytes for r in rows)},
        "reasons": sorted({str(r.record["reason"]) for r in records}),
        "rounds": [asdict(row) for row in rows],
    }


def rounds_of(records: Sequence[wire.RoundView], parameters: int) -> list[Round]:
    folded = [r for r in records if r.record["outcome"] == "folded"]
    start = records[0].at - records[0].record["seconds"]
    found, before = [], start
    for view in folded:
        record = view.record
        first, last = record["fragment"]
        found.append(
            Round(
                at=view.at - start,
                period=view.at - before,
                inner_steps=record["inner_steps"],
                tokens=record["tokens"],
                loss=record["loss"],
                held_out_loss=record["held_out_loss"],
                codec=record["codec_up"],
                fragment_share=(last - first) / parameters,
                up_bytes=record["up_bytes"],
                down_bytes=record["down_bytes"],
                stragglers=record["stragglers"],
            )
        )
        before = view.at
    return found


def seconds_to_loss(run: dict[str, Any], target: float) -> float | None:
    """When the held-out loss came down to ``target``, between the two rounds that it was measured at."""
    known = [(row["at"], row["held_out_loss"]) for row in run["rounds"] if row["held_out_loss"] is not None]
    for (at, loss), (next_at, next_loss) in pairwise(known):
        if next_loss <= target:
            if loss <= target:
                return float(at)
            return float(at + (next_at - at) * (loss - target) / (loss - next_loss))
    return None


def step_seconds(pool: Pool, after: int) -> float:
    """What an inner step takes a member, by its own measurements; the first ``after`` units of each left out."""
    units = [event for member in pool.members for event in events(member, "submitted")[after:]]
    return float(statistics.median(event["seconds"] / event["amount_done"] for event in units))


def compare(fast: dict[str, Any], slow: dict[str, Any]) -> dict[str, float | None]:
    """The limited run against the free one that ran beside it."""
    target = max(fast["held_out_loss"], slow["held_out_loss"])
    to_loss = [seconds_to_loss(run, target) for run in (fast, slow)]
    return {
        "wall": slow["wall_seconds"] / fast["wall_seconds"],
        "after_first_round": slow["after_first_round_seconds"] / fast["after_first_round_seconds"],
        "median_step": slow["median_round_seconds_per_step"] / fast["median_round_seconds_per_step"],
        "to_loss": to_loss[1] / to_loss[0] if to_loss[0] and to_loss[1] else None,
        "target_loss": target,
        "loss": slow["held_out_loss"] / fast["held_out_loss"],
        "member_cpu": slow["cpu_seconds"]["members"] / fast["cpu_seconds"]["members"],
    }


def measure_all_reduce(running: Processes, ways: Street, floats: int, repeats: int) -> list[float]:
    """Seconds of one float32 all-reduce by gloo over the limited links."""
    master = f"{ways.member_address(0)}:{29_000 + ways.number}"
    peers = [
        running.run(
            [sys.executable, __file__, "--peer", f"{rank},{MEMBERS},{master},{floats},{repeats}"],
            f"peer-{rank}",
            namespace=ways.member_namespace(rank),
        )
        for rank in range(MEMBERS)
    ]
    return [float(x) for x in json.loads(peers[0].says(r"took (\[.*\])", 240.0))]


def all_reduce(text: str) -> None:
    """One process of the peer."""
    import torch
    import torch.distributed as distributed

    rank, world, master, floats, repeats = text.split(",")
    os.environ["GLOO_SOCKET_IFNAME"] = "eth0"
    distributed.init_process_group(
        "gloo", init_method=f"tcp://{master}", rank=int(rank), world_size=int(world)
    )
    gradient, took = torch.ones(int(floats)), []
    for _ in range(int(repeats)):
        distributed.barrier()
        began = time.monotonic()
        distributed.all_reduce(gradient)
        took.append(time.monotonic() - began)
    print(f"took {json.dumps(took)}", flush=True)
    distributed.destroy_process_group()


@contextmanager
def two_pools(
    arguments: argparse.Namespace, folder: Path, name: str
) -> Iterator[tuple[Processes, Pool, Pool]]:
    """The free pool and the one whose links will be limited; raises NoNetwork."""
    with ExitStack() as stack:
        base = os.getpid() % 120
        free = stack.enter_context(street(base, MEMBERS, 0.0))
        slow = stack.enter_context(street(base + 120, MEMBERS, arguments.round_trip_ms / 1e3))
        running = stack.enter_context(processes(folder, name))
        pools = [start_pool(running, s, n) for s, n in ((free, "free"), (slow, "slow"))]
        for pool in pools:
            client = pool.hub.client()
            present(client, MEMBERS)
            client.close()
        yield running, pools[0], pools[1]


def hold(running: Processes, pool: Pool, share: float) -> None:
    for index, member in enumerate(pool.members):
        running.shares.hold(member.process.pid, f"{pool.name}-{index}", share)


def measure(arguments: argparse.Namespace, folder: Path, name: str) -> dict[str, Any]:
    base = load_job(JOB)
    base = replace(base, train=replace(base.train, steps=arguments.steps))
    work = folder / "data"
    with two_pools(arguments, folder, name) as (running, free, slow):
        plain = replace(base, rounds=replace(base.rounds, plan=False))
        load_code = replace(plain, train=replace(base.train, steps=4, seed=1000))
        warm = replace(plain, train=replace(base.train, steps=16, seed=1001))
        for pool in (free, slow):
            run_job(pool, load_code, work)
            hold(running, pool, arguments.share)
        run_job(free, warm, work)
        step, parameters, warmed = step_seconds(free, 2), parameters_of(free), units_done(free)
        rate = 4 * parameters / (TIMES_SLOWER * arguments.datacentre_share * step)
        slow.street.limit(rate)
        joined = run_job(slow, warm, work)
        print(f"a step takes {step:.3f} s; links of {8 * rate / 1e6:.2f} Mbit/s", flush=True)
        runs: dict[str, list[dict[str, Any]]] = {"free": [], "slow": [], "overlap": []}
        for turn in range(arguments.pairs):
            job = replace(base, train=replace(base.train, seed=turn))
            # Another seed, or the members would have its first weights in their caches.
            other = replace(job.train, seed=1 + turn + arguments.pairs)
            ahead = replace(job, train=other, rounds=replace(job.rounds, overlap=True))
            for way, pool, settings in (("free", free, job), ("slow", slow, job), ("overlap", slow, ahead)):
                if way == "overlap" and turn >= arguments.overlap_runs:
                    continue
                runs[way].append(run_job(pool, settings, work))
                told = {k: v for k, v in runs[way][-1].items() if k not in ("rounds", "reasons")}
                print(way, json.dumps(told), flush=True)
        client = slow.hub.client()
        links = [{"upload": m.upload, "download": m.download} for m in client.members()]
        client.close()
        in_runs = step_seconds(free, warmed)
        memory = {pool.name: pool.hub.memory_bytes() for pool in (free, slow)}
        reduced = measure_all_reduce(running, slow.street, parameters, 1 if arguments.quick else 3)
        shares = running.shares.work
    peer = statistics.median(reduced)
    return {
        "skipped": None,
        "parameters": parameters,
        "step_seconds": step,
        "step_seconds_in_free_runs": in_runs,
        "times_slower": 4 * parameters / rate / in_runs / arguments.datacentre_share,
        "link_bytes_per_second": rate,
        "links_as_measured_by_members": links,
        "members_held_to_share": arguments.share if shares else None,
        "joining": {k: v for k, v in joined.items() if k != "rounds"},
        "runs": runs,
        "ratios": [compare(a, b) for a, b in zip(runs["free"], runs["slow"], strict=True)],
        "overlap_ratios": [compare(a, b) for a, b in zip(runs["free"], runs["overlap"], strict=False)],
        "hub_memory_bytes": memory,
        "peer": {
            "name": "gloo all-reduce, float32, every step",
            "all_reduce_seconds": reduced,
            "ratio": (in_runs + peer) / in_runs,
        },
    }


def units_done(pool: Pool) -> int:
    """Units that each member has handed in, at most."""
    return max(len(events(member, "submitted")) for member in pool.members)


def parameters_of(pool: Pool) -> int:
    client = pool.hub.client()
    parameters = int(client.jobs()[0].spec["parameters"])
    client.close()
    return parameters


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("bench/data/links.json"))
    parser.add_argument("--quick", action="store_true", help="one short pair")
    parser.add_argument(
        "--datacentre-share", type=float, default=0.1, help="of a step, to send a gradient there"
    )
    parser.add_argument("--round-trip-ms", type=float, default=25.0, help="latency of a limited link")
    parser.add_argument("--share", type=float, default=0.35, help="of a core that each member has")
    parser.add_argument("--steps", type=int, default=200, help="inner steps of a run")
    parser.add_argument("--pairs", type=int, default=2)
    parser.add_argument("--overlap-runs", type=int, default=1)
    parser.add_argument("--peer", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.peer:
        all_reduce(arguments.peer)
        return
    if arguments.quick:
        arguments.steps, arguments.pairs, arguments.overlap_runs = 32, 1, 1
    settings = {k: v for k, v in vars(arguments).items() if k not in ("out", "peer")}
    record = Record(
        "wall time of a training job over slow links",
        {**settings, "times_slower": TIMES_SLOWER, "members": MEMBERS},
    )
    name = f"commonweal-bench-links-{os.getpid()}"
    with tempfile.TemporaryDirectory(prefix=f"{name}-") as folder:
        try:
            found = measure(arguments, Path(folder), name)
        except NoNetwork as error:
            print(f"skipped: {error}")
            found = {"skipped": str(error)}
    record.save(arguments.out, found)


if __name__ == "__main__":
    main()
