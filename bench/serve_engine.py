"""One engine alone: tokens a second and time to the first token of a 15M-parameter Llama made on the spot.

Measured: our engine at 1 and 16 streams, greedy and sampled; transformers' own ``generate`` for one prompt after the
other; ``transformers serve --continuous-batching`` and llama.cpp's server on the same model (``--peer``); eight LoRA
adapters mixed in one batch against one after the other. Processor seconds stand beside wall seconds. Prints JSON;
``make bench-serve`` uses it as a library.

    python bench/serve_engine.py --tokens 64 --peer
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import llama_cpp
import psutil

from commonweal.core.completion import Request
from commonweal.core.streaming import Piece, Streamer, Usage
from commonweal.models.engine.launched import Launch, launch, llama_server

END = "<|endoftext|>"
PROMPT = "The sky is blue, the sea is green, and what is far away is neither of them. "
CACHED = "models--bench--llama"
"""The folder of bench/llama in a hub's cache: transformers' server lists nothing else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """Of some streams at once: tokens, seconds, and seconds to the first token (median and worst)."""

    streams: int
    tokens: int
    wall_s: float
    processor_s: float
    tokens_per_s: float
    tokens_per_processor_s: float
    first_token_s: float
    worst_first_token_s: float


def save_llama(cache: Path, *, seed: int = 0) -> Path:
    """A Llama of 15 million random weights and 32,000 tokens, as bench/llama in a hub's ``cache``; its folder."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    folder = cache / CACHED / "snapshots" / "0123abcd"
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    pieces = [END, *letters, *(f"Ġt{number}" for number in range(32000 - len(letters) - 1))]
    backend = Tokenizer(models.BPE(vocab={piece: i for i, piece in enumerate(pieces)}, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    PreTrainedTokenizerFast(tokenizer_object=backend, eos_token=END).save_pretrained(str(folder))
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(pieces),
        hidden_size=288,
        intermediate_size=768,
        num_hidden_layers=6,
        num_attention_heads=6,
        num_key_value_heads=6,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=0,
    )
    LlamaForCausalLM(config).save_pretrained(str(folder))
    (cache / CACHED / "refs").mkdir(exist_ok=True)
    (cache / CACHED / "refs" / "main").write_text("0123abcd")
    return folder


def save_adapters(folder: Path, base: Path, count: int) -> list[Path]:
    """LoRA adapters of rank 8 on every linear layer, with random weights."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import LlamaForCausalLM

    made = []
    for number in range(count):
        torch.manual_seed(number)
        config = LoraConfig(task_type="CAUSAL_LM", r=8, lora_alpha=16, target_modules="all-linear")
        model = get_peft_model(LlamaForCausalLM.from_pretrained(str(base)), config)
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(parameter, std=0.02)
        model.save_pretrained(str(folder / f"a{number}"))
        made.append(folder / f"a{number}")
    return made


def requests(model: str | Sequence[str], streams: int, tokens: int, **more: Any) -> list[Request]:
    """One a stream, of unequal prompts; no answer ends before ``tokens``, as the end of text is biased away."""
    names = [model] * streams if isinstance(model, str) else list(model)
    return [
        Request(
            model=name,
            prompt=PROMPT[: 40 + 2 * number % 36] + str(number),
            max_tokens=tokens,
            **{"bias": ((0, -100.0),), **more},
        )
        for number, name in enumerate(names)
    ]


