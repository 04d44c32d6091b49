"""Through hub and worker: the same model, prompts and streams as the engine alone, asked over ``/v1`` with streaming.

    python bench/serve_through.py [--tokens 64] [--streams 1,16]

A hub and one member are started as a person would (one thread for the engine); a 15M-parameter Llama is published; this
process asks. Engine alone and engine through the pool take turns in one run, so the machine's load hits both; the
processor time is the member's, and beside it the hub's. Prints JSON; ``make bench-serve`` uses it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import httpx
from processes import HubProcess, Started, present, processes
from serve_engine import CACHED, requests, save_llama, speed

from commonweal.commands.publishing import Models, publish_folder
from commonweal.models.engine.local import LocalEngine
from commonweal.models.engine.options import EngineOptions

NAME = "llama-15m"
ROUNDS = 3


async def alone(folder: Path, streams: int, tokens: int) -> dict[str, Any]:
    engine = LocalEngine(EngineOptions(threads=1, slots=16))
    try:
        await engine.load("m", folder)
        await speed(engine, requests("m", 2, 4))
        return asdict(await speed(engine, requests("m", streams, tokens, bias=())))
    finally:
        await engine.close()


async def through(hub: HubProcess, member: Started, streams: int, tokens: int) -> dict[str, Any]:
    """As many streams at once over the API."""
    limits = httpx.Limits(max_connections=streams)
    headers = {"Authorization": f"Bearer {hub.admin}"}
    async with httpx.AsyncClient(base_url=hub.url, headers=headers, timeout=300, limits=limits) as client:
        spent, wall = _spent(hub, member), time.perf_counter()
        asked = requests(NAME, streams, tokens)
        heard = await asyncio.gather(*(_one(client, str(one.prompt), tokens) for one in asked))
        wall = time.perf_counter() - wall
        used = {name: value - spent[name] for name, value in _spent(hub, member).items()}
    made, firsts = sum(count for _, count in heard), sorted(first for first, _ in heard)
    return {
        "streams": streams,
        "tokens": made,
        "wall_s": wall,
        "tokens_per_s": made / wall,
        "tokens_per_processor_s": made / used["member"],
        "hub_us_a_token": 1e6 * used["hub"] / made,
        "first_token_s": firsts[len(firsts) // 2],
        "worst_first_token_s": firsts[-1],
    }


async def _one(client: httpx.AsyncClient, prompt: str, tokens: int) -> tuple[float, int]:
    """Seconds to the first token of one stream, and its tokens. Greedy, as the engine alone."""
    body = {
        "model": NAME,
        "prompt": prompt,
        "max_tokens": tokens,
        "temperature": 0,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    began, first, count = time.perf_counter(), 0.0, 0
    async with client.stream("POST", "/v1/completions", json=body) as response:
        if response.status_code != 200:
            raise RuntimeError((await response.aread()).decode())
        async for line in response.aiter_lines():
            if line.startswith("data: {") and not first:
                first = time.perf_counter() - began
            if line.startswith("data: {") and (usage := json.loads(line[6:]).get("usage")):
                count = usage["completion_tokens"]
    return first, count


def _spent(hub: HubProcess, member: Started) -> dict[str, float]:
    parts = hub.cpu_seconds()
    return {"member": member.cpu_seconds(), "hub": sum(parts.values())}


def measure(folder: Path, *, streams: Sequence[int], tokens: int) -> dict[str, Any]:
    save_llama(folder)
    model = folder / CACHED / "snapshots" / "0123abcd"
    rows = []
    with processes(folder, f"commonweal-bench-through-{os.getpid()}") as running:
        hub = running.hub()
        member = running.member(hub, "ada")
        client = hub.client()
        present(client, 1)
        member.says("(serving_connected)")
        models = Models(hub.url, hub.admin)
        publish_folder(models, client, model, NAME)
        models.close()
        client.close()
        asyncio.run(through(hub, member, 2, 4))  # loads the model
        for count in streams:
            for _ in range(ROUNDS):
                rows.append(
                    {
                        "streams": count,
                        "alone": asyncio.run(alone(model, count, tokens)),
                        "through": asyncio.run(through(hub, member, count, tokens)),
                    }
                )
                print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
    return {"tokens": tokens, "rows": rows}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--streams", default="1,16")
    arguments = parser.parse_args()
    counts = [int(count) for count in arguments.streams.split(",")]
    with tempfile.TemporaryDirectory(prefix="commonweal-bench-through-") as folder:
        found = measure(Path(folder), streams=counts, tokens=arguments.tokens)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
