"""Audits of a real model by the real engine: what rounding does passes, what a cheat does not."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from serving_hub import STORE
from test_serve_parts import spec
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from bytewise import bytewise
from commonweal.core.completion import Request, Token
from commonweal.core.streaming import Piece
from commonweal.models.engine.local import LocalEngine
from commonweal.models.engine.options import EngineOptions
from commonweal.serve.audit.rounding import Roundings, rounding
from commonweal.serve.audit.verdict import Comparison, Limits, Verdict, compare, judge

Change = Callable[[Any], None]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama of bytes, trained for a moment on arithmetic, so that its answers are neither noise nor constant."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("trained")
    backend = bytewise()
    PreTrainedTokenizerFast(tokenizer_object=backend).save_pretrained(str(folder))
    config = LlamaConfig(
        vocab_size=256,
        hidden_size=96,
        intermediate_size=192,
        num_hidden_layers=4,
        num_attention_heads=4,
        max_position_embeddings=256,
        bos_token_id=None,
        eos_token_id=None,
    )
    model = LlamaForCausalLM(config)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    text = "".join(f"{a} plus {b} is {a + b}.\n" for a in range(40) for b in range(0, 40, 3))
    ids = torch.tensor(backend.encode(text).ids)
    for _ in range(120):
        rows = torch.stack([ids[i : i + 96] for i in torch.randint(0, len(ids) - 96, (8,)).tolist()])
        loss = model(input_ids=rows, labels=rows).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert float(loss.detach()) < 2.0
    model.save_pretrained(str(folder))
    return folder


def changed(folder: Path, at: Path, change: Change) -> Path:
    shutil.copytree(folder, at)
    model = AutoModelForCausalLM.from_pretrained(str(folder), dtype=torch.float32)
    change(model)
    model.save_pretrained(str(at))
    return at


def nothing(model: Any) -> None:
    """An honest member on the same kind of machine."""


def halves(model: Any) -> None:
    """An honest member that computes in bfloat16."""
    for parameter in model.parameters():
        parameter.data = parameter.data.bfloat16().float()


def four_bits(model: Any) -> None:
    """Weights in groups of 32, to four bits, sold as full."""
    for name, parameter in model.named_parameters():
        if parameter.dim() == 2 and "embed" not in name:
            rows = parameter.data.reshape(-1, 32)
            step = rows.abs().amax(1, keepdim=True) / 7
            parameter.data = ((rows / step).round() * step).reshape(parameter.shape)


def cut(model: Any) -> None:
    """One layer less to compute."""
    del model.model.layers[-1]
    model.config.num_hidden_layers -= 1


def another(model: Any) -> None:
    """Other weights."""
    generator = torch.Generator().manual_seed(1)
    for parameter in model.parameters():
        parameter.data += 0.1 * parameter.data.std() * torch.randn(parameter.shape, generator=generator)


async def tokens(engine: LocalEngine, request: Request) -> list[Token]:
    pieces = [event async for event in engine.stream(request) if isinstance(event, Piece)]
    return [token for piece in pieces for token in piece.tokens]


async def audited(true: Path, served: Path, answers: int, limits: Limits) -> list[Verdict]:
    """The verdicts on so many answers, one after the other."""
    engine = LocalEngine(EngineOptions(threads=1))
    try:
        await engine.load("true", true)
        await engine.load("served", served)
        known: list[Comparison] = []
        verdicts: list[Verdict] = []
        for seed in range(answers):
            asked = Request(
                model="served",
                prompt=f"{seed} plus ",
                max_tokens=60,
                temperature=1.0 if seed % 2 else 0.0,
                seed=seed,
                logprobs=0,
            )
            chosen = await tokens(engine, asked)
            ids = tuple(token.id for token in chosen if token.id is not None)
            assert len(ids) == 60
            found = await tokens(engine, replace(asked, model="true", kind="score", ids=ids, logprobs=1))
            one = compare(chosen, found, asked, limits)
            verdicts.append(judge(one, known, limits))
            if verdicts[-1] != "mismatch":
                known.append(one)
        return verdicts
    finally:
        await engine.close()


@pytest.mark.parametrize(
    ("change", "honest"),
    [(nothing, True), (halves, True), (four_bits, False), (cut, False), (another, False)],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_cheats_are_found_and_honest_members_are_not_accused(
    trained: Path, tmp_path: Path, change: Change, honest: bool
) -> None:
    limits = Limits().for_rounding(rounding(trained))
    served = changed(trained, tmp_path / "served", change)
    verdicts = asyncio.run(audited(trained, served, 12, limits))
    if honest:
        assert "mismatch" not in verdicts
    else:
        assert verdicts.count("mismatch") >= 3, verdicts


def test_a_model_is_measured_once_and_by_the_hub(trained: Path) -> None:
    files = {
        file.name: STORE.put(file.read_bytes())
        for file in trained.iterdir()
        if file.suffix in (".json", ".safetensors")
    }
    model = spec("trained", files=files)

    async def main() -> None:
        roundings = Roundings(STORE.get)
        assert roundings(model) is None
        await roundings.settled()
        assert roundings(model) == rounding(trained)
        broken = spec("broken")
        assert roundings(broken) is None
        await roundings.settled()
        assert roundings(broken) is None, "the usual limits hold"

    asyncio.run(main())


def test_the_limits_follow_the_model() -> None:
    assert Limits().for_rounding(None) == Limits()
    small = Limits().for_rounding(0.001)
    four = Comparison(tokens=60, mean=0.005, worst=0.1, apart=0.0, strange=0.0)
    assert judge(four, [], Limits()) == "match"
    assert judge(four, [], small) == "unclear"
    assert judge(four, [four] * 7, small) == "mismatch"