async def speed(engine: Streamer, asked: Sequence[Request], *, child: int | None = None) -> Speed:
    """All at once. ``child`` is a process whose time counts beside our own."""
    before, began = _processor(child), time.perf_counter()
    heard = await asyncio.gather(*[_heard(engine, request) for request in asked])
    wall, processor = time.perf_counter() - began, _processor(child) - before
    firsts = sorted(first for first, _ in heard)
    tokens = sum(count for _, count in heard)
    return Speed(
        streams=len(asked),
        tokens=tokens,
        wall_s=round(wall, 4),
        processor_s=round(processor, 4),
        tokens_per_s=round(tokens / wall, 1),
        tokens_per_processor_s=round(tokens / processor, 1) if processor else 0.0,
        first_token_s=round(firsts[len(firsts) // 2], 4),
        worst_first_token_s=round(firsts[-1], 4),
    )


async def _heard(engine: Streamer, request: Request) -> tuple[float, int]:
    began, first, tokens = time.perf_counter(), 0.0, 0
    async for event in engine.stream(request):
        if isinstance(event, Piece) and not first:
            first = time.perf_counter() - began
        if isinstance(event, Usage):
            tokens = event.completion_tokens
    return first, tokens


def _processor(child: int | None) -> float:
    used = time.process_time()
    with contextlib.suppress(psutil.Error):
        if child is not None:
            times = psutil.Process(child).cpu_times()
            used += times.user + times.system
    return used


async def measure_engine(
    folder: Path, *, tokens: int, streams: Sequence[int], threads: int
) -> dict[str, Any]:
    """Our engine alone."""
    from commonweal.models.engine.local import LocalEngine
    from commonweal.models.engine.options import EngineOptions

    engine = LocalEngine(EngineOptions(threads=threads))
    try:
        await engine.load("m", folder)
        await speed(engine, requests("m", 2, 4))
        made: dict[str, Any] = {}
        for count in streams:
            made[f"greedy_{count}"] = asdict(await speed(engine, requests("m", count, tokens, bias=())))
            drawn = requests("m", count, tokens, temperature=1.0, top_p=0.95, seed=1, bias=())
            made[f"sampled_{count}"] = asdict(await speed(engine, drawn))
        return made
    finally:
        await engine.close()


def measure_generate(folder: Path, *, tokens: int, threads: int) -> dict[str, Any]:
    """transformers' ``generate``, one prompt: what 16 in turn would take 16 times."""
    import torch
    from transformers import LlamaForCausalLM

    torch.set_num_threads(threads)
    model = LlamaForCausalLM.from_pretrained(str(folder)).eval()
    prompt = torch.randint(1, 250, (1, 60))
    more = {"attention_mask": torch.ones_like(prompt), "do_sample": False, "pad_token_id": 0}
    with torch.inference_mode():
        model.generate(prompt, max_new_tokens=4, min_new_tokens=4, **more)
        before, began = time.process_time(), time.perf_counter()
        model.generate(prompt, max_new_tokens=tokens, min_new_tokens=tokens, **more)
        wall, processor = time.perf_counter() - began, time.process_time() - before
    return {
        "tokens_per_s": round(tokens / wall, 1),
        "tokens_per_processor_s": round(tokens / processor, 1),
        "wall_s": round(wall, 4),
        "processor_s": round(processor, 4),
    }


async def measure_adapters(
    folder: Path, adapters: Sequence[Path], *, tokens: int, threads: int
) -> dict[str, Any]:
    """Two streams an adapter: all in one batch, and adapter after adapter; and as many streams of the base alone."""
    from commonweal.models.engine.local import LocalEngine
    from commonweal.models.engine.options import EngineOptions

    engine = LocalEngine(EngineOptions(threads=threads))
    try:
        await engine.load("m", folder)
        names = [f"a{number}" for number in range(len(adapters))]
        for name, adapter in zip(names, adapters, strict=True):
            await engine.load_adapter(name, "m", adapter)
        await speed(engine, requests(names, len(names), 4))
        mixed = await speed(engine, requests(names * 2, 2 * len(names), tokens, bias=()))
        base = await speed(engine, requests("m", 2 * len(names), tokens, bias=()))
        turns = [await speed(engine, requests(name, 2, tokens, bias=())) for name in names]
    finally:
        await engine.close()
    wall, processor = sum(one.wall_s for one in turns), sum(one.processor_s for one in turns)
    count = sum(one.tokens for one in turns)
    return {
        "adapters": len(adapters),
        "mixed": asdict(mixed),
        "base": asdict(base),
        "switching": {
            "tokens": count,
            "wall_s": round(wall, 4),
            "processor_s": round(processor, 4),
            "tokens_per_s": round(count / wall, 1),
            "tokens_per_processor_s": round(count / processor, 1),
        },
    }


def measure_transformers(
    cache: Path, *, tokens: int, streams: Sequence[int], threads: int, log: Path
) -> dict[str, Any]:
    """``transformers serve --continuous-batching``."""
    program = str(Path(sys.executable).with_name("transformers"))

    def command(port: int) -> list[str]:
        made = [program, "serve", "bench/llama", "--continuous-batching", "--device", "cpu"]
        return [*made, "--host", "127.0.0.1", "--port", str(port)]

    place = {"HF_HUB_OFFLINE": "1", "HF_HUB_CACHE": str(cache), "OMP_NUM_THREADS": str(threads)}
    what = Launch(command=command, health="/health", slots=max(streams))
    return _measure_server(
        what, "bench/llama", tokens=tokens, streams=streams, log=log, environment={**os.environ, **place}
    )


def measure_llama_cpp(
    folder: Path, *, tokens: int, streams: Sequence[int], threads: int, log: Path
) -> dict[str, Any]:
    """llama.cpp's server, on the same weights in float32. Its answers end where it likes: no token is biased away."""
    program = llama_cpp.server()
    model = llama_cpp.write_gguf(folder, log.with_name("llama.gguf"))
    what = llama_server(program, model, name="m", slots=max(streams), window=256, threads=threads)
    return _measure_server(what, "m", tokens=tokens, streams=streams, log=log, environment=None)


def _measure_server(
    what: Launch,
    name: str,
    *,
    tokens: int,
    streams: Sequence[int],
    log: Path,
    environment: dict[str, str] | None,
) -> dict[str, Any]:
    """A server of others, asked through our front; its processor time counts beside ours."""
    from commonweal.models.engine.fronted import FrontedEngine

    child = launch(what, log=log, environment=environment, patience=180.0)

    async def main() -> dict[str, Any]:
        engine = FrontedEngine(child.url)
        try:
            await engine.load(name, name)
            await speed(engine, requests(name, 1, 4, bias=()))
            return {
                f"greedy_{count}": asdict(
                    await speed(engine, requests(name, count, tokens, bias=()), child=child.pid)
                )
                for count in streams
            }
        finally:
            await engine.close()

    try:
        return asyncio.run(main())
    finally:
        child.close()


@contextlib.contextmanager
def _place(given: Path | None) -> Iterator[Path]:
    if given is not None:
        yield given
        return
    with tempfile.TemporaryDirectory(prefix="serve-engine-") as made:
        yield Path(made)


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    shared = {"tokens": arguments.tokens, "threads": arguments.threads}
    streams = [int(count) for count in arguments.streams.split(",")]
    with _place(arguments.cache) as cache:
        folder = cache / CACHED / "snapshots" / "0123abcd"
        if not (folder / "config.json").exists():
            save_llama(cache)
        made: dict[str, Any] = {
            "load_before": os.getloadavg(),
            **shared,
            "engine": asyncio.run(measure_engine(folder, streams=streams, **shared)),
            "generate": measure_generate(folder, **shared),
        }
        if arguments.adapters:
            adapters = save_adapters(cache / "adapters", folder, arguments.adapters)
            made["adapters"] = asyncio.run(measure_adapters(folder, adapters, **shared))
        if arguments.peer:
            peers = {"peer": (measure_transformers, cache), "llama_cpp": (measure_llama_cpp, folder)}
            for name, (measured, place) in peers.items():
                log = cache / f"{name}.log"
                try:
                    made[name] = measured(place, streams=streams, log=log, **shared)
                except Exception as error:  # a peer that does not run here is a result too
                    made[name] = {"error": str(error)}
        made["load_after"] = os.getloadavg()
    return made


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    made.add_argument("--tokens", type=int, default=64, help="new tokens a stream")
    made.add_argument("--streams", default="1,16")
    made.add_argument("--threads", type=int, default=1)
    made.add_argument("--adapters", type=int, default=8, help="0: none")
    made.add_argument("--peer", action="store_true", help="transformers serve and llama.cpp's server as well")
    made.add_argument("--cache", type=Path, default=None, help="keep the model here")
    return made


if __name__ == "__main__":
    print(json.dumps(measure(parser().parse_args()), indent=1))
