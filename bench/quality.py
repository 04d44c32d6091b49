"""Quality at equal tokens: what each way of communicating costs in loss and saves in bytes.

    python bench/quality.py --out bench/data/quality.json            # everything: two hours on one core
    python bench/quality.py --only 'all-reduce;recipe, int2' --seeds 0       # a part of it
    python bench/quality.py --list

Every run trains a Llama of 0.1 million parameters (a few: 0.8 million, the demo's size) from scratch on the text of the
Python standard library, as bytes, with four simulated members. Bytes are one member's, up plus down, from the
first step to the last;
``reduction`` is against per-step all-reduce in float32 (4 bytes a parameter up and 4 down at each step). The first
download of the initial weights, which every way has, is not counted. Each finished run is added to the file
at once and never done again, so the script can be stopped and started. Each says by itself on what machine, at what
commit, by what command and under what load it was done (``made``), as they need not be of one day.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import sysconfig
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from machine import Record
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM

from commonweal.train.codecs import make_codec
from commonweal.train.optimizer import InnerOptions, OptimizerName
from commonweal.train.outer import OuterOptions
from commonweal.train.schedule import (
    OuterSchedule,
    RateOptions,
    SyncOptions,
    learning_rate,
    outer_options,
    rounds,
)
from commonweal.train.simulate import Method, Point, Simulated, simulate_all_reduce, simulate_pool

MEMBERS = 4
SEQUENCE = 64
BATCH = 8
HELD_OUT = 50
BLOCK = 4096
EVALUATED = 1024
SKIPPED = frozenset({"site-packages", "test", "tests", "idlelib", "lib2to3"})
SIZES = {"small": (64, 172, 2), "demo": (128, 340, 4)}
"""Width, inner width and layers: 0.1 and 0.8 million parameters."""
PLAIN = OuterSchedule(settled=OuterOptions(lr=1.0, momentum=0.0))
DILOCO = OuterSchedule(settled=OuterOptions(lr=0.7, momentum=0.9))
RAMP = OuterSchedule(start=0.1, end=0.5, settled=OuterOptions(lr=0.8, momentum=0.8))
MUON_RAMP = OuterSchedule(start=0.1, end=0.5, settled=OuterOptions(lr=0.9, momentum=0.6))
Bytes = np.ndarray[Any, np.dtype[np.uint8]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """A way to train. Without ``sync`` it is per-step all-reduce."""

    name: str
    seeds: tuple[int, ...] = (0, 1, 2)
    steps: int = 1200
    optimizer: OptimizerName = "adamw"
    lr: float = 4e-3
    size: str = "small"
    beta2: float = 0.95
    momentum: float = 0.95
    sync: SyncOptions | None = None
    outer: OuterSchedule = RAMP
    up: str = "fp32"
    down: str = "fp32"
    early: str = ""
    early_share: float = 0.33


def every(h: int) -> SyncOptions:
    return SyncOptions(first=h, last=h)


LAST_H = {400: 16, 1200: 28, 3600: 56, 12_000: 128}
"""Where H ends, by the length of the run: chosen for 300 times fewer bytes at 1,200 steps with two bits each way, and
for 1,000 times at 12,000."""


def growing(steps: int) -> SyncOptions:
    return SyncOptions(first=4, last=LAST_H[steps], growth=0.33)


def pooled(name: str, up: str, down: str, *, steps: int = 1200, seeds: tuple[int, ...] = (0, 1, 2)) -> Way:
    """The recipe, with these codecs."""
    return Way(name=name, steps=steps, seeds=seeds, beta2=0.99, sync=growing(steps), up=up, down=down)


def pooled_muon(name: str, codec: str, *, steps: int = 1200, seeds: tuple[int, ...] = (0, 1, 2)) -> Way:
    """The recipe with Muon: less outer momentum, as its steps have more of their own; a larger learning rate."""
    return replace(
        pooled(name, codec, codec, steps=steps, seeds=seeds),
        optimizer="muon",
        lr=8e-3,
        momentum=0.9,
        outer=MUON_RAMP,
    )


def ways() -> list[Way]:
    table = [
        Way(name="all-reduce"),
        *(Way(name=f"all-reduce, lr {lr:g}", seeds=(0,), lr=lr) for lr in (2e-3, 8e-3)),
        Way(name="all-reduce, beta2 0.99", seeds=(0,), beta2=0.99),
        Way(name="DiLoCo H=25, fp32", sync=every(25), outer=DILOCO, beta2=0.99),
        Way(name="averaging H=25, fp32", seeds=(0,), sync=every(25), outer=PLAIN, beta2=0.99),
    ]
    codecs = ("fp32", "int8", "int4", "int2", "int1", "topk", "cocktail")
    table += [pooled(f"recipe, {codec}", codec, codec) for codec in codecs]
    step = SyncOptions(first=1, last=1)
    table.append(
        Way(
            name="CocktailSGD, every step", seeds=(0,), sync=step, outer=PLAIN, up="cocktail", down="cocktail"
        )
    )
    table.append(
        Way(name="DiLoCo H=25, fp32, 400 steps", steps=400, sync=every(25), outer=DILOCO, beta2=0.99)
    )
    table += [
        pooled(f"recipe, {codec}, 400 steps", codec, codec, steps=400) for codec in codecs if codec != "int2"
    ]
    for steps, seeds in ((400, (0, 1, 2)), (3600, (0,)), (12_000, (0,))):
        table.append(Way(name=f"all-reduce, {steps} steps", steps=steps, seeds=seeds))
        table.append(pooled(f"recipe, int2, {steps} steps", "int2", "int2", steps=steps, seeds=seeds))
    table.append(Way(name="all-reduce, Muon", optimizer="muon", lr=1.6e-2))
    table.append(Way(name="all-reduce, Muon, lr 0.008", seeds=(0,), optimizer="muon", lr=8e-3))
    table.append(
        Way(name="all-reduce, Muon, 12000 steps", steps=12_000, seeds=(0,), optimizer="muon", lr=1.6e-2)
    )
    table += [
        pooled_muon("recipe, Muon, int2", "int2"),
        pooled_muon("recipe, Muon, int4", "int4", seeds=(0,)),
        pooled_muon("recipe, Muon, int2, 12000 steps", "int2", steps=12_000, seeds=(0,)),
    ]
    big = [
        Way(name="demo size: all-reduce", seeds=(0, 1, 2)),
        pooled_muon("demo size: recipe, Muon, int2", "int2"),
        Way(name="demo size: all-reduce, Muon", optimizer="muon", lr=1.6e-2, seeds=(0,)),
        pooled("demo size: recipe, int2", "int2", "int2", seeds=(0,)),
    ]
    return [*table, *(replace(way, size="demo") for way in big)]


def make_model(size: str) -> LlamaForCausalLM:
    width, inner, layers = SIZES[size]
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=256,
            hidden_size=width,
            intermediate_size=inner,
            num_hidden_layers=layers,
            num_attention_heads=4,
            num_key_value_heads=4,
            max_position_embeddings=SEQUENCE,
            tie_word_embeddings=True,
            bos_token_id=None,
            eos_token_id=None,
        )
    )


def corpus() -> tuple[Bytes, Bytes]:
    """(train, held out): the standard library's sources; one file in fifty is held out. The training text is cut
    into blocks that are shuffled, so that no member has a kind of text of its own."""
    root = Path(sysconfig.get_path("stdlib"))
    files = sorted(p for p in root.rglob("*.py") if not SKIPPED & set(p.relative_to(root).parts))
    parts: tuple[list[bytes], list[bytes]] = ([], [])
    for number, file in enumerate(files):
        parts[number % HELD_OUT == 0].append(file.read_bytes())
    train, held_out = (np.frombuffer(b"".join(part), np.uint8) for part in parts)
    blocks = train[: train.size // BLOCK * BLOCK].reshape(-1, BLOCK)
    return blocks[np.random.default_rng(0).permutation(len(blocks))].reshape(-1), held_out


def windows(text: Bytes, seed: int, member: int) -> Iterator[Any]:
    """Batches from a member's quarter of the text."""
    rng = np.random.default_rng([seed, member])
    part = text[member * text.size // MEMBERS : (member + 1) * text.size // MEMBERS]
    while True:
        starts = rng.integers(0, part.size - SEQUENCE, BATCH)
        yield np.stack([part[s : s + SEQUENCE] for s in starts]).astype(np.int64)


def evaluator(text: Bytes) -> Callable[[nn.Module], float]:
    """The mean loss (nats a byte) on fixed windows of the held-out text."""
    starts = np.random.default_rng(99).integers(0, text.size - SEQUENCE, EVALUATED)
    ids = torch.from_numpy(np.stack([text[s : s + SEQUENCE] for s in starts]).astype(np.int64))

    @torch.no_grad()
    def evaluate(model: nn.Module) -> float:
        model.eval()
        return float(np.mean([float(model(input_ids=part, labels=part).loss) for part in ids.split(64)]))

    return evaluate


def train(way: Way, seed: int, text: Bytes, held_out: Bytes) -> Simulated:
    torch.manual_seed(seed)
    model = make_model(way.size)
    batches = [windows(text, seed, member) for member in range(MEMBERS)]
    options = RateOptions(peak=way.lr)
    inner = InnerOptions(optimizer=way.optimizer, beta2=way.beta2, momentum=way.momentum)

    def rate(step: int) -> float:
        return learning_rate(step, way.steps, options)

    def shown(point: Point) -> None:
        if point.loss is not None:
            print(
                f"  {way.name} seed {seed} step {point.step}: {point.loss:.4f}", file=sys.stderr, flush=True
            )

    watch: dict[str, Any] = {"evaluate_every": way.steps // 6, "on_point": shown}
    if way.sync is None:
        return simulate_all_reduce(model, way.steps, rate, batches, evaluator(held_out), inner=inner, **watch)
    method = Method(
        rounds=rounds(way.steps, way.sync),
        rate=rate,
        outer=lambda step, h: outer_options(step, way.steps, way.outer),
        up=make_codec(way.up),
        down=make_codec(way.down),
        inner=inner,
        early=make_codec(way.early) if way.early else None,
        early_steps=round(way.early_share * way.steps),
    )
    return simulate_pool(model, method, batches, evaluator(held_out), seed=seed, **watch)


def record(way: Way, seed: int, result: Simulated, seconds: float) -> dict[str, Any]:
    parameters = sum(p.numel() for p in make_model(way.size).parameters())
    return {
        "way": asdict(way),
        "seed": seed,
        "parameters": parameters,
        "members": MEMBERS,
        "tokens": result.tokens,
        "loss": result.loss,
        "rounds": result.rounds,
        "bytes_up": result.bytes_up,
        "bytes_down": result.bytes_down,
        "reduction": 8 * parameters * way.steps / (result.bytes_up + result.bytes_down),
        "curve": [(point.step, point.loss) for point in result.curve if point.loss is not None],
        "cpu_seconds": seconds,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("bench/data/quality.json"))
    parser.add_argument("--only", default="", help="names, separated by semicolons")
    parser.add_argument("--seeds", default="", help="seeds, separated by commas (default: each way's own)")
    parser.add_argument("--list", action="store_true", help="show what would run")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    table = [way for way in ways() if not arguments.only or way.name in arguments.only.split(";")]
    seeds = tuple(int(seed) for seed in arguments.seeds.split(",") if seed)
    if arguments.list:
        for way in table:
            print(f"{way.name}: {way.steps} steps, seeds {seeds or way.seeds}")
        return
    work = [(way, seed) for way in table for seed in (seeds or way.seeds)]
    run_all(sorted(work, key=lambda item: (item[0].size != "small", item[1], item[0].steps)), arguments.out)


def run_all(work: list[tuple[Way, int]], out: Path) -> None:
    text, held_out = corpus()
    for way, seed in work:
        runs = json.loads(out.read_text())["runs"] if out.exists() else []
        wanted = json.loads(json.dumps(asdict(way)))
        if any(run["way"] == wanted and run["seed"] == seed for run in runs):
            continue
        made = Record("one run", {})
        started = time.process_time()
        result = train(way, seed, text, held_out)
        runs.append(record(way, seed, result, time.process_time() - started) | {"made": made.made()})
        print(
            f"{way.name} seed {seed}: loss {result.loss:.4f}, {runs[-1]['reduction']:.0f}x fewer bytes",
            flush=True,
        )
        save(out, {"held_out_bytes": held_out.size, "train_bytes": text.size, "runs": runs})


def save(out: Path, content: dict[str, Any]) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    fresh = out.with_suffix(".tmp")
    fresh.write_text(json.dumps(content, indent=1) + "\n")
    fresh.replace(out)


if __name__ == "__main__":
    main()
