"""What an audit costs, and what it finds: a layer cut away, another model, four bits sold as full.

The demo's model is trained for a moment. One engine serves what a member would serve (the model, the model in bfloat16,
and three cheats), another holds the true one and scores the answers anew. Honest members differ by rounding alone.
Processor seconds of scoring are set beside those of writing. Prints JSON; ``make bench-serve`` uses it.

    python bench/serve_audit.py --answers 24
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from serve_tuning import make_base
from transformers import AutoModelForCausalLM

from commonweal.core.blobs import open_blobs
from commonweal.core.completion import Request, Token
from commonweal.core.streaming import Piece
from commonweal.models.engine.local import LocalEngine
from commonweal.models.engine.options import EngineOptions
from commonweal.serve.audit.rounding import rounding
from commonweal.serve.audit.verdict import Comparison, Limits, compare, judge

PROMPTS = ("def ", "import ", "class ", "    return ", "for i in ", "    def __init__(self, ", "# ", "if ")


def _same(model: Any) -> None: ...


def _bfloat16(model: Any) -> None:
    for parameter in model.parameters():
        parameter.data = parameter.data.bfloat16().float()


def _four_bits(model: Any) -> None:
    """Groups of 32 weights, to the nearest of 15 steps."""
    for name, parameter in model.named_parameters():
        if parameter.dim() == 2 and "embed" not in name:
            groups = parameter.data.reshape(-1, 32)
            step = groups.abs().amax(1, keepdim=True) / 7
            parameter.data = ((groups / step).round() * step).reshape(parameter.shape)


def _cut(model: Any) -> None:
    del model.model.layers[-1]
    model.config.num_hidden_layers -= 1


def _another(model: Any) -> None:
    """The same shape with other weights: a tenth of their spread is added to each."""
    generator = torch.Generator().manual_seed(1)
    for parameter in model.parameters():
        parameter.data += 0.1 * parameter.data.std() * torch.randn(parameter.shape, generator=generator)


SERVED: dict[str, tuple[Callable[[Any], None], bool]] = {
    "the model": (_same, True),
    "the model in bfloat16": (_bfloat16, True),
    "a layer less": (_cut, False),
    "another model": (_another, False),
    "four bits sold as full": (_four_bits, False),
}


def measure(folder: Path, *, steps: int, answers: int, tokens: int) -> dict[str, Any]:
    true = make_base(folder, open_blobs(str(folder / "store")), steps=steps)
    limits = Limits().for_rounding(rounding(true))
    rows = []
    for name, (change, honest) in SERVED.items():
        served = _changed(true, folder / name.replace(" ", "-"), change)
        rows.append(
            {"served": name, "honest": honest}
            | asyncio.run(_audited(true, served, answers=answers, tokens=tokens, limits=limits))
        )
    return {"answers": answers, "tokens": tokens, "rows": rows}


def _changed(true: Path, at: Path, change: Callable[[Any], None]) -> Path:
    shutil.copytree(true, at)
    model = AutoModelForCausalLM.from_pretrained(str(true), dtype=torch.float32)
    change(model)
    model.save_pretrained(str(at))
    return at


async def _audited(true: Path, served: Path, *, answers: int, tokens: int, limits: Limits) -> dict[str, Any]:
    engine = LocalEngine(EngineOptions(threads=1))
    known: list[Comparison] = []
    verdicts: list[str] = []
    writing = scoring = 0.0
    try:
        await engine.load("true", true)
        await engine.load("served", served)
        for seed in range(answers):
            asked = Request(
                model="served",
                prompt=PROMPTS[seed % len(PROMPTS)],
                max_tokens=tokens,
                temperature=1.0 if seed % 2 else 0.0,
                seed=seed,
                logprobs=0,
            )
            began = time.process_time()
            chosen = await _tokens(engine, asked)
            writing += time.process_time() - began
            ids = tuple(token.id for token in chosen if token.id is not None)
            began = time.process_time()
            found = await _tokens(engine, replace(asked, model="true", kind="score", ids=ids, logprobs=1))
            scoring += time.process_time() - began
            one = compare(chosen, found, asked, limits)
            verdicts.append(judge(one, known, limits))
            if verdicts[-1] != "mismatch":
                known.append(one)
    finally:
        await engine.close()
    return {
        "mismatches": verdicts.count("mismatch"),
        "unclear": verdicts.count("unclear"),
        "first_found_after": verdicts.index("mismatch") + 1 if "mismatch" in verdicts else None,
        "cost": scoring / writing,
    }


async def _tokens(engine: LocalEngine, request: Request) -> Sequence[Token]:
    pieces = [event async for event in engine.stream(request) if isinstance(event, Piece)]
    return [token for piece in pieces for token in piece.tokens]


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--steps", type=int, default=150, help="inner steps of the model")
    parser.add_argument("--answers", type=int, default=24)
    parser.add_argument("--tokens", type=int, default=64)
    asked = parser.parse_args(arguments)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix="commonweal-bench-audit-") as folder:
        made = measure(Path(folder), steps=asked.steps, answers=asked.answers, tokens=asked.tokens)
    print(json.dumps(made, indent=1))


if __name__ == "__main__":
    main(sys.argv[1:])
