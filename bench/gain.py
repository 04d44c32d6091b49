"""Gain: tokens per second of one, two and four members, against one machine alone.

    python bench/gain.py --out bench/data/gain.json [--quick]

The peer is plain torch: the same model and batch, AdamW, one thread, no pool. Every member, and the machine alone,
is held to the same share of a core by a control group, so that four of them fit on two cores beside the hub and
each is a machine of its own. Processor seconds are counted too, which no control group is needed for: tokens per
processor second of the members, and what the hub adds.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

from machine import Record
from processes import HubProcess, Processes, Started, finished, present, processes, submit

from commonweal.train.config import TrainSettings, load_job

JOB = Path(__file__).parent / "jobs" / "small.toml"
MEMBERS = (1, 2, 4)


def measure_pool(
    hub: HubProcess, members: list[Started], settings: TrainSettings, work: Path
) -> dict[str, Any]:
    """One job on the members that are there."""
    client = hub.client()

    def spent() -> dict[str, float]:
        return {**hub.cpu_seconds(), "members": sum(member.cpu_seconds() for member in members)}

    before, load = spent(), os.getloadavg()[0]
    view, records = finished(client, submit(client, settings, work), 400.0)
    cpu = {name: value - before[name] for name, value in spent().items()}
    client.close()
    rows = [record for record in records if record.record["outcome"] == "folded"]
    tokens = rows[-1].record["tokens"]
    start = rows[0].at - rows[0].record["seconds"]
    steady = rows[-1].record["tokens"] - rows[0].record["tokens"]
    return {
        "load_before": round(load, 2),
        "load_after": round(os.getloadavg()[0], 2),
        "tokens": tokens,
        "rounds": len(rows),
        "wall_seconds": rows[-1].at - start,
        "tokens_per_second": tokens / (rows[-1].at - start),
        "steady_tokens_per_second": steady / (rows[-1].at - rows[0].at),
        "cpu_seconds": cpu,
        "tokens_per_member_cpu_second": tokens / cpu["members"],
        "hub_cpu_ms_per_1000_tokens": 1e6 * (cpu["hub"] + cpu["database"]) / tokens,
        "held_out_loss": records[-1].record["held_out_loss"],
        "parameters": view.spec["parameters"],
        "model": view.spec["model"],
    }


def alone(text: str) -> None:
    """The machine alone: plain torch, in a process of its own."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    asked = json.loads(text)
    torch.set_num_threads(1)
    torch.manual_seed(0)
    config = dict(asked["model"])
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(config.pop("model_type"), **config))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, betas=(0.9, 0.95), weight_decay=0.1)
    model.train()
    shape = (asked["batch_size"], asked["seq_len"])
    steps, began, cpu = 0, 0.0, 0.0
    while steps <= asked["steps"]:
        if steps == 1:  # the first pays for the start-up
            print("ready", flush=True)
            time.sleep(0.5)  # until it is held to its share
            began, cpu = time.monotonic(), time.process_time()
        ids = torch.randint(0, model.config.vocab_size, shape)
        model(input_ids=ids, labels=ids).loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        steps += 1
    done = {
        "tokens": asked["steps"] * shape[0] * shape[1],
        "wall_seconds": time.monotonic() - began,
        "cpu_seconds": time.process_time() - cpu,
    }
    print(f"alone {json.dumps(done)}", flush=True)


def measure_alone(
    running: Processes,
    settings: TrainSettings,
    model: dict[str, Any],
    arguments: argparse.Namespace,
    turn: int,
) -> dict[str, Any]:
    name = f"alone-{turn}"
    asked = {
        "model": model,
        "batch_size": settings.train.batch_size,
        "seq_len": settings.train.seq_len,
        "steps": arguments.steps // 2,
    }
    started = running.run([sys.executable, __file__, "--alone", json.dumps(asked)], name)
    started.says(r"(ready)")
    running.shares.hold(started.process.pid, name, arguments.share)
    load = os.getloadavg()[0]
    found = json.loads(started.says(r"alone (\{.*\})", 300.0))
    return {
        **found,
        "load_before": round(load, 2),
        "tokens_per_second": found["tokens"] / found["wall_seconds"],
        "tokens_per_cpu_second": found["tokens"] / found["cpu_seconds"],
    }


def measure(arguments: argparse.Namespace, folder: Path, name: str) -> dict[str, Any]:
    base = load_job(JOB)
    work = folder / "data"
    rows: list[dict[str, Any]] = []
    peers: list[dict[str, Any]] = []
    with processes(folder, name) as running:
        hub = running.hub()
        names = [f"member-{index}" for index in range(max(MEMBERS))]
        members = [running.member(hub, member) for member in names]
        client = hub.client()
        present(client, len(members))
        client.close()
        warm = replace(base, train=replace(base.train, steps=8, seed=100))
        model = measure_pool(hub, members, warm, work)[
            "model"
        ]  # the first job loads torch; it counts for nothing
        for member, started in zip(names, members, strict=True):
            running.shares.hold(started.process.pid, member, arguments.share)
        for turn in range(arguments.repeats):
            for count in MEMBERS:
                peers.append(measure_alone(running, base, model, arguments, len(peers)))
                print(json.dumps(peers[-1]), flush=True)
                rounds = replace(base.rounds, min_members=count, quorum=count, max_members=count)
                job = replace(
                    base, rounds=rounds, train=replace(base.train, steps=arguments.steps, seed=turn)
                )
                rows.append(measure_pool(hub, members, job, work) | {"members": count, "model": None})
                print(json.dumps(rows[-1]), flush=True)
        return {
            "alone": peers,
            "pool": rows,
            "summary": summary(peers, rows),
            "share": arguments.share if running.shares.work else None,
        }


def summary(peers: list[dict[str, Any]], rows: list[dict[str, Any]]) -> list[dict[str, float]]:
    """Medians for each number of members, against the machine alone."""
    wall = statistics.median(peer["tokens_per_second"] for peer in peers)
    cpu = statistics.median(peer["tokens_per_cpu_second"] for peer in peers)
    found = []
    for count in sorted({row["members"] for row in rows}):
        mine = [row for row in rows if row["members"] == count]
        speed = statistics.median(row["steady_tokens_per_second"] for row in mine)
        efficiency = statistics.median(row["tokens_per_member_cpu_second"] for row in mine) / cpu
        found.append(
            {
                "members": count,
                "gain": speed / wall,
                "gain_with_start": statistics.median(row["tokens_per_second"] for row in mine) / wall,
                "share_of_ideal": speed / wall / count,
                "cpu_efficiency": efficiency,
                "hub_cpu_ms_per_1000_tokens": statistics.median(
                    row["hub_cpu_ms_per_1000_tokens"] for row in mine
                ),
            }
        )
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("bench/data/gain.json"))
    parser.add_argument("--quick", action="store_true", help="short jobs")
    parser.add_argument("--share", type=float, default=0.35, help="of a core that each machine has")
    parser.add_argument("--steps", type=int, default=120, help="inner steps of a job")
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--alone", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.alone:
        alone(arguments.alone)
        return
    if arguments.quick:
        arguments.steps = 16
    settings = {k: v for k, v in vars(arguments).items() if k not in ("out", "alone")}
    record = Record("tokens per second of a pool against one machine alone", settings)
    name = f"commonweal-bench-gain-{os.getpid()}"
    with tempfile.TemporaryDirectory(prefix=f"{name}-") as folder:
        found = measure(arguments, Path(folder), name)
    record.save(arguments.out, found)


if __name__ == "__main__":
    main()
